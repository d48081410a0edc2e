//! Removing very many rows in bounded chunks.
//!
//! Every chunk is a transaction of its own: progress is durable in the target itself, and locks are held briefly.
//! After its share of the time, or when the gate shuts, the attempt says *pending, look again at once*, so that other
//! deletions get their turn; a restart goes on where the rows are.
//!
//! It is done only after a pass found none, and that has to be true: a chunk of an attempt that was cut off may still
//! be running, and whoever waits for its locks would find zero rows of *its* chunk, with many left behind them. So a
//! pass sees the rows as of one moment, and meeting such a chunk is an error that says "again".

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

use super::database::{Database, Mode};
use super::within;
use crate::clock::Boottime;
use crate::connectors::Attempt;
use crate::crash::{self, CrashPoint};
use crate::deletion::Verdict;
use crate::plan::{Sql, Values};

/// The share of the attempt's time, in tenths, in which new chunks begin: a chunk begun just before its end still has
/// as long again before the hard timeout.
const BUDGET_TENTHS: u32 = 5;
/// A statement that touches rows for ever without using them up is a wrong plan; ten million chunks are more rows
/// than any one target has.
const PASSES_MAX: u64 = 10_000_000;
/// After trouble in the middle of progress, the next turn waits this long.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);

/// What was done in earlier turns of this step; for the proof, never for deciding what is left.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Progress {
    deleted: u64,
    passes: u64,
}

pub(super) async fn run(database: &Database, sql: &Sql, size: u32, attempt: &Attempt) -> Verdict {
    let deadline = attempt.deadline();
    let stop_at = Boottime::now().plus(attempt.timeout * BUDGET_TENTHS / 10);
    let before: Progress = attempt
        .handle
        .clone()
        .and_then(|handle| serde_json::from_value(handle).ok())
        .unwrap_or_default();
    let mut values = Values::clone(&attempt.values);
    values.insert("chunk".to_owned(), json!(size));

    let mut progress = before;
    loop {
        let moved = progress.passes > before.passes;
        if !attempt.may_begin(deadline) {
            // Done in part is not "as it was": what has gone stays gone, and is told.
            return if moved {
                pending(progress, Duration::ZERO)
            } else {
                Verdict::Stopped
            };
        }
        if moved && stop_at.left().is_zero() {
            return pending(progress, Duration::ZERO);
        }
        if progress.passes >= PASSES_MAX {
            return Verdict::failed("the chunks do not end: does the statement use up the rows it finds?");
        }
        match chunk(database, sql, &values, attempt, deadline).await {
            Ok(0) if progress.deleted == 0 => return Verdict::AlreadyGone,
            Ok(0) => {
                return Verdict::Done {
                    proof: Some(json!({ "rows": progress.deleted, "chunks": progress.passes })),
                };
            }
            Ok(rows) => {
                crash::at(CrashPoint::ChunkAfterCommit, || attempt.scene()).await;
                progress.deleted += rows;
                progress.passes += 1;
            }
            // A turn that got somewhere spends no attempt; a second failure in a row, without progress, does.
            Err(Verdict::Again { .. } | Verdict::Stopped) if moved => {
                return pending(progress, AFTER_TROUBLE);
            }
            Err(verdict) => return verdict,
        }
    }
}

async fn chunk(
    database: &Database,
    sql: &Sql,
    values: &Values,
    attempt: &Attempt,
    deadline: Boottime,
) -> Result<u64, Verdict> {
    let mut rows = 0;
    let run = async {
        let mut work = database.begin(Mode::WriteAsOfNow, deadline).await?;
        let bound = match work.bind(sql, values).await {
            Ok(bound) => bound,
            Err(unbound) => return Err(work.give_up(unbound).await),
        };
        if !attempt.may_begin(deadline) {
            work.roll_back().await;
            return Err(Verdict::Stopped);
        }
        rows = work.execute(sql, bound).await?;
        work.commit().await?;
        Ok(Verdict::done())
    };
    match within(deadline, run).await {
        Verdict::Done { .. } => Ok(rows),
        verdict => Err(verdict),
    }
}

fn pending(progress: Progress, look_again: Duration) -> Verdict {
    Verdict::Pending {
        look_again,
        handle: serde_json::to_value(progress).ok().filter(Value::is_object),
    }
}
