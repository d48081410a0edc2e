//! Pave: `DELETE /v1/sessions/:session_key`. Only a session that nobody has started, with the token it was created with.
//!
//! The token itself goes no further than here: the request carries its digest, by which the plan knows it.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use sha2::{Digest, Sha256};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::factory::{AGAIN_AFTER, later};
use super::{Fate, NotAsked, ask, named};
use crate::clock;
use crate::decide::access::{Act, Dialect};
use crate::gateway::Desk;
use crate::gateway::native::about;

const TYPE: &str = "pave.session";
/// The step of the plan that refuses another token than the session's; whatever else refuses, it was started.
const TOKEN_STEP: &str = "token";
/// How far the caller's clock may be from this one.
const CLOCKS_APART_MAX: time::Duration = time::Duration::minutes(15);
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(delete))
}

/// What is answered, whatever happened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PaveMessage {
    message: String,
}

/// Delete a session that was not started
#[utoipa::path(
    delete, path = "/v1/sessions/{session_key}", tag = "pave",
    params(
        ("session_key" = String, Path),
        ("API-Token" = String, Header, description = "The token used when the session was created"),
        ("API-Timestamp" = String, Header, description = "UTC, like 2021-05-30T12:49:19Z"),
    ),
    responses(
        (status = 200, body = PaveMessage), (status = 400, body = PaveMessage), (status = 401, body = PaveMessage),
        (status = 404, body = PaveMessage), (status = 429, body = PaveMessage), (status = 500, body = PaveMessage),
    ),
    security(("pave" = [])),
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let id = named(path);
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.filter(|value| !value.is_empty())
    };
    let (Some(key), Some(token), Some(timestamp)) =
        (text("api-key"), text("api-token"), text("api-timestamp"))
    else {
        return say(
            StatusCode::UNAUTHORIZED,
            "API-Key, API-Token and API-Timestamp are required.".into(),
        );
    };
    if !is_now(timestamp, clock::now()) {
        return say(
            StatusCode::UNAUTHORIZED,
            "API-Timestamp must be a UTC time like 2021-05-30T12:49:19Z, within 15 minutes.".into(),
        );
    }
    let token: String = Sha256::digest(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let fate = async {
        let principal = desk.access.by_key(key).await?;
        principal
            .may(Act::Ask, Dialect::Pave)
            .map_err(|_| NotAsked::Forbidden)?;
        let Some(id) = &id else {
            return Ok(Fate::Absent);
        };
        let params = Map::from_iter([("token_sha256".to_owned(), token.into())]);
        let (fate, _) = ask(&desk, &principal, (TYPE, id), params, about(&headers)).await?;
        Ok::<_, NotAsked>(fate)
    };
    match fate.await {
        Ok(fate) => {
            let (status, message) = answer(&fate, id.as_deref().unwrap_or_default());
            say(status, message)
        }
        Err(NotAsked::Stranger | NotAsked::Forbidden) => say(
            StatusCode::UNAUTHORIZED,
            "These credentials are not valid.".into(),
        ),
        Err(NotAsked::TooFast(after)) => later(
            say(
                StatusCode::TOO_MANY_REQUESTS,
                "This API-Key comes too often.".into(),
            ),
            after,
        ),
        Err(NotAsked::Away) => later(
            say(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Nothing was begun, since a server is away.".into(),
            ),
            AGAIN_AFTER,
        ),
    }
}

fn is_now(timestamp: &str, now: OffsetDateTime) -> bool {
    let at = PrimitiveDateTime::parse(timestamp, TIMESTAMP).map(PrimitiveDateTime::assume_utc);
    at.is_ok_and(|at| (at - now).abs() <= CLOCKS_APART_MAX)
}

fn answer(fate: &Fate, key: &str) -> (StatusCode, String) {
    match fate {
        Fate::Deleted => (
            StatusCode::OK,
            format!("Session {key} has been successfully removed."),
        ),
        Fate::AlreadyGone | Fate::Absent | Fate::Wrong(_) => {
            (StatusCode::NOT_FOUND, format!("Session {key} cannot be found."))
        }
        Fate::Refused(step) if step.as_deref() == Some(TOKEN_STEP) => (
            StatusCode::UNAUTHORIZED,
            format!("API-Token is not the one that session {key} was created with."),
        ),
        Fate::Refused(_) => (
            StatusCode::BAD_REQUEST,
            format!("Session {key} has been started and cannot be deleted."),
        ),
        Fate::NotYet | Fate::Parked => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Removing session {key} goes on, and its outcome is not known yet."),
        ),
        Fate::SoftDeleted | Fate::NotDone => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Session {key} was not removed."),
        ),
    }
}

fn say(status: StatusCode, message: String) -> Response {
    (status, Json(PaveMessage { message })).into_response()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn invariant_07_each_fate_has_its_status_and_message() {
        let refused = |step: &str| Fate::Refused(Some(step.into()));
        for (fate, status, message) in [
            (Fate::Deleted, 200, "Session K has been successfully removed."),
            (Fate::AlreadyGone, 404, "Session K cannot be found."),
            (Fate::Absent, 404, "Session K cannot be found."),
            (
                Fate::Wrong("/target/id".into()),
                404,
                "Session K cannot be found.",
            ),
            (
                refused("remove"),
                400,
                "Session K has been started and cannot be deleted.",
            ),
            (
                Fate::Refused(None),
                400,
                "Session K has been started and cannot be deleted.",
            ),
            (
                refused("token"),
                401,
                "API-Token is not the one that session K was created with.",
            ),
            (
                Fate::NotYet,
                500,
                "Removing session K goes on, and its outcome is not known yet.",
            ),
            (
                Fate::Parked,
                500,
                "Removing session K goes on, and its outcome is not known yet.",
            ),
            (Fate::SoftDeleted, 500, "Session K was not removed."),
            (Fate::NotDone, 500, "Session K was not removed."),
        ] {
            let (told, said) = answer(&fate, "K");
            assert_eq!((told.as_u16(), said.as_str()), (status, message), "{fate:?}");
        }
    }

    #[test]
    fn a_timestamp_is_utc_in_one_form_and_near() {
        let now = datetime!(2021-05-30 12:49:19 UTC);
        for (timestamp, good) in [
            ("2021-05-30T12:49:19Z", true),
            ("2021-05-30T12:34:19Z", true),
            ("2021-05-30T13:04:19Z", true),
            ("2021-05-30T12:34:18Z", false),
            ("2021-05-30T13:04:20Z", false),
            ("2021-05-30T12:49:19+00:00", false),
            ("2021-05-30 12:49:19Z", false),
            ("2021-05-30T12:49:19.000Z", false),
            ("1622378959", false),
            ("", false),
        ] {
            assert_eq!(is_now(timestamp, now), good, "{timestamp}");
        }
    }
}
