//! Agno AgentOS: `DELETE /sessions`. Many sessions in one call, one batch, answered as a whole.
//!
//! The order of its checks is the original's: credentials, then everything about the shape (422), then lengths (400), then
//! which database and table are meant.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::agno_body::{Given, Sessions, read};
use super::factory::{AGAIN_AFTER, later};
use super::{NotAsked, away, bearer, body, query};
use crate::decide::access::{Dialect, Principal};
use crate::deletion::wire::{RequestBody, RequestTarget};
use crate::gateway::bounds::{self, BODY_MAX_BYTES, BadBody};
use crate::gateway::native::about;
use crate::gateway::{About, CallError, Desk};
use crate::store::BatchStand;

const TYPE: &str = "agno.session";

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(delete))
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionType {
    Agent,
    Team,
    Workflow,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[schema(max_length = 512, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
pub(super) struct SessionId(String);

#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct DeleteSessionRequest {
    #[schema(min_items = 1, max_items = 10_000)]
    session_ids: Vec<SessionId>,
    #[schema(min_items = 1)]
    session_types: Vec<SessionType>,
}

/// One sentence.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgnoError {
    detail: String,
}

/// A list of what is wrong, each with its place.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgnoInvalid {
    #[schema(value_type = Vec<Object>)]
    detail: Vec<Value>,
}

/// Delete multiple sessions
#[utoipa::path(
    delete, path = "/sessions", tag = "agno", request_body = DeleteSessionRequest,
    params(
        ("type" = Option<SessionType>, Query, description = "Not read"),
        ("db_id" = Option<String>, Query, description = "Database ID to use for deletion"),
        ("table" = Option<String>, Query, description = "Table to use for deletion"),
        ("user_id" = Option<String>, Query, description = "Only this user's sessions; others' are left"),
    ),
    responses(
        (status = 204, description = "Every session is gone"),
        (status = 400, body = AgnoError), (status = 401, body = AgnoError), (status = 403, body = AgnoError),
        (status = 404, body = AgnoError), (status = 413, body = AgnoError), (status = 422, body = AgnoInvalid),
        (status = 429, body = AgnoError), (status = 500, body = AgnoError),
    ),
)]
pub(super) async fn delete(State(desk): State<Desk>, RawQuery(raw): RawQuery, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let principal = match bearer(&desk, &head.headers, Dialect::Agno).await {
        Ok(principal) => principal,
        Err(why) => return not_asked(why, &head.headers),
    };
    let held = match bounds::read(&desk.room, body, BODY_MAX_BYTES, desk.settings.body_timeout).await {
        Ok(held) => held,
        Err(BadBody::TooLarge(most)) => {
            let detail = format!("found a larger body; wanted at most {most} bytes, with at most 10000 ids");
            return say(StatusCode::PAYLOAD_TOO_LARGE, &detail);
        }
        Err(BadBody::NotWhole) => return say(StatusCode::BAD_REQUEST, "There was an error parsing the body"),
    };
    let given = match (held.bytes.is_empty(), is_json(&head.headers)) {
        (true, _) => Given::Nothing,
        (false, true) => Given::Json(&held.bytes),
        (false, false) => Given::Text(&held.bytes),
    };
    let of = |name: &str| query(raw.as_deref(), name);
    let sessions = match read(of("type").as_deref(), given) {
        Ok(sessions) => sessions,
        Err(detail) => {
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(AgnoInvalid { detail })).into_response();
        }
    };
    // Its room is for others; what is waited for now is small.
    drop(held);
    let place = match place(&sessions, &desk.settings.agno_databases, of("db_id"), of("table")) {
        Ok(place) => place,
        Err((status, detail)) => return say(status, &detail),
    };
    // A token's subject is whose sessions they are; only who comes with a key may name another.
    let user = principal.subject.clone().or_else(|| of("user_id"));
    let params = params(place, user);
    match ask(&desk, &principal, sessions.ids, params, about(&head.headers)).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => later(
            say(
                StatusCode::INTERNAL_SERVER_ERROR,
                "not every session is known to be gone; the deletion goes on, ask again",
            ),
            AGAIN_AFTER,
        ),
        Err(why) => not_asked(why, &head.headers),
    }
}

fn params((db_id, table): (String, Option<String>), user: Option<String>) -> Map<String, Value> {
    let mut params = Map::from_iter([("db_id".to_owned(), Value::from(db_id))]);
    params.extend(table.map(|table| ("table".to_owned(), table.into())));
    params.extend(user.map(|user| ("user_id".to_owned(), user.into())));
    params
}

type Databases = BTreeMap<String, Vec<String>>;

/// Which database and which table are meant. What the original says of each, word by word.
fn place(
    sessions: &Sessions,
    databases: &Databases,
    db_id: Option<String>,
    table: Option<String>,
) -> Result<(String, Option<String>), (StatusCode, String)> {
    let bad = |detail: &str| Err((StatusCode::BAD_REQUEST, detail.to_owned()));
    // An empty id is nobody's, and still one of them.
    if sessions.given != sessions.types {
        return bad("Session IDs and session types must have the same length");
    }
    let (db_id, table) = (
        db_id.filter(|id| !id.is_empty()),
        table.filter(|table| !table.is_empty()),
    );
    let Some(db_id) = db_id else {
        return match (table, databases.len()) {
            (Some(_), _) => bad("The db_id query parameter is required when passing a table"),
            (None, 1) => Ok((databases.keys().next().cloned().unwrap_or_default(), None)),
            (None, _) => bad("The db_id query parameter is required when using multiple databases"),
        };
    };
    let not_found = |detail: String| Err((StatusCode::NOT_FOUND, detail));
    match (databases.get(&db_id), table) {
        (None, _) => not_found(format!("No database found with id '{db_id}'")),
        (Some(_), None) => Ok((db_id, None)),
        (Some(tables), Some(table)) if tables.contains(&table) => Ok((db_id, Some(table))),
        (Some(_), Some(table)) => not_found(format!("No database with id '{db_id}' has table '{table}'")),
    }
}

