//! What is still to be said. Rows are born in the transaction that makes them true and die when the broker has them.
//!
//! An event is composed from rows that never change, so the writer's memory and the sweep give the same bytes.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{CallMessage, Store, StoreError};
use crate::deletion::{
    Action, Announcement, DeletionId, EventId, EventKind, PlanHash, Rejection, RejectionReason, RequestId,
    TraceContext, TurnedAway,
};

/// Whoever took a page publishes it within this, or somebody else does.
const TAKEN_FOR_S: i32 = 30;

/// What the broker did not take lets others pass first; a page of what it never takes would otherwise be every page.
const UNSENT_PAUSE_S: f64 = 3.0;

#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: Uuid,
    pub body: OutgoingBody,
}

impl Outgoing {
    /// The time of the transaction that makes it true.
    pub fn stamp(&mut self, at: OffsetDateTime) {
        if let OutgoingBody::Event(announcement) = &mut self.body {
            announcement.at = at;
        }
    }
}

#[derive(Clone, Debug)]
pub enum OutgoingBody {
    Event(Box<Announcement>),
    /// One of Sexton's own, to itself: it goes the way of all others.
    Request(Value),
    /// What came by HTTP.
    Call(Box<CallMessage>),
    /// For `deletion.rejected`: the body as it came, the reason in headers.
    Rejected {
        rejection: Uuid,
        message: Box<TurnedAway>,
    },
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    destination: String,
    kind: String,
    at: OffsetDateTime,
    request_id: Option<Uuid>,
    rejection_id: Option<Uuid>,
    deletion_id: Option<Uuid>,
    seq: Option<i32>,
    detail: Option<Value>,
    tenant: Option<String>,
    target_type: Option<String>,
    target_id: Option<String>,
    action: Option<String>,
    key: Option<String>,
    batch: Option<String>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    plan: Option<String>,
    reason: Option<String>,
    field: Option<String>,
    rejected_detail: Option<String>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
}

impl Store {
    /// Takes a page of what is unsent and nobody is publishing: the set, never "after the last".
    pub async fn take_unsent(&self, limit: i64) -> Result<Vec<Outgoing>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "/* take_unsent */ with page as materialized (
                 select id from sexton.outbox where taken_until <= now() order by id limit $1 for update skip locked
             ), taken as (
                 update sexton.outbox o set taken_until = now() + make_interval(secs => $2)
                 from page where o.id = any (array[page.id]) returning o.*
             )
             select t.id, t.destination, t.kind, t.at, t.request_id, t.rejection_id, t.deletion_id, t.seq, t.detail,
                    coalesce(r.tenant, x.tenant, t.tenant) as tenant, coalesce(r.target_type, x.target_type) as target_type,
                    r.target_id, r.action, coalesce(r.key, x.key) as key, coalesce(r.batch, x.batch, t.batch) as batch,
                    coalesce(r.message_id, x.message_id) as message_id,
                    coalesce(r.correlation_id, x.correlation_id) as correlation_id,
                    coalesce(r.traceparent, x.traceparent) as traceparent, r.tracestate, p.hash as plan,
                    x.reason, x.field, x.detail as rejected_detail, x.content_type,
                    case when t.destination = 'rejected' then x.body end as body
             from taken t
             left join sexton.requests r on r.id = t.request_id
             left join sexton.rejections x on x.id = t.rejection_id
             left join sexton.plans p on p.id = t.plan
             order by t.id",
        )
        .bind(limit)
        .bind(f64::from(TAKEN_FOR_S))
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("taking unsent events"))?;
        Ok(rows.into_iter().map(outgoing).collect())
    }

    /// The broker has confirmed these. What was turned away gives its body up with its row: were it two commits, a cut
    /// between them would leave a body for ever, with no row to say that it has been handed over. `bodies`: there are such
    /// among them; a gateway, which has none, may not touch their table.
    pub async fn sent(&self, ids: &[Uuid], bodies: bool) -> Result<(), StoreError> {
        let sql = match bodies {
            false => "/* sent */ delete from sexton.outbox where id = any ($1)",
            true => {
                "/* sent_bodies */ with crossed_off as (
                     delete from sexton.outbox where id = any ($1) returning destination, rejection_id
                 )
                 update sexton.rejections x set body = null
                 from crossed_off c where c.destination = 'rejected' and x.id = c.rejection_id"
            }
        };
        sqlx::query(sql)
            .bind(ids)
            .execute(&self.pool)
            .await
            .map_err(StoreError::doing("crossing off what was sent"))?;
        Ok(())
    }

    /// The broker did not take these: the sweep may, after those that nobody has tried yet.
    pub async fn unsent(&self, ids: &[Uuid]) -> Result<(), StoreError> {
        sqlx::query(
            "/* unsent */ update sexton.outbox set taken_until = now() + make_interval(secs => $2) where id = any ($1)",
        )
            .bind(ids)
            .bind(UNSENT_PAUSE_S)
            .execute(&self.pool)
            .await
            .map_err(StoreError::doing("handing unsent events back"))?;
        Ok(())
    }

    /// How many wait, and since when: for the gauge.
    pub async fn outbox_depth(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("/* outbox_depth */ select count(*) from sexton.outbox")
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::doing("counting unsent events"))
    }
}

fn outgoing(row: Row) -> Outgoing {
    let rejection = row.reason.as_deref().map(|word| {
        // A reason that this release does not know was written by a newer one; the rest is what matters.
        let reason = RejectionReason::parse(word).unwrap_or(RejectionReason::WrongShape);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Rejection::new(reason, text(&row.field), text(&row.rejected_detail))
    });
    if let ("rejected", Some(rejection)) = (row.destination.as_str(), &rejection) {
        let message = TurnedAway {
            rejection: rejection.clone(),
            message_id: row.message_id,
            correlation_id: row.correlation_id,
            traceparent: row.traceparent,
            content_type: row.content_type,
            body: row.body,
        };
        let body = OutgoingBody::Rejected {
            rejection: row.rejection_id.unwrap_or_default(),
            message: Box::new(message),
        };
        return Outgoing { id: row.id, body };
    }
    if row.destination == "requests" {
        let detail = row.detail.unwrap_or_default();
        let body = match row.kind.as_str() {
            "call" => OutgoingBody::Call(Box::new(CallMessage::from_detail(detail))),
            _ => OutgoingBody::Request(detail),
        };
        return Outgoing { id: row.id, body };
    }
    let detail = match (row.detail, &rejection) {
        (Some(Value::Object(detail)), _) => detail,
        (_, Some(rejection)) => rejection.event_detail(),
        _ => Map::new(),
    };
    let announcement = Announcement {
        event_id: EventId(row.id),
        // A word that this release does not know cannot have been written by it; `parked` makes a person look.
        kind: EventKind::parse(&row.kind).unwrap_or(EventKind::Parked),
        at: row.at,
        request_id: RequestId(row.request_id.or(row.rejection_id).unwrap_or_default()),
        deletion_id: row.deletion_id.map(DeletionId),
        sequence: row.seq.and_then(|seq| u32::try_from(seq).ok()),
        tenant: row.tenant,
        target_type: row.target_type,
        target_id: row.target_id,
        action: row.action.as_deref().and_then(Action::parse),
        key: row.key,
        batch: row.batch,
        message_id: row.message_id,
        correlation_id: row.correlation_id,
        trace: TraceContext::new(row.traceparent.as_deref(), row.tracestate.as_deref()),
        plan: row.plan.map(PlanHash),
        detail,
    };
    Outgoing {
        id: row.id,
        body: OutgoingBody::Event(Box::new(announcement)),
    }
}
