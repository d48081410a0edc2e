//! Asking: a deletion, its cancel, its restore. Each becomes a published request like anybody's.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::{Patience, about, away, caller, key, patience};
use super::problem::{AskProblems, Kind, Problem};
use super::resource::{Deletion, State as Stands};
use crate::decide::access::{Act, Principal};
use crate::deletion::{Action, REQUEST_BODY_MAX_BYTES, Tenant, read_object};
use crate::gateway::bounds::{self, BadBody, Held};
use crate::gateway::{CallError, Desk, Published};

/// What is asked for. (It is read as strictly as a message; see the contract of requests.)
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    target: AskedTarget,
    /// Left out, that of the credentials; it can be no other.
    tenant: Option<String>,
    /// Requests with the same batch have, beside their own outcomes, one for the whole.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    batch: Option<String>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    batch_size: Option<u32>,
    /// Why, for the audit. Never shown in events, logs or metrics.
    #[schema(max_length = 1_000, pattern = r"^[^\x00]*$")]
    reason: Option<String>,
    /// Nothing is done before this time.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    /// Not done by this time, somebody is told.
    #[schema(format = DateTime)]
    deadline: Option<String>,
    /// What the plan of the type declares.
    #[schema(value_type = Option<Object>)]
    params: Option<Map<String, Value>>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedTarget {
    /// What kind of thing it is. Each type has one plan.
    #[serde(rename = "type")]
    #[schema(
        example = "factory.computer",
        max_length = 64,
        pattern = r"^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*$"
    )]
    kind: String,
    /// Which one.
    #[schema(
        example = "cmp_123",
        min_length = 1,
        max_length = 512,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"
    )]
    id: String,
}

/// What may be said of a cancel or a restore.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// Why, for the audit.
    #[schema(max_length = 1_000, pattern = r"^[^\x00]*$")]
    reason: Option<String>,
}

/// Ask for a deletion.
///
/// The request is kept before it is answered, and carried out whatever becomes of the caller. The call waits for the
/// outcome as long as the gateway's settings say; `Prefer: wait=N` shortens that, `Prefer: respond-async` waits for nothing.
#[utoipa::path(
    post, path = "/v1/deletions", tag = "deletions", request_body = Asked,
    params(
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = r"^[!#-~]([ !#-~]*[!#-~])?$",
            description = "The request's key: a call with the same key and content is the same request"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, or `wait=` and seconds"),
    ),
    responses(
        (status = 200, body = Deletion, description = "It has ended; `result` says how"),
        (status = 202, body = Deletion, description = "It goes on; `Location` can be asked for at once",
            headers(("Location" = String), ("Preference-Applied" = String))),
        AskProblems,
    ),
)]
pub(super) async fn delete(State(desk): State<Desk>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let principal = caller(&desk, &head.headers, Act::Ask).await?;
    let fields = object(&desk, &head.headers, body, REQUEST_BODY_MAX_BYTES).await?;
    only(
        &fields,
        &[
            "target",
            "tenant",
            "batch",
            "batch_size",
            "reason",
            "not_before",
            "deadline",
            "params",
        ],
    )?;
    publish(&desk, &principal, &head.headers, fields).await
}

/// Ask that a deletion be cancelled: undone and ended, unless its point of no return was reached first.
#[utoipa::path(
    post, path = "/v1/deletions/{id}/cancel", tag = "deletions", request_body(content = Option<Said>),
    params(
        ("id" = Uuid, Path, description = "Of the call, the request or the deletion"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = r"^[!#-~]([ !#-~]*[!#-~])?$"), ("Prefer" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = Deletion, description = "It has ended; `result` says whether the cancel came in time"),
        (status = 202, body = Deletion, headers(("Location" = String), ("Preference-Applied" = String))),
        AskProblems,
    ),
)]
pub(super) async fn cancel(
    State(desk): State<Desk>,
    id: Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    about_one(desk, id, request, Action::Cancel).await
}

/// Ask that a soft deletion be taken back, inside its restore window.
#[utoipa::path(
    post, path = "/v1/deletions/{id}/restore", tag = "deletions", request_body(content = Option<Said>),
    params(
        ("id" = Uuid, Path, description = "Of the call, the request or the deletion"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = r"^[!#-~]([ !#-~]*[!#-~])?$"), ("Prefer" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = Deletion, description = "It has ended; `result` says how"),
        (status = 202, body = Deletion, headers(("Location" = String), ("Preference-Applied" = String))),
        AskProblems,
    ),
)]
pub(super) async fn restore(
    State(desk): State<Desk>,
    id: Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    about_one(desk, id, request, Action::Restore).await
}

/// The deletion is named beside its target: should the target have another one by then, this is turned away.
async fn about_one(
    desk: Desk,
    Path(id): Path<String>,
    request: Request,
    action: Action,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let principal = caller(&desk, &head.headers, Act::Ask).await?;
    let mut fields = match bounds::is_empty(&body) {
        true => Map::new(),
        false => object_or_null(&desk, &head.headers, body).await?,
    };
    only(&fields, &["reason"])?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::not_found())?;
    let found = Deletion::read(&desk, &principal.tenant, id).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    let (Some(deletion), Some(target)) = (found.deletion_id, found.target) else {
        let detail = match found.state {
            Stands::Published => "it has not been admitted yet; ask again in a moment",
            _ => "it never became a deletion",
        };
        return Err(Problem::new(Kind::Conflict, detail));
    };
    fields.insert("action".into(), action.word().into());
    fields.insert(
        "target".into(),
        serde_json::json!({"type": target.kind, "id": target.id}),
    );
    fields.insert("deletion".into(), deletion.to_string().into());
    publish(&desk, &principal, &head.headers, fields).await
}

