//! What is known by an id, to one tenant: of a call, a request or a deletion.
//!
//! One statement for all of them, in which the tenant is a condition like the id: what is another's is not there.

use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::{RejectedRequest, Store, StoreError};
use crate::deletion::{CallId, DeletionId, RequestId, Tenant};

#[derive(Clone, Debug)]
pub struct KnownAs {
    pub call: Option<CallId>,
    /// Of a call that is a bulk.
    pub batch: Option<String>,
    pub request: Option<RequestId>,
    pub deletion: Option<DeletionId>,
    /// Of a deletion that has ended, as its event has it.
    pub end_detail: Option<Value>,
    /// Of a request that never became one.
    pub rejection: Option<RejectedRequest>,
}

/// How something that is followed stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    pub state: String,
    /// The deletion's own; 0 before it has one.
    pub seq: i32,
    pub result: Option<String>,
    pub deletion: Option<Uuid>,
}

impl Pulse {
    /// Nothing further comes by itself.
    pub fn is_last(&self) -> bool {
        matches!(self.state.as_str(), "ended" | "parked" | "rejected")
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    call: Option<Uuid>,
    batch: Option<String>,
    request: Option<Uuid>,
    deletion: Option<Uuid>,
    end_detail: Option<Json<Value>>,
    rejection: Option<Uuid>,
}

impl Store {
    pub async fn known_as(&self, tenant: &Tenant, id: Uuid) -> Result<Option<KnownAs>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "/* known_as */ with called as (
                 select id, batch, request_id, rejection_id from sexton.calls where id = $1 and tenant = $2
             ), asked as (
                 select id, deletion_id from sexton.requests
                 where id = coalesce((select request_id from called), $1) and tenant = $2
             ), found as (
                 select deletion_id as id from asked
                 union select id from sexton.open_deletions where id = $1 and tenant = $2
                 union select s.deletion_id from sexton.successors s join sexton.open_deletions d on d.id = s.blocking
                       where s.deletion_id = $1 and d.tenant = $2
                 union select id from sexton.deletions where id = $1 and tenant = $2
             ), away as (
                 select id from sexton.rejections
                 where id = coalesce((select rejection_id from called), $1) and tenant = $2
             ), all_of as (
                 select (select id from called) as call, (select batch from called) as batch,
                        (select id from asked) as request, (select id from found limit 1) as deletion,
                        (select id from away) as rejection
             )
             select a.*, d.detail as end_detail
             from all_of a left join sexton.deletions d on d.id = a.deletion
             where a.call is not null or a.deletion is not null or a.rejection is not null",
        )
        .bind(id)
        .bind(tenant.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::doing("looking for what an id means"))?;
        let Some(row) = row else { return Ok(None) };
        let rejection = match (row.rejection, row.deletion) {
            (Some(id), None) => self.rejected_request(id).await?,
            _ => None,
        };
        Ok(Some(KnownAs {
            call: row.call.map(CallId),
            batch: row.batch,
            request: row.request.map(RequestId),
            deletion: row.deletion.map(DeletionId),
            end_detail: row.end_detail.map(|Json(detail)| detail),
            rejection,
        }))
    }

    /// How these stand, by the ids that [`Store::known_as`] knew; whose they are was asked there.
    pub async fn pulses(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Pulse)>, StoreError> {
        type Row = (Uuid, String, i32, Option<String>, Option<Uuid>);
        let rows: Vec<Row> = sqlx::query_as(
            "/* pulses */ with followed as (
                 select i.id, c.id as call, coalesce(r.id, q.id) as request, coalesce(c.rejection_id, x.id) as rejection,
                        coalesce(r.deletion_id, q.deletion_id, case when c.id is null then i.id end) as deletion
                 from unnest($1::uuid[]) i (id)
                 left join sexton.calls c on c.id = i.id
                 left join sexton.requests r on r.id = c.request_id
                 left join sexton.requests q on q.id = i.id
                 left join sexton.rejections x on x.id = i.id
             )
             select f.id,
                    case when d.id is not null then 'ended' when o.parked is not null then 'parked'
                         when o.lane is not null then 'in_hand' when o.due_at <= now() then 'due'
                         when o.id is not null then 'waiting' when f.request is not null then 'queued'
                         when f.rejection is not null then 'rejected' when f.call is not null then 'published'
                         else 'queued' end as state,
                    coalesce(d.seq, o.seq, 0) as seq, d.result, f.deletion
             from followed f
             left join sexton.deletions d on d.id = f.deletion
             left join sexton.open_deletions o on o.id = any (array[f.deletion])",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("looking at what is followed"))?;
        let pulse = |(id, state, seq, result, deletion)| {
            let deletion = Some(deletion).flatten();
            (
                id,
                Pulse {
                    state,
                    seq,
                    result,
                    deletion,
                },
            )
        };
        Ok(rows.into_iter().map(pulse).collect())
    }
}
