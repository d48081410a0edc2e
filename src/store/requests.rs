//! The rows of requests that an admission lets in; they are written once and never change.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Candidate, StoreError};
use crate::deletion::{DeletionId, Request};

pub(super) async fn insert(
    tx: &mut PgConnection,
    requests: &[(&Candidate, DeletionId)],
    announce: bool,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let text = |of: &dyn Fn(&Request) -> Option<String>| {
        requests
            .iter()
            .map(|(candidate, _)| of(&candidate.request))
            .collect::<Vec<Option<String>>>()
    };
    let params = |request: &Request| {
        (!request.params.is_empty()).then(|| serde_json::Value::Object(request.params.clone()).to_string())
    };
    sqlx::query(
        "/* admit_requests */ insert into sexton.requests
             (id, action, tenant, target_type, target_id, key, batch, requested_by, reason, params, message_id,
              correlation_id, traceparent, tracestate, not_before, deadline, deletion_id, received_at)
         select id, action, tenant, target_type, target_id, key, batch, requested_by, reason, params::jsonb, message_id,
                correlation_id, traceparent, tracestate, not_before, deadline, deletion_id, $18
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                     $15::timestamptz[], $16::timestamptz[], $17::uuid[])
             as i (id, action, tenant, target_type, target_id, key, batch, requested_by, reason, params, message_id,
                   correlation_id, traceparent, tracestate, not_before, deadline, deletion_id)",
    )
    .bind(requests.iter().map(|(candidate, _)| candidate.request_id.0).collect::<Vec<_>>())
    .bind(text(&|request| Some(request.action.word().to_owned())))
    .bind(text(&|request| Some(request.target.tenant.as_str().to_owned())))
    .bind(text(&|request| Some(request.target.kind.as_str().to_owned())))
    .bind(text(&|request| Some(request.target.id.as_str().to_owned())))
    .bind(text(&|request| request.key.as_ref().map(|key| key.as_str().to_owned())))
    .bind(text(&|request| request.batch.clone()))
    .bind(text(&|request| request.requested_by.clone()))
    .bind(text(&|request| request.reason.clone()))
    .bind(text(&params))
    .bind(text(&|request| request.envelope.message_id.clone()))
    .bind(text(&|request| request.envelope.correlation_id.clone()))
    .bind(text(&|request| request.envelope.trace.traceparent.clone()))
    .bind(text(&|request| request.envelope.trace.tracestate.clone()))
    .bind(requests.iter().map(|(candidate, _)| candidate.request.not_before).collect::<Vec<_>>())
    .bind(requests.iter().map(|(candidate, _)| candidate.request.deadline).collect::<Vec<_>>())
    .bind(requests.iter().map(|(_, deletion)| deletion.0).collect::<Vec<_>>())
    .bind(now)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::doing("storing requests"))?;
    if announce {
        sqlx::query(
            "/* admit_announce */ insert into sexton.outbox
                 (id, destination, kind, request_id, deletion_id, plan, seq, at, taken_until)
             select e, 'events', 'accepted', r, d, p, 0, $4, now()
             from unnest($1::uuid[], $2::uuid[], $3::uuid[], $5::integer[]) i (e, r, d, p)",
        )
        .bind(requests.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
        .bind(
            requests
                .iter()
                .map(|(candidate, _)| candidate.request_id.0)
                .collect::<Vec<_>>(),
        )
        .bind(
            requests
                .iter()
                .map(|(_, deletion)| deletion.0)
                .collect::<Vec<_>>(),
        )
        .bind(now)
        .bind(
            requests
                .iter()
                // A restore that waits does not know yet under which version it will be.
                .map(|(candidate, _)| (candidate.plan > 0).then_some(candidate.plan))
                .collect::<Vec<_>>(),
        )
        .execute(&mut *tx)
        .await
        .map_err(StoreError::doing("announcing what was accepted"))?;
    }
    Ok(())
}