/// Whether all of them are known to be gone.
async fn ask(
    desk: &Desk,
    principal: &Principal,
    mut ids: Vec<String>,
    params: Map<String, Value>,
    about: About,
) -> Result<bool, NotAsked> {
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(true);
    }
    let target = |id: String| RequestTarget {
        kind: TYPE.to_owned(),
        id,
    };
    let bulk = RequestBody {
        targets: Some(ids.into_iter().map(target).collect()),
        ..body(principal, params)
    };
    let published = match desk.calls.publish(bulk.to_map(), about).await {
        Ok(published) => published,
        Err(CallError::Wrong(rejection)) => {
            tracing::warn!(
                reason = rejection.reason.word(),
                field = rejection.field,
                "a call can be no request"
            );
            return Ok(false);
        }
        Err(CallError::Conflict) => return Ok(false),
        Err(CallError::Store { source }) => return Err(away(&source)),
    };
    let Some(batch) = published.batch else {
        return Ok(false);
    };
    let stand = desk
        .calls
        .outcome_of_all(batch, Instant::now() + desk.settings.wait)
        .await;
    Ok(stand.is_some_and(|stand| all_gone(&stand)))
}

fn all_gone(stand: &BatchStand) -> bool {
    stand.is_over() && stand.deleted + stand.already_gone + stand.absent == stand.done
}

fn not_asked(why: NotAsked, headers: &HeaderMap) -> Response {
    match why {
        NotAsked::Stranger if !headers.contains_key(header::AUTHORIZATION) => {
            say(StatusCode::UNAUTHORIZED, "Authorization header required")
        }
        NotAsked::Stranger => say(StatusCode::UNAUTHORIZED, "Invalid authentication token"),
        NotAsked::Forbidden => say(StatusCode::FORBIDDEN, "Insufficient permissions"),
        NotAsked::TooFast(after) => later(say(StatusCode::TOO_MANY_REQUESTS, "Too many requests"), after),
        NotAsked::Away => later(
            say(
                StatusCode::INTERNAL_SERVER_ERROR,
                "nothing was begun, since a server is away",
            ),
            AGAIN_AFTER,
        ),
    }
}

/// As the original takes it: `application/json`, or anything that ends in `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = kind
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn say(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(given: usize, types: usize) -> Sessions {
        Sessions {
            ids: vec!["a".into(); given],
            given,
            types,
        }
    }

    #[test]
    fn lengths_come_before_databases_and_a_table_needs_its_database() {
        let one = Databases::from([("main".to_owned(), vec!["agno_sessions".to_owned()])]);
        let two = Databases::from([("main".to_owned(), vec![]), ("second".to_owned(), vec![])]);
        let told = |databases: &Databases, lengths: (usize, usize), db: Option<&str>, table: Option<&str>| {
            place(
                &sessions(lengths.0, lengths.1),
                databases,
                db.map(str::to_owned),
                table.map(str::to_owned),
            )
            .map_err(|(status, detail)| (status.as_u16(), detail))
        };
        let wrong = |status: u16, detail: &str| Err((status, detail.to_owned()));
        assert_eq!(told(&one, (1, 1), None, None), Ok(("main".into(), None)));
        assert_eq!(
            told(&one, (1, 1), Some("main"), Some("agno_sessions")),
            Ok(("main".into(), Some("agno_sessions".into())))
        );
        assert_eq!(
            told(&one, (2, 1), Some("nope"), None),
            wrong(400, "Session IDs and session types must have the same length")
        );
        assert_eq!(
            told(&one, (1, 1), None, Some("x")),
            wrong(400, "The db_id query parameter is required when passing a table")
        );
        assert_eq!(
            told(&two, (1, 1), None, None),
            wrong(
                400,
                "The db_id query parameter is required when using multiple databases"
            )
        );
        assert_eq!(
            told(&one, (1, 1), Some("nope"), None),
            wrong(404, "No database found with id 'nope'")
        );
        assert_eq!(
            told(&one, (1, 1), Some("main"), Some("y")),
            wrong(404, "No database with id 'main' has table 'y'")
        );
    }

    #[test]
    fn invariant_07_all_are_gone_or_it_is_no_success() {
        let stand = |deleted, already_gone, absent, refused| {
            let done = deleted + already_gone + absent + refused;
            BatchStand {
                size: Some(3),
                known: 3,
                done,
                deleted,
                already_gone,
                absent,
                refused,
                ..BatchStand::default()
            }
        };
        assert!(all_gone(&stand(1, 1, 1, 0)));
        assert!(!all_gone(&stand(1, 1, 0, 1)));
        assert!(!all_gone(&stand(1, 1, 0, 0)), "one has no outcome yet");
    }
}
