//! Rows of a query, kept as NDJSON + zstd in an object store.
//!
//! Why repeating is harmless: an object is named by its content (`sessions-3f2a….ndjson.zst`, from the SHA-256 of the
//! uncompressed rows), so the same rows make the same object, which a repeat finds and only verifies; and rows that
//! have changed in between make a sibling. Nothing that was ever archived is overwritten: if a repeat finds fewer rows,
//! since somebody has removed them meanwhile, the fuller archive stays beside its own.
//!
//! It is done only when the object has been read back and gives the same rows, count and checksum.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::future::BoxFuture;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::postgres::{Database, Mode, as_json};
use super::{Attempt, Connector, misplaced};
use crate::clock::Boottime;
use crate::deletion::Verdict;
use crate::plan::{Call, Sql, SystemName, Template};

mod spool;
mod store;

use spool::{Spool, Spooled};
pub(super) use store::ArchiveStore;
use store::Found;

/// Enough of the checksum to keep siblings apart; the whole of it is in the proof.
const NAME_DIGEST_CHARS: usize = 16;

pub struct ArchiveConnector {
    database: Arc<Database>,
    stores: Arc<BTreeMap<SystemName, Arc<ArchiveStore>>>,
}

impl ArchiveConnector {
    pub(super) fn new(database: Arc<Database>, stores: Arc<BTreeMap<SystemName, Arc<ArchiveStore>>>) -> Self {
        ArchiveConnector { database, stores }
    }

    async fn archive(
        &self,
        rows: &Sql,
        store: &SystemName,
        path: &Template,
        attempt: &Attempt,
        deadline: Boottime,
    ) -> Result<Verdict, Verdict> {
        let on = store;
        let Some(store) = self.stores.get(store) else {
            return Err(Verdict::blocked(
                format!("this worker's settings have no archive system `{}`", store.0),
                format!("add [systems.{}] to the settings", store.0),
            ));
        };
        let path = path.render_object_path(&attempt.values).map_err(|error| {
            Verdict::failed(format!("the archive's path cannot be put together: {error}"))
        })?;
        if !attempt.may_begin(deadline) {
            return Ok(Verdict::Stopped);
        }
        let mut spooled = self.spool(rows, attempt, deadline).await?;
        let digest = spooled.content.sha256();
        let object = store.object(&format!("{path}-{}.ndjson.zst", &digest[..NAME_DIGEST_CHARS]))?;

        let wanted = |found: &Found| found.content.as_ref() == Some(&spooled.content);
        let of_the_store = |verdict| {
            attempt.blame.lay_on(on);
            verdict
        };
        let earlier = store
            .read_back(&object)
            .await
            .map_err(of_the_store)?
            .filter(wanted);
        let repeated = earlier.is_some();
        let found = match earlier {
            Some(found) => found,
            None if !attempt.may_begin(deadline) => return Ok(Verdict::Stopped),
            None => {
                store
                    .write(&object, &mut spooled.file)
                    .await
                    .map_err(of_the_store)?;
                let written = store
                    .read_back(&object)
                    .await
                    .map_err(of_the_store)?
                    .filter(wanted);
                written.ok_or_else(|| Verdict::again("the archive reads back other than it was written"))?
            }
        };
        Ok(Verdict::Done {
            proof: Some(json!({
                "rows": spooled.content.rows,
                "sha256": digest,
                "path": object.as_ref(),
                "bytes": found.bytes,
                "object_sha256": found.sha256,
                "repeated": repeated,
            })),
        })
    }

    /// Streams the rows out of the database; however many they are, memory holds a few of them.
    async fn spool(&self, rows: &Sql, attempt: &Attempt, deadline: Boottime) -> Result<Spooled, Verdict> {
        let sql = as_json(rows, None);
        let mut work = self.database.begin(Mode::ReadOnly, deadline).await?;
        let bound = match work.bind(&sql, &attempt.values).await {
            Ok(bound) => bound,
            Err(unbound) => return Err(work.give_up(unbound).await),
        };
        let mut spool = Spool::new().map_err(no_room)?;
        let query = sqlx::query_scalar_with::<_, String, _>(AssertSqlSafe(sql.text), bound);
        let read = async {
            let mut stream = query.fetch(work.connection());
            while let Some(row) = stream.try_next().await? {
                if let Err(error) = spool.row(row) {
                    return Ok(Some(error));
                }
            }
            Ok(None)
        };
        match read.await {
            Ok(None) => work.commit().await.map_err(of_a_read)?,
            Ok(Some(error)) => return Err(no_room(error)),
            Err(error) => return Err(work.trouble(&error).await),
        }
        spool.finish().map_err(no_room)
    }
}

impl Connector for ArchiveConnector {
    fn run<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let Call::Archive { rows, store, path } = call else {
                return misplaced("an archive's source", call);
            };
            let deadline = attempt.deadline();
            let archive = self.archive(rows, store, path, attempt, deadline);
            match tokio::time::timeout(deadline.left(), archive).await {
                Ok(Ok(verdict) | Err(verdict)) => verdict,
                // An object appears whole or not at all, and a second one like it changes nothing.
                Err(_) => Verdict::again("the archive was not finished within the step's timeout"),
            }
        })
    }

    fn probe<'a>(&'a self, call: &'a Call, _attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        let verdict = match call {
            Call::Archive { .. } => Verdict::not_yet("archiving the same rows again makes the same object"),
            other => misplaced("an archive's source", other),
        };
        Box::pin(async move { verdict })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.database.check())
    }
}

fn of_a_read(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Unknown { why } => Verdict::again(why),
        other => other,
    }
}

fn no_room(error: std::io::Error) -> Verdict {
    Verdict::again(format!(
        "the rows cannot be spooled on this machine ({:?})",
        error.kind()
    ))
}
