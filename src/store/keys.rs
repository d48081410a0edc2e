//! Key memory: the same key and content is the same request, whatever became of it; other content is a conflict.
//!
//! One partition a day, so that old keys are dropped and not deleted. Uniqueness holds inside a partition; earlier
//! ones are looked up in a statement of its own. Two copies that arrive on the two sides of midnight are caught by
//! writing both days' partitions while any transaction of the day before may still be open.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Admission, Candidate, Store, StoreError};
use crate::deletion::{Action, DeletionId, Rejection, RejectionReason, RequestId};

/// Longer than any transaction of ours can last (its statements are cut off below the lease).
pub(super) const MIDNIGHT_OVERLAP_S: i32 = 120;

/// What a key is known to mean.
#[derive(Clone, Copy)]
struct Known {
    content: Uuid,
    request: Uuid,
    deletion: Option<Uuid>,
}

/// Remembers the keys of the candidates; those that were known get their fate here, the others `None`.
pub(super) async fn remember(
    tx: &mut PgConnection,
    candidates: &[Candidate],
) -> Result<Vec<Option<Admission>>, StoreError> {
    let mut fates: Vec<Option<Admission>> = vec![None; candidates.len()];
    // The first of a key in this batch speaks for the key; the others are measured against it.
    let mut firsts: HashMap<Uuid, usize> = HashMap::new();
    let mut digests = vec![None; candidates.len()];
    for (at, candidate) in candidates.iter().enumerate() {
        digests[at] = candidate.request.key_digest().map(Uuid::from_bytes);
        if let Some(digest) = digests[at] {
            firsts.entry(digest).or_insert(at);
        }
    }
    if firsts.is_empty() {
        return Ok(fates);
    }
    let mut wanted: Vec<(Uuid, usize)> = firsts.iter().map(|(digest, at)| (*digest, *at)).collect();
    wanted.sort_unstable();
    let all: Vec<Uuid> = wanted.iter().map(|(digest, _)| *digest).collect();

    let mut known = look_up(tx, &all).await?;
    wanted.retain(|(digest, _)| !known.contains_key(digest));
    let raced = insert(tx, candidates, &wanted).await?;
    if !raced.is_empty() {
        known.extend(look_up(tx, &raced).await?);
    }

    for (at, candidate) in candidates.iter().enumerate() {
        let Some(digest) = digests[at] else { continue };
        let content = Uuid::from_bytes(candidate.request.digest());
        let first = firsts[&digest];
        fates[at] = match known.get(&digest) {
            Some(known) if known.content == content => {
                let deletion = known.deletion.map(DeletionId);
                Some(Admission::Copy {
                    request: RequestId(known.request),
                    signal: deletion.filter(|_| candidate.request.action == Action::Cancel),
                })
            }
            Some(_) => Some(conflict(candidate)),
            None if first == at => None,
            None if Uuid::from_bytes(candidates[first].request.digest()) == content => {
                Some(Admission::Copy {
                    request: candidates[first].request_id,
                    signal: None,
                })
            }
            None => Some(conflict(candidate)),
        };
    }
    Ok(fates)
}

