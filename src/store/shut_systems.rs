//! Systems that do not let Sexton in, as each worker tells of them and as a person sees them.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Store, StoreError, Worker};

/// One that a worker tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutSystem {
    pub system: String,
    /// Everything there, or what one step wants of it.
    pub place: String,
    pub why: String,
    pub unblock: String,
    pub since: OffsetDateTime,
    pub tries: u32,
    pub next_in: Duration,
}

/// One as a person sees it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ListedShut {
    pub system: String,
    pub place: String,
    pub why: String,
    /// What would open it.
    pub unblock: String,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// In vain, since then.
    pub tries: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub next_try_at: OffsetDateTime,
    /// For whom it is shut: `host:pid`.
    pub worker: String,
}

impl Store {
    /// Replaces what this worker has told before; returns for which systems somebody has said that they are repaired,
    /// and when. Whose worker is gone is forgotten with it.
    pub async fn tell_shut(
        &self,
        worker: &Worker,
        shut: &[ShutSystem],
    ) -> Result<Vec<(String, OffsetDateTime)>, StoreError> {
        let texts =
            |of: fn(&ShutSystem) -> &String| shut.iter().map(|shut| of(shut).as_str()).collect::<Vec<_>>();
        sqlx::query_as(
            "/* tell_shut */ with told as (
                 select * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::integer[],
                     $8::float8[]) as t (system, place, why, unblock, since, tries, next_in)
             ), gone as (
                 delete from sexton.shut_systems s
                 where (s.worker = $1 and not exists (select from told t where t.system = s.system and t.place = s.place))
                    or not exists (select from sexton.workers w
                        where w.worker = s.worker and w.lost_at is null and w.expires_at > now())
             ), said as (
                 insert into sexton.shut_systems as s (worker, system, place, why, unblock, since, tries, next_try_at)
                 select $1, system, place, why, unblock, since, tries, now() + make_interval(secs => next_in) from told
                 on conflict (worker, system, place) do update
                 set why = excluded.why, unblock = excluded.unblock, since = excluded.since, tries = excluded.tries,
                     next_try_at = excluded.next_try_at
                 returning s.system, s.retry_at
             )
             select system, max(retry_at) from said where retry_at is not null group by system",
        )
        .bind(worker.id)
        .bind(texts(|shut| &shut.system))
        .bind(texts(|shut| &shut.place))
        .bind(texts(|shut| &shut.why))
        .bind(texts(|shut| &shut.unblock))
        .bind(shut.iter().map(|shut| shut.since).collect::<Vec<_>>())
        .bind(
            shut.iter()
                .map(|shut| i32::try_from(shut.tries).unwrap_or(i32::MAX))
                .collect::<Vec<_>>(),
        )
        .bind(shut.iter().map(|shut| shut.next_in.as_secs_f64()).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("telling which systems are shut"))
    }

    /// Of the workers that are there, longest shut first.
    pub async fn list_shut(&self) -> Result<Vec<ListedShut>, StoreError> {
        sqlx::query_as(
            "/* list_shut */ select s.system, s.place, s.why, s.unblock, s.since, s.tries, s.next_try_at,
                    w.host || ':' || w.pid as worker
             from sexton.shut_systems s join sexton.workers w on w.worker = s.worker
             where w.lost_at is null and w.expires_at > now() order by s.since, s.system, s.place, worker",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("listing systems that are shut"))
    }

    /// Somebody says that it is repaired; with its line in the audit. Returns for how many workers it was shut.
    pub async fn retry_system(&self, system: &str, by: &str) -> Result<u64, StoreError> {
        let shut: i64 = sqlx::query_scalar(
            "/* retry_system */ with told as (
                 update sexton.shut_systems set retry_at = now() where system = $1 returning worker
             ), said as (
                 insert into sexton.audit (said_by, action, detail)
                 select $2, 'retry_system', jsonb_build_object('system', $1::text) where exists (select from told)
             )
             select count(distinct worker) from told",
        )
        .bind(system)
        .bind(by)
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::doing("saying that a system is repaired"))?;
        Ok(shut.unsigned_abs())
    }
}
