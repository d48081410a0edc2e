//! Calls: what came by HTTP, kept with its message in one transaction, and what has become of it.
//!
//! A call never enters the engine by itself: its message goes through the outbox to the queue, and is taken in like
//! everybody's. Admission says here which request answers it; where that stands is read from the tables of all.

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Admission, Candidate, Store, StoreError};
use crate::deletion::{CallId, DeletionId, RequestId, Tenant, TraceContext, TurnedAway};

/// Calls of one look: a page that Postgres answers in a few milliseconds.
pub const LOOK_MAX_ROWS: usize = 1_000;
/// Old calls that are forgotten in one transaction.
const FORGET_MAX_ROWS: i64 = 5_000;
/// Whoever called publishes from memory within this, or the sweep does.
const TAKEN_FOR_S: i32 = 15;

/// What is hinted when calls may have been answered.
pub(super) const CHANNEL: &str = "sexton_calls";

/// A well-formed request, or bulk, that has not been published yet.
#[derive(Clone, Debug)]
pub struct NewCall {
    pub id: CallId,
    pub tenant: Tenant,
    /// Of tenant and key.
    pub digest: [u8; 16],
    pub content: [u8; 16],
    /// Of a bulk.
    pub batch: Option<String>,
    pub message: CallMessage,
}

/// What goes to the queue of requests.
#[derive(Clone, Debug)]
pub struct CallMessage {
    pub body: Value,
    pub correlation_id: Option<String>,
    pub trace: TraceContext,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptCall {
    New,
    /// It came before, under this id.
    Again(CallId),
    /// Its key came before, with other content.
    Conflict,
}

/// Where a call stands.
#[derive(Clone, Debug)]
pub struct Called {
    pub id: CallId,
    pub tenant: String,
    /// Of a bulk, which is looked at as a batch.
    pub batch: Option<String>,
    pub request: Option<RequestId>,
    pub deletion: Option<DeletionId>,
    pub stand: Stand,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stand {
    /// On its way to admission.
    Published,
    /// It waits until another deletion of the target has ended.
    Queued,
    Open,
    /// A person must look.
    Parked,
    Ended {
        result: String,
        at: OffsetDateTime,
        /// As its event has it: `why`, `step`, `restorable_until`.
        detail: Value,
    },
    Rejected {
        reason: String,
        field: String,
        detail: String,
    },
}

impl Stand {
    /// Nothing further is to be waited for, by a caller that has only so much time.
    pub fn is_told(&self) -> bool {
        matches!(self, Stand::Parked | Stand::Ended { .. } | Stand::Rejected { .. })
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant: String,
    batch: Option<String>,
    request_id: Option<Uuid>,
    deletion_id: Option<Uuid>,
    result: Option<String>,
    ended_at: Option<OffsetDateTime>,
    end_detail: Option<Json<Value>>,
    is_open: bool,
    is_parked: bool,
    reason: Option<String>,
    field: Option<String>,
    rejected_detail: Option<String>,
}

impl Store {
    /// Keeps a call and its message together: from here on it is never lost. The sweep leaves it to the caller for a while,
    /// who publishes it from memory.
    pub async fn keep_call(&self, call: &NewCall) -> Result<KeptCall, StoreError> {
        let failed = StoreError::doing("keeping a call");
        let kept: Option<Uuid> = sqlx::query_scalar(
            "/* keep_call */ with kept as (
                 insert into sexton.calls (id, tenant, digest, content, batch) values ($1, $2, $3, $4, $5)
                 on conflict (digest) do nothing returning id
             )
             insert into sexton.outbox (id, destination, kind, detail, taken_until)
             select id, 'requests', 'call', $6, now() + make_interval(secs => $7) from kept
             returning id",
        )
        .bind(call.id.0)
        .bind(call.tenant.as_str())
        .bind(Uuid::from_bytes(call.digest))
        .bind(Uuid::from_bytes(call.content))
        .bind(call.batch.as_deref())
        .bind(Json(call.message.to_detail()))
        .bind(f64::from(TAKEN_FOR_S))
        .fetch_optional(&self.pool)
        .await
        .map_err(&failed)?;
        if kept.is_some() {
            return Ok(KeptCall::New);
        }
        // A statement of its own: the other one may have been committed while this one was waiting for it.
        let (id, content): (Uuid, Uuid) =
            sqlx::query_as("/* kept_call */ select id, content from sexton.calls where digest = $1")
                .bind(Uuid::from_bytes(call.digest))
                .fetch_one(&self.pool)
                .await
                .map_err(&failed)?;
        Ok(match content.as_bytes() == &call.content {
            true => KeptCall::Again(CallId(id)),
            false => KeptCall::Conflict,
        })
    }

