//! Batches: many targets in one call, and how they stand as a whole.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ask::{AskedTarget, object, only, placed, published, sign};
use super::caller::{away, caller, patience};
use super::problem::{AskProblems, Kind, LookProblems, Problem};
use crate::decide::access::Act;
use crate::deletion::{BULK_BODY_MAX_BYTES, Tenant};
use crate::gateway::Desk;
use crate::store::BatchStand;

/// Many targets at once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedBatch {
    #[schema(min_items = 1, max_items = 10_000)]
    targets: Vec<AskedTarget>,
    tenant: Option<String>,
    /// Why, for the audit.
    #[schema(max_length = 1_000, pattern = r"^[^\x00]*$")]
    reason: Option<String>,
    #[schema(format = DateTime)]
    not_before: Option<String>,
    #[schema(format = DateTime)]
    deadline: Option<String>,
    /// The same for each of them.
    #[schema(value_type = Option<Object>)]
    params: Option<Map<String, Value>>,
}

/// How a batch stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Batch {
    /// Of the call.
    id: Uuid,
    /// As its events name it.
    batch: String,
    state: BatchState,
    /// How many requests it has, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i32>,
    /// How many are known, and of these how many have their outcome.
    known: i32,
    done: i32,
    /// How so many ended.
    counts: BTreeMap<&'static str, i32>,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    first_at: Option<OffsetDateTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BatchState {
    /// Kept, and on its way to admission.
    Published,
    UnderWay,
    /// Every one of its requests has its outcome.
    Over,
}

/// Ask for many deletions at once.
///
/// One call and one batch, kept before it is answered. Each of its requests has an outcome of its own, and the batch one for
/// the whole.
#[utoipa::path(
    post, path = "/v1/batches", tag = "batches", request_body = AskedBatch,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = r"^[!#-~]([ !#-~]*[!#-~])?$"), ("Prefer" = Option<String>, Header)),
    responses(
        (status = 200, body = Batch, description = "It is over; `counts` says how its requests ended"),
        (status = 202, body = Batch, description = "It goes on; `Location` can be asked for at once",
            headers(("Location" = String), ("Preference-Applied" = String))),
        AskProblems,
    ),
)]
pub(super) async fn delete(State(desk): State<Desk>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let principal = caller(&desk, &head.headers, Act::Ask).await?;
    let mut fields = object(&desk, &head.headers, body, BULK_BODY_MAX_BYTES).await?;
    only(
        &fields,
        &["targets", "tenant", "reason", "not_before", "deadline", "params"],
    )?;
    if !fields.contains_key("targets") {
        return Err(Problem::at(
            Kind::Invalid,
            "/targets",
            "found nothing; wanted an array of objects with type and id",
        ));
    }
    sign(&mut fields, &principal, &head.headers)?;
    let patience = patience(&head.headers, desk.settings.wait);
    let published = published(&desk, fields, &head.headers).await?;
    if let Some(batch) = published.batch.clone().filter(|_| !patience.wait.is_zero()) {
        desk.calls
            .outcome_of_all(batch, Instant::now() + patience.wait)
            .await;
    }
    let batch = read(&desk, &principal.tenant, published.id.0)
        .await?
        .ok_or_else(Problem::not_found)?;
    let status = match batch.state {
        BatchState::Over => StatusCode::OK,
        BatchState::Published | BatchState::UnderWay => StatusCode::ACCEPTED,
    };
    let place = format!("/v1/batches/{}", published.id);
    Ok(placed(status, &place, patience, Json(batch)))
}

/// Look at a batch.
#[utoipa::path(
    get, path = "/v1/batches/{id}", tag = "batches",
    params(("id" = Uuid, Path, description = "Of the call")),
    responses(
        (status = 200, body = Batch),
        LookProblems,
    ),
)]
pub(super) async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = caller(&desk, &headers, Act::See).await?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::not_found())?;
    let batch = read(&desk, &principal.tenant, id).await?;
    Ok(Json(batch.ok_or_else(Problem::not_found)?).into_response())
}

async fn read(desk: &Desk, tenant: &Tenant, id: Uuid) -> Result<Option<Batch>, Problem> {
    let store = desk.calls.store();
    let known = store.known_as(tenant, id).await.map_err(|error| away(&error))?;
    let Some(batch) = known.and_then(|known| known.batch) else {
        return Ok(None);
    };
    let named = [(tenant.clone(), batch.clone())];
    let stand = store
        .look_at_batches(&named)
        .await
        .map_err(|error| away(&error))?
        .pop();
    Ok(Some(Batch::of(id, batch, stand.map(|(_, stand)| stand))))
}

impl Batch {
    fn of(id: Uuid, batch: String, stand: Option<BatchStand>) -> Self {
        let Some(stand) = stand else {
            return Batch {
                id,
                batch,
                state: BatchState::Published,
                size: None,
                known: 0,
                done: 0,
                counts: BTreeMap::new(),
                first_at: None,
            };
        };
        let counts = [
            ("deleted", stand.deleted),
            ("already_gone", stand.already_gone),
            ("absent", stand.absent),
            ("completed_with_orphans", stand.completed_with_orphans),
            ("soft_deleted", stand.soft_deleted),
            ("restored", stand.restored),
            ("cancelled", stand.cancelled),
            ("refused", stand.refused),
            ("rejected", stand.rejected),
        ];
        Batch {
            id,
            batch,
            state: match stand.is_over() {
                true => BatchState::Over,
                false => BatchState::UnderWay,
            },
            size: stand.size,
            known: stand.known,
            done: stand.done,
            counts: counts.into_iter().filter(|(_, n)| *n > 0).collect(),
            first_at: stand.first_at,
        }
    }
}
