//! Windows that have ended are asked to be erased, by requests that go the way of all others.
//!
//! The key of a request names the soft deletion and the round, so that a page asked for twice is one: it comes again
//! only if nobody took it, or if a purge ended without erasing anything.

use std::time::Duration;

use super::terms::Term;
use super::{Store, StoreError};

impl Store {
    /// Asks for the purges of at most so many windows; those again that were asked for `again` ago and still stand.
    /// `None`: the term has ended, and nothing was asked for.
    ///
    /// A target that something else has is left alone for now: its purge would only be turned away.
    pub async fn ask_for_purges(
        &self,
        term: &Term,
        limit: i64,
        again: Duration,
    ) -> Result<Option<u64>, StoreError> {
        let Some(mut tx) = self.under(term).await? else {
            return Ok(None);
        };
        let asked = sqlx::query_scalar::<_, i64>(
            "/* ask_for_purges */ with page as materialized (
                 select w.deletion_id from sexton.windows w
                 where w.due_at <= now() and w.until <= now() and w.taken_by is null
                 order by w.due_at limit $1
                 for update skip locked
             ), due as (
                 update sexton.windows w set due_at = now() + make_interval(secs => $2)
                 from page where w.deletion_id = any (array[page.deletion_id])
                 returning w.*
             ), asked as (
                 insert into sexton.outbox (id, destination, kind, deletion_id, detail, taken_until)
                 select gen_random_uuid(), 'requests', 'purge', d.deletion_id, jsonb_build_object(
                     'action', 'purge', 'tenant', d.tenant,
                     'target', jsonb_build_object('type', d.target_type, 'id', d.target_id),
                     'key', 'purge:' || d.deletion_id || ':' || d.round,
                     'requested_by', 'sexton', 'reason', 'its restore window has ended',
                     'window', jsonb_build_object('deletion', d.deletion_id, 'ticket', d.ticket)), now()
                 from due d
                 where not exists (select from sexton.open_deletions o where o.tenant = d.tenant
                     and o.target_type = d.target_type and o.target_id = d.target_id offset 0)
             )
             select count(*) from due",
        )
        .bind(limit)
        .bind(again.as_secs_f64())
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::doing("asking for purges"))?;
        tx.commit()
            .await
            .map_err(StoreError::doing("asking for purges"))?;
        Ok(Some(asked.unsigned_abs()))
    }
}
