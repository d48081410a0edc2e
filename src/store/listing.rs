//! What a person wants to see: many deletions in a line each, and where one of them is to be found.
//!
//! Reads only. Every list has a bound, and a page goes on where the last one ended, by id.

use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::deletion::{DeletionId, Key, RequestId, Target, TargetType, Tenant};

/// More lines than this are not read by anybody; the next page is one command away.
pub const PAGE_MAX_ROWS: u32 = 1_000;
/// Of one target the latest few runs matter to a person.
const FOUND_MAX_ROWS: i64 = 20;

/// Which deletions to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub which: Which,
    pub tenant: Option<Tenant>,
    pub target_type: Option<TargetType>,
    pub target_id: Option<String>,
    /// Those under this version of their plan.
    pub plan: Option<i32>,
    /// The page after the one that ended with this id.
    pub before: Option<DeletionId>,
    pub rows: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// Everything that has not ended.
    #[default]
    Open,
    Parked,
    /// Open, not parked, and in nobody's hands.
    Waiting,
    Ended,
    All,
}

impl Which {
    fn word(self) -> &'static str {
        match self {
            Which::Open => "open",
            Which::Parked => "parked",
            Which::Waiting => "waiting",
            Which::Ended => "ended",
            Which::All => "all",
        }
    }
}

/// One line of a list.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Listed {
    pub id: Uuid,
    pub tenant: String,
    #[serde(rename = "type")]
    pub target_type: String,
    #[serde(rename = "target")]
    pub target_id: String,
    pub plan: String,
    /// `in_hand`, `due`, `waiting`, `parked`, `queued` or `ended`.
    pub state: String,
    #[serde(with = "time::serde::rfc3339")]
    pub admitted_at: OffsetDateTime,
    /// When it is looked at next, if nobody has it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub due_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// How it ended.
    pub result: Option<String>,
    /// Why a person must look, as the parking recorded it.
    pub parked: Option<Json<Value>>,
}

/// How a person names a deletion.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Its own id, or that of a request.
    Id(Uuid),
    Key {
        tenant: Tenant,
        key: Key,
    },
    Target(Target),
}

/// A request that never became a deletion.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct RejectedRequest {
    pub id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    pub reason: String,
    pub field: String,
    pub detail: String,
}

/// What a key is known to mean.
#[derive(Clone, Copy, Debug)]
pub struct KeyMeans {
    /// Digest of the canonical request: another one under the same key is a conflict.
    pub content: [u8; 16],
    pub request: RequestId,
    pub deletion: Option<DeletionId>,
}