/// Keeps it, publishes it, and waits for its outcome as long as the caller wants to.
async fn publish(
    desk: &Desk,
    principal: &Principal,
    headers: &HeaderMap,
    mut fields: Map<String, Value>,
) -> Result<Response, Problem> {
    sign(&mut fields, principal, headers)?;
    let patience = patience(headers, desk.settings.wait);
    let published = published(desk, fields, headers).await?;
    if !patience.wait.is_zero() {
        let until = Instant::now() + patience.wait;
        desk.calls.outcome(&published, until).await;
    }
    answer(desk, &principal.tenant, &published, patience).await
}

/// What the caller may not choose: whose it is, and who asks.
pub(super) fn sign(
    fields: &mut Map<String, Value>,
    principal: &Principal,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let tenant = principal.tenant.as_str();
    match fields.get("tenant") {
        None | Some(Value::Null) => {}
        Some(Value::String(said)) if said == tenant => {}
        Some(_) => {
            return Err(Problem::at(
                Kind::Forbidden,
                "/tenant",
                "found another tenant than that of the credentials; wanted none, or theirs",
            ));
        }
    }
    fields.insert("tenant".into(), tenant.into());
    fields.insert("requested_by".into(), principal.name.as_str().into());
    if let Some(key) = key(headers)? {
        fields.insert("key".into(), key.as_str().into());
    }
    Ok(())
}

pub(super) async fn published(
    desk: &Desk,
    fields: Map<String, Value>,
    headers: &HeaderMap,
) -> Result<Published, Problem> {
    match desk.calls.publish(fields, about(headers)).await {
        Ok(published) => Ok(published),
        Err(CallError::Wrong(rejection)) => Err(rejection.into()),
        Err(CallError::Conflict) => Err(Problem::new(
            Kind::KeyConflict,
            "this Idempotency-Key came before with other content; wanted the same content, or a key of its own",
        )),
        Err(CallError::Store { source }) => Err(away(&source)),
    }
}

async fn answer(
    desk: &Desk,
    tenant: &Tenant,
    published: &Published,
    patience: Patience,
) -> Result<Response, Problem> {
    let deletion = Deletion::read(desk, tenant, published.id.0).await?;
    let deletion = deletion.ok_or_else(Problem::not_found)?;
    if let Some(rejection) = &deletion.rejection {
        return Err(Problem::rejected(
            &rejection.reason,
            &rejection.field,
            &rejection.detail,
        ));
    }
    let status = deletion.status();
    let place = format!("/v1/deletions/{}", published.id);
    Ok(placed(status, &place, patience, Json(deletion)))
}

pub(super) fn placed(
    status: StatusCode,
    place: &str,
    patience: Patience,
    body: impl IntoResponse,
) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    if let Ok(place) = HeaderValue::from_str(place) {
        let name = match status {
            StatusCode::ACCEPTED => header::LOCATION,
            _ => header::CONTENT_LOCATION,
        };
        headers.insert(name, place);
    }
    if let Some(applied) = patience
        .applied
        .and_then(|applied| HeaderValue::from_str(&applied).ok())
    {
        headers.insert("preference-applied", applied);
    }
    response
}

/// The body as a JSON object, within its bounds.
pub(super) async fn object(
    desk: &Desk,
    headers: &HeaderMap,
    body: axum::body::Body,
    most: usize,
) -> Result<Map<String, Value>, Problem> {
    Ok(read_object(&json(desk, headers, body, most).await?.bytes)?)
}

/// Where nothing need be said, null says it too.
async fn object_or_null(
    desk: &Desk,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<Map<String, Value>, Problem> {
    let held = json(desk, headers, body, REQUEST_BODY_MAX_BYTES).await?;
    match held.bytes.trim_ascii() {
        b"" | b"null" => Ok(Map::new()),
        said => Ok(read_object(said)?),
    }
}

async fn json(
    desk: &Desk,
    headers: &HeaderMap,
    body: axum::body::Body,
    most: usize,
) -> Result<Held, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            "found another content type; wanted application/json",
        ));
    }
    let read = bounds::read(&desk.room, body, most, desk.settings.body_timeout).await;
    read.map_err(|bad| match bad {
        BadBody::TooLarge(most) => Problem::new(
            Kind::BodyTooLarge,
            format!("found a larger body; wanted at most {most} bytes"),
        ),
        BadBody::NotWhole => Problem::new(Kind::BodyNotWhole, "the body broke off, or took too long"),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = kind.map(|kind| {
        kind.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    });
    essence.is_some_and(|essence| essence == "application/json")
}

/// A field that is not known is an error, not ignored; names are the sender's, and not repeated.
pub(super) fn only(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Problem> {
    if fields.keys().all(|name| known.contains(&name.as_str())) {
        return Ok(());
    }
    Err(Problem::at(
        Kind::Invalid,
        "",
        format!(
            "found a field that is not known here; wanted only {}",
            known.join(", ")
        ),
    ))
}