    /// Where these calls stand; one that is not known is left out.
    pub async fn look_at_calls(&self, ids: &[CallId]) -> Result<Vec<Called>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "/* look_at_calls */ select c.id, c.tenant, c.batch, r.id as request_id, r.deletion_id, d.result, d.ended_at,
                    d.detail as end_detail, o.id is not null as is_open, o.parked is not null as is_parked,
                    x.reason, x.field, x.detail as rejected_detail
             from unnest($1::uuid[]) i (id)
             join sexton.calls c on c.id = any (array[i.id])
             left join sexton.requests r on r.id = c.request_id
             left join sexton.deletions d on d.id = r.deletion_id
             left join sexton.open_deletions o on o.id = any (array[r.deletion_id])
             left join sexton.rejections x on x.id = c.rejection_id",
        )
        .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("looking at calls"))?;
        Ok(rows.into_iter().map(called).collect())
    }

    /// Hints to all who wait for calls. Never in a transaction of the engine: a notification makes commits wait in line.
    pub async fn hint_calls(&self) -> Result<(), StoreError> {
        sqlx::query("/* hint_calls */ select pg_notify($1, '')")
            .bind(CHANNEL)
            .execute(&self.pool)
            .await
            .map_err(StoreError::doing("hinting that calls were answered"))?;
        Ok(())
    }

    /// One page of calls that are older than this. Returns how many.
    pub async fn forget_calls(&self, age: std::time::Duration) -> Result<u64, StoreError> {
        let gone = sqlx::query(
            "/* forget_calls */ delete from sexton.calls c using (
                 select id from sexton.calls where id < sexton.uuid_floor(now() - make_interval(secs => $1))
                 order by id limit $2
             ) page where c.id = any (array[page.id])",
        )
        .bind(age.as_secs_f64())
        .bind(FORGET_MAX_ROWS)
        .execute(&self.pool)
        .await
        .map_err(StoreError::doing("forgetting calls"))?;
        Ok(gone.rows_affected())
    }
}

impl CallMessage {
    /// As the outbox keeps it.
    fn to_detail(&self) -> Value {
        json!({
            "body": self.body,
            "correlation_id": self.correlation_id,
            "traceparent": self.trace.traceparent,
            "tracestate": self.trace.tracestate,
        })
    }

    pub(super) fn from_detail(mut detail: Value) -> Self {
        let text = |detail: &Value, name: &str| detail[name].as_str().map(str::to_owned);
        let trace = TraceContext::new(
            text(&detail, "traceparent").as_deref(),
            text(&detail, "tracestate").as_deref(),
        );
        CallMessage {
            correlation_id: text(&detail, "correlation_id"),
            trace,
            body: detail["body"].take(),
        }
    }
}

/// In the transaction of an admission: which request answers each of its calls. That of a copy is another one's, and may
/// have ended long ago, so whoever waits is hinted; all others hear of their end.
pub(super) async fn answered(
    tx: &mut PgConnection,
    candidates: &[Candidate],
    fates: &[Option<Admission>],
) -> Result<(), StoreError> {
    let mut answered: Vec<(CallId, &Candidate, RequestId)> = Vec::new();
    let mut copies = false;
    for (candidate, fate) in candidates.iter().zip(fates) {
        let Some(call) = candidate.request.envelope.call() else {
            continue;
        };
        let request = match fate {
            None | Some(Admission::Away(_)) => continue,
            Some(Admission::Copy { request, .. }) => {
                copies = true;
                *request
            }
            Some(_) => candidate.request_id,
        };
        answered.push((call, candidate, request));
    }
    if answered.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "/* admit_calls */ with answered as (
             update sexton.calls c set request_id = i.request
             from unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[]) as i (call, tenant, content, request)
             where c.id = any (array[i.call]) and c.tenant = i.tenant and c.content = i.content and c.request_id is null
             returning 1
         )
         select pg_notify($6, '') where $5 and exists (select from answered)",
    )
    .bind(answered.iter().map(|(call, ..)| call.0).collect::<Vec<_>>())
    .bind(
        answered
            .iter()
            .map(|(_, candidate, _)| candidate.request.target.tenant.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        answered
            .iter()
            .map(|(_, candidate, _)| Uuid::from_bytes(candidate.request.digest()))
            .collect::<Vec<_>>(),
    )
    .bind(answered.iter().map(|(.., request)| request.0).collect::<Vec<_>>())
    .bind(copies)
    .bind(CHANNEL)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::doing("answering calls"))?;
    Ok(())
}

/// With the rejections themselves: which of them answers a call. Their events are the hint.
pub(super) async fn turned_away(
    tx: &mut PgConnection,
    rejections: &[(Uuid, &TurnedAway)],
) -> Result<(), StoreError> {
    let calls: Vec<(Uuid, CallId, &str)> = rejections
        .iter()
        .filter_map(|(id, away)| {
            let call = CallId::of_message(away.message_id.as_deref()?)?;
            Some((*id, call, away.rejection.tenant.as_deref()?))
        })
        .collect();
    if calls.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "/* reject_calls */ update sexton.calls c set rejection_id = i.rejection
         from unnest($1::uuid[], $2::uuid[], $3::text[]) as i (rejection, call, tenant)
         where c.id = any (array[i.call]) and c.tenant = i.tenant and c.batch is null and c.rejection_id is null",
    )
    .bind(calls.iter().map(|(rejection, ..)| *rejection).collect::<Vec<_>>())
    .bind(calls.iter().map(|(_, call, _)| call.0).collect::<Vec<_>>())
    .bind(calls.iter().map(|(.., tenant)| *tenant).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await
    .map_err(StoreError::doing("answering calls that were turned away"))?;
    Ok(())
}

fn called(row: Row) -> Called {
    let stand = match (row.result, row.request_id, row.reason) {
        (Some(result), ..) => Stand::Ended {
            result,
            at: row.ended_at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            detail: row.end_detail.map_or(Value::Null, |Json(detail)| detail),
        },
        (None, Some(_), _) if row.is_parked => Stand::Parked,
        (None, Some(_), _) if row.is_open => Stand::Open,
        (None, Some(_), _) => Stand::Queued,
        (None, None, Some(reason)) => Stand::Rejected {
            reason,
            field: row.field.unwrap_or_default(),
            detail: row.rejected_detail.unwrap_or_default(),
        },
        (None, None, None) => Stand::Published,
    };
    Called {
        id: CallId(row.id),
        tenant: row.tenant,
        batch: row.batch,
        request: row.request_id.map(RequestId),
        deletion: row.deletion_id.map(DeletionId),
        stand,
    }
}
