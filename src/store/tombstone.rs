//! Tombstones: what has ended is asked whether a target that is not there was deleted by us.

use super::{Store, StoreError};
use crate::deletion::Target;
use crate::plan::MeantBy;

impl Store {
    /// Is an earlier deletion of this target remembered, that ended within this time and left nothing to be restored, and
    /// whose request meant the same one? (Another owner's, or one in another database, is none of theirs.)
    pub async fn tombstone_knows(
        &self,
        target: &Target,
        meant_by: &[MeantBy],
        age: std::time::Duration,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "/* tombstone */ with known as (
                 select d.* from sexton.deletion_days(now() - make_interval(secs => $4)) day
                 cross join lateral (
                     select * from sexton.ended_of(day) d where d.tenant = $1 and d.target_type = $2 and d.target_id = $3
                 ) d
                 union all
                 select * from sexton.deletions d
                 where d.tenant = $1 and d.target_type = $2 and d.target_id = $3
                   and sexton.day_of(d.id) < (d.ended_at at time zone 'utc')::date - 1
             )
             select exists (
                 select from known d left join sexton.requests r on r.id = d.request_id
                 where d.result in ('deleted', 'completed_with_orphans')
                   and d.ended_at > now() - make_interval(secs => $4)
                   and (d.action = 'p' or not exists (
                       select from unnest($5::text[], $6::jsonb[], $7::jsonb[]) as asked (name, value, left_out)
                       where coalesce(nullif(r.params -> asked.name, 'null'), asked.left_out) <> asked.value
                   ))
             )",
        )
        .bind(target.tenant.as_str())
        .bind(target.kind.as_str())
        .bind(target.id.as_str())
        .bind(age.as_secs_f64())
        .bind(meant_by.iter().map(|by| by.name.as_str()).collect::<Vec<_>>())
        .bind(meant_by.iter().map(|by| by.value.clone()).collect::<Vec<_>>())
        .bind(meant_by.iter().map(|by| by.left_out.clone()).collect::<Vec<_>>())
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::doing("looking for a tombstone"))
    }
}