/// Inserts new keys; returns those that another transaction had inserted first.
async fn insert(
    tx: &mut PgConnection,
    candidates: &[Candidate],
    wanted: &[(Uuid, usize)],
) -> Result<Vec<Uuid>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let digests: Vec<Uuid> = wanted.iter().map(|(digest, _)| *digest).collect();
    let contents: Vec<Uuid> = wanted
        .iter()
        .map(|(_, at)| Uuid::from_bytes(candidates[*at].request.digest()))
        .collect();
    let requests: Vec<Uuid> = wanted
        .iter()
        .map(|(_, at)| candidates[*at].request_id.0)
        .collect();
    let inserted: Vec<(Uuid, i64)> = sqlx::query_as(
        "/* admit_keys */ with days as (
             select (now() at time zone 'utc')::date as day
             union select ((now() - make_interval(secs => $4)) at time zone 'utc')::date
         ), fresh as (
             insert into sexton.keys (day, digest, content, request_id)
             select days.day, i.digest, i.content, i.request_id
             from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as i (digest, content, request_id), days
             order by i.digest, days.day
             on conflict do nothing
             returning digest
         )
         select digest, (select count(*) from days) - count(*) from fresh group by digest",
    )
    .bind(&digests)
    .bind(&contents)
    .bind(&requests)
    .bind(f64::from(MIDNIGHT_OVERLAP_S))
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::doing("remembering keys"))?;
    if inserted.len() == wanted.len() && inserted.iter().all(|(_, missing)| *missing == 0) {
        return Ok(Vec::new());
    }
    let whole: std::collections::HashSet<Uuid> = inserted
        .iter()
        .filter(|(_, missing)| *missing == 0)
        .map(|(digest, _)| *digest)
        .collect();
    let raced: Vec<(Uuid, usize)> = wanted
        .iter()
        .filter(|(digest, _)| !whole.contains(digest))
        .copied()
        .collect();
    // Won on one side of midnight and lost on the other: the winner's row is the memory, ours goes.
    let ours: Vec<(Uuid, RequestId)> = raced
        .iter()
        .map(|(digest, at)| (*digest, candidates[*at].request_id))
        .collect();
    forget(tx, &ours).await?;
    Ok(ours.into_iter().map(|(digest, _)| digest).collect())
}

async fn look_up(tx: &mut PgConnection, digests: &[Uuid]) -> Result<HashMap<Uuid, Known>, StoreError> {
    let rows: Vec<(Uuid, Uuid, Uuid, Option<Uuid>)> = sqlx::query_as(
        "/* admit_known_keys */ select k.digest, k.content, k.request_id, r.deletion_id
         from sexton.keys k left join sexton.requests r on r.id = k.request_id where k.digest = any ($1)",
    )
    .bind(digests)
    .fetch_all(&mut *tx)
    .await
    .map_err(StoreError::doing("looking keys up"))?;
    Ok(rows
        .into_iter()
        .map(|(digest, content, request, deletion)| {
            (
                digest,
                Known {
                    content,
                    request,
                    deletion,
                },
            )
        })
        .inspect(|(_, known)| debug_assert!(!known.request.is_nil()))
        .collect())
}

/// Forgets these keys of these requests: they were turned away and may be sent again, or another transaction was first.
/// By the digest as well, or every key of the day would have to be looked at.
pub(super) async fn forget(tx: &mut PgConnection, all: &[(Uuid, RequestId)]) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "/* admit_forget */ delete from sexton.keys k using unnest($1::uuid[], $2::uuid[]) as i (digest, request_id)
         where k.digest = any (array[i.digest]) and k.request_id = i.request_id",
    )
    .bind(all.iter().map(|(digest, _)| *digest).collect::<Vec<_>>())
    .bind(all.iter().map(|(_, request)| request.0).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await
    .map_err(StoreError::doing("forgetting keys"))?;
    Ok(())
}

fn conflict(candidate: &Candidate) -> Admission {
    let detail = "this key came before with other content; wanted the same content, or a key of its own";
    Admission::Away(Box::new(Rejection::of(
        &candidate.request,
        RejectionReason::KeyConflict,
        "/key",
        detail,
    )))
}

impl Store {
    /// The deletion that answers an earlier request.
    pub async fn deletion_of(&self, request: RequestId) -> Result<Option<DeletionId>, StoreError> {
        let id: Option<Uuid> =
            sqlx::query_scalar("/* deletion_of */ select deletion_id from sexton.requests where id = $1")
                .bind(request.0)
                .fetch_optional(&self.pool)
                .await
                .map_err(StoreError::doing("looking up an earlier request"))?;
        Ok(id.map(DeletionId))
    }
}