impl Store {
    /// One page, newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Listed>, StoreError> {
        sqlx::query_as(
            "/* list */ with page as (
                 (select d.id, d.tenant, d.target_type, d.target_id, d.plan,
                         case when d.parked is not null then 'parked' when d.lane is not null then 'in_hand'
                              when d.due_at <= now() then 'due' else 'waiting' end as state,
                         d.admitted_at, case when d.lane is null then d.due_at end as due_at,
                         null::timestamptz as ended_at, null::text as result, d.parked
                  from sexton.open_deletions d
                  where ($1 in ('open', 'all') or ($1 = 'parked' and d.parked is not null)
                         or ($1 = 'waiting' and d.parked is null and d.lane is null))
                    and ($2::text is null or d.tenant = $2) and ($3::text is null or d.target_type = $3)
                    and ($4::text is null or d.target_id = $4) and ($5::uuid is null or d.id < $5)
                    and ($7::integer is null or d.plan = $7)
                  order by d.id desc limit $6)
                 union all
                 (select s.deletion_id, d.tenant, d.target_type, d.target_id, s.plan, 'queued', r.received_at, s.due_at,
                         null, null, null
                  from sexton.successors s
                  join sexton.open_deletions d on d.id = s.blocking
                  join sexton.requests r on r.id = s.request_id
                  where $1 in ('open', 'all', 'waiting')
                    and ($2::text is null or d.tenant = $2) and ($3::text is null or d.target_type = $3)
                    and ($4::text is null or d.target_id = $4) and ($5::uuid is null or s.deletion_id < $5)
                    and ($7::integer is null or s.plan = $7)
                  order by s.deletion_id desc limit $6)
                 union all
                 (select d.id, d.tenant, d.target_type, d.target_id, d.plan, 'ended', d.admitted_at, null, d.ended_at,
                         d.result, null
                  from sexton.ended($2, $3, $4, $7, $5, $6) d
                  where $1 in ('ended', 'all')
                  order by d.id desc limit $6)
             )
             select page.id, tenant, page.target_type, target_id, coalesce(p.hash, '') as plan, state, admitted_at,
                    nullif(due_at, '9999-01-01 00:00+00') as due_at, ended_at, result, parked::jsonb as parked
             from page left join sexton.plans p on p.id = page.plan
             order by page.id desc limit $6",
        )
        .bind(filter.which.word())
        .bind(filter.tenant.as_ref().map(Tenant::as_str))
        .bind(filter.target_type.as_ref().map(TargetType::as_str))
        .bind(filter.target_id.as_deref())
        .bind(filter.before.map(|id| id.0))
        .bind(i64::from(filter.rows.min(PAGE_MAX_ROWS)))
        .bind(filter.plan)
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("listing deletions"))
    }

    /// The deletions that a person may mean, newest first.
    pub async fn find(&self, wanted: &Wanted) -> Result<Vec<DeletionId>, StoreError> {
        let found: Vec<Uuid> = match wanted {
            Wanted::Id(id) => {
                sqlx::query_scalar(
                    "/* find_by_id */ select id from sexton.open_deletions where id = $1
                     union select deletion_id from sexton.successors where deletion_id = $1
                     union select id from sexton.deletions where id = $1
                     union select deletion_id from sexton.requests where id = $1",
                )
                .bind(id)
                .fetch_all(&self.pool)
                .await
            }
            Wanted::Key { tenant, key } => {
                let known = self.key_means(key.digest(tenant)).await?;
                return Ok(known.and_then(|known| known.deletion).into_iter().collect());
            }
            Wanted::Target(target) => {
                sqlx::query_scalar(
                    "/* find_by_target */ with slot as (
                         select id from sexton.open_deletions
                         where tenant = $1 and target_type = $2 and target_id = $3
                     )
                     select id from slot
                     union select s.deletion_id from sexton.successors s join slot on slot.id = s.blocking
                     union select id from sexton.ended($1, $2, $3, null, null, $4)
                     order by id desc limit $4",
                )
                .bind(target.tenant.as_str())
                .bind(target.kind.as_str())
                .bind(target.id.as_str())
                .bind(FOUND_MAX_ROWS)
                .fetch_all(&self.pool)
                .await
            }
        }
        .map_err(StoreError::doing("looking for a deletion"))?;
        Ok(found.into_iter().map(DeletionId).collect())
    }

    /// What this key (by its digest) was first used for, while it is remembered.
    pub async fn key_means(&self, digest: [u8; 16]) -> Result<Option<KeyMeans>, StoreError> {
        let row: Option<(Uuid, Uuid, Option<Uuid>)> = sqlx::query_as(
            "/* key_means */ select k.content, k.request_id, r.deletion_id
             from sexton.keys k left join sexton.requests r on r.id = k.request_id where k.digest = $1 limit 1",
        )
        .bind(Uuid::from_bytes(digest))
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::doing("looking a key up"))?;
        Ok(row.map(|(content, request, deletion)| KeyMeans {
            content: content.into_bytes(),
            request: RequestId(request),
            deletion: deletion.map(DeletionId),
        }))
    }

    /// The request with this id, if it was turned away.
    pub async fn rejected_request(&self, id: Uuid) -> Result<Option<RejectedRequest>, StoreError> {
        sqlx::query_as(
            "/* rejected_request */ select id, received_at, reason, field, detail from sexton.rejections where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::doing("looking for a rejected request"))
    }

    /// Who did what from outside, for the auditor. (Signals and adoptions write theirs in their own transaction.)
    pub async fn audit(
        &self,
        by: &str,
        action: &str,
        deletion: Option<DeletionId>,
        detail: &Value,
    ) -> Result<(), StoreError> {
        sqlx::query("/* audit */ insert into sexton.audit (said_by, action, deletion_id, detail) values ($1, $2, $3, $4)")
            .bind(by)
            .bind(action)
            .bind(deletion.map(|id| id.0))
            .bind(Json(detail))
            .execute(&self.pool)
            .await
            .map_err(StoreError::doing("writing the audit"))?;
        Ok(())
    }
}
