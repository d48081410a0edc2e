//! Batches: what is told of requests that came as one, and the one outcome for the whole.
//!
//! Telling is an insert in the transaction that makes it true; summing up is somebody else's work, later.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Candidate, Store, StoreError};
use crate::deletion::{DeletionId, Key, Request, Tenant};

/// Deltas of one fold. Each stands for up to a batch of records.
const FOLD_MAX_ROWS: i32 = 2_000;
/// Batches that are said to be over in one transaction.
const SAID_MAX_ROWS: i32 = 200;

/// Where a batch stands, summed up as far as anything is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct BatchStand {
    /// Among those that were asked for.
    pub(crate) place: i64,
    pub size: Option<i32>,
    pub known: i32,
    pub done: i32,
    pub deleted: i32,
    pub already_gone: i32,
    pub absent: i32,
    pub completed_with_orphans: i32,
    pub soft_deleted: i32,
    pub restored: i32,
    pub cancelled: i32,
    pub refused: i32,
    pub rejected: i32,
    pub first_at: Option<OffsetDateTime>,
    pub completed_at: Option<OffsetDateTime>,
    /// Something is told that is not in the sums yet.
    pub untold: bool,
}

impl BatchStand {
    /// Every request that was promised has its outcome.
    pub fn is_over(&self) -> bool {
        !self.untold && self.size.is_some_and(|size| self.known >= size) && self.done >= self.known
    }
}

/// Requests of batches that are admitted with this transaction, with the deletions that answer them.
pub(super) async fn told(
    tx: &mut PgConnection,
    requests: &[(&Candidate, DeletionId)],
) -> Result<(), StoreError> {
    let mut known: BTreeMap<(&str, &str), (i32, Option<i32>)> = BTreeMap::new();
    let mut joined: Vec<Uuid> = Vec::new();
    for (candidate, deletion) in requests {
        let request = &candidate.request;
        let Some(batch) = &request.batch else { continue };
        let sum = known.entry((request.target.tenant.as_str(), batch)).or_default();
        sum.0 += 1;
        sum.1 = sum
            .1
            .max(request.batch_size.and_then(|size| i32::try_from(size).ok()));
        if *deletion != candidate.deletion_id {
            joined.push(deletion.0);
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    let keyed: Vec<&Request> = requests
        .iter()
        .map(|(candidate, _)| &candidate.request)
        .filter(|request| request.batch.is_some() && request.key.is_some())
        .collect();
    // What was turned away and comes again, its cause repaired, was counted already: as rejected, which it is no more.
    sqlx::query(
        "/* batch_known */ with again as (
             select i.tenant, i.batch, count(*)::integer as n
             from unnest($5::text[], $6::text[], $7::text[]) as i (tenant, batch, key)
             where exists (select from sexton.rejections x
                           where x.tenant = i.tenant and x.key = i.key and x.batch = i.batch)
             group by 1, 2
         )
         insert into sexton.batch_deltas (tenant, batch, word, n, size)
         select i.tenant, i.batch, 'known', i.n, i.size
         from unnest($1::text[], $2::text[], $3::integer[], $4::integer[]) as i (tenant, batch, n, size)
         union all
         select tenant, batch, 'rejected', -n, null from again",
    )
    .bind(known.keys().map(|(tenant, _)| *tenant).collect::<Vec<_>>())
    .bind(known.keys().map(|(_, batch)| *batch).collect::<Vec<_>>())
    .bind(known.values().map(|(n, _)| *n).collect::<Vec<_>>())
    .bind(known.values().map(|(_, size)| *size).collect::<Vec<_>>())
    .bind(
        keyed
            .iter()
            .map(|request| request.target.tenant.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        keyed
            .iter()
            .map(|request| request.batch.as_deref())
            .collect::<Vec<_>>(),
    )
    .bind(
        keyed
            .iter()
            .map(|request| request.key.as_ref().map(Key::as_str))
            .collect::<Vec<_>>(),
    )
    .execute(&mut *tx)
    .await
    .map_err(StoreError::doing("counting requests of batches"))?;
    if !joined.is_empty() {
        joined.sort_unstable();
        // Their rows are locked already: whoever joins has read them under lock.
        sqlx::query(
            "/* batch_joined */ with open as (
                 update sexton.open_deletions set batched = true where id = any ($1) and not batched
             )
             update sexton.successors set batched = true where deletion_id = any ($1) and not batched",
        )
        .bind(&joined)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::doing("counting requests that joined from batches"))?;
    }
    Ok(())
}

impl Store {
    /// Sums up what was told. Returns how much that was.
    pub async fn fold_batches(&self) -> Result<u32, StoreError> {
        let folded: i32 = sqlx::query_scalar("/* fold_batches */ select sexton.fold_batches($1)")
            .bind(FOLD_MAX_ROWS)
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::doing("summing up batches"))?;
        Ok(folded.unsigned_abs())
    }

    /// Where these batches stand, after summing up what was told of any.
    pub async fn look_at_batches(
        &self,
        batches: &[(Tenant, String)],
    ) -> Result<Vec<((Tenant, String), BatchStand)>, StoreError> {
        self.fold_batches().await?;
        let found: Vec<BatchStand> = sqlx::query_as(
            "/* look_at_batches */ select i.place, b.*, exists (select from sexton.batch_deltas d
                 where d.tenant = b.tenant and d.batch = b.batch) as untold
             from unnest($1::text[], $2::text[]) with ordinality as i (tenant, batch, place)
             join sexton.batches b on b.tenant = i.tenant and b.batch = i.batch",
        )
        .bind(
            batches
                .iter()
                .map(|(tenant, _)| tenant.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            batches
                .iter()
                .map(|(_, batch)| batch.as_str())
                .collect::<Vec<_>>(),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("looking at batches"))?;
        let named = |stand: BatchStand| {
            let at = usize::try_from(stand.place - 1).ok()?;
            Some((batches.get(at)?.clone(), stand))
        };
        Ok(found.into_iter().filter_map(named).collect())
    }

    /// Says of those that are over that they are. Returns how many.
    pub async fn complete_batches(&self, quiet: Duration, patience: Duration) -> Result<u32, StoreError> {
        let said: i32 = sqlx::query_scalar(
            "/* complete_batches */ select sexton.complete_batches(
                 make_interval(secs => $1), make_interval(secs => $2), $3)",
        )
        .bind(quiet.as_secs_f64())
        .bind(patience.as_secs_f64())
        .bind(SAID_MAX_ROWS)
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::doing("saying that batches are over"))?;
        Ok(said.unsigned_abs())
    }

    /// Those that were over before the key memory begins: a late request would open a new one.
    pub async fn forget_batches(&self) -> Result<(), StoreError> {
        sqlx::query(
            "/* forget_batches */ delete from sexton.batches where completed_at < now() - make_interval(days => $1)",
        )
        .bind(self.key_days)
        .execute(&self.pool)
        .await
        .map_err(StoreError::doing("forgetting batches"))?;
        Ok(())
    }
}
