//! Powerdrill: `DELETE /api/v1/team/sessions/{sessionId}?userId=…`, also without `/api`. Always HTTP 200; the code tells.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{Fate, NotAsked, ask, named, query};
use crate::decide::access::{Act, Dialect};
use crate::gateway::native::about;
use crate::gateway::{About, Desk};

const TYPE: &str = "powerdrill.session";

const DONE: i32 = 0;
pub(super) const BAD_REQUEST: i32 = 100;
const FREQUENCY_LIMIT: i32 = 201;
const INTERNAL: i32 = 9999;
const INVALID_OPERATION: i32 = 100_001;

/// Of the caller's trace id, in characters.
const TRACE_ID_MAX_CHARS: usize = 128;

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(delete))
        .route("/v1/team/sessions/{sessionId}", axum::routing::delete(delete))
}

/// What is answered, whatever happened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PowerdrillAnswer {
    /// 0: done. 100: bad request. 201: request frequency limit. 9999: internal error. 100001: invalid operation
    code: i32,
    /// Null
    #[schema(value_type = Option<Object>)]
    data: Value,
}

/// Delete a session and its job history
#[utoipa::path(
    delete, path = "/api/v1/team/sessions/{sessionId}", tag = "powerdrill",
    params(
        ("sessionId" = String, Path, description = "The session ID"),
        ("userId" = String, Query, description = "Whose it is"),
        ("x-pd-external-trace-id" = Option<String>, Header, description = "0 to 128 characters"),
    ),
    responses((status = 200, body = PowerdrillAnswer, headers(("x-pd-trace-id" = String)))),
    security(("powerdrill" = [])),
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(asked) = Asked::read(raw.as_deref(), &headers) else {
        return code(BAD_REQUEST);
    };
    let fate = async {
        let principal = desk.access.by_key(&asked.key).await?;
        principal
            .may(Act::Ask, Dialect::Powerdrill)
            .map_err(|_| NotAsked::Forbidden)?;
        let Some(id) = named(path) else {
            return Ok(Fate::Absent);
        };
        let params = Map::from_iter([("user_id".to_owned(), asked.user.into())]);
        let around = About {
            correlation_id: asked.trace_id,
            ..about(&headers)
        };
        let (fate, _) = ask(&desk, &principal, (TYPE, &id), params, around).await?;
        Ok::<_, NotAsked>(fate)
    };
    code(match fate.await {
        Ok(fate) => answer(&fate),
        Err(NotAsked::Stranger | NotAsked::Forbidden) => INVALID_OPERATION,
        Err(NotAsked::TooFast(_)) => FREQUENCY_LIMIT,
        Err(NotAsked::Away) => INTERNAL,
    })
}

/// What a call needs before anybody is asked who it is.
struct Asked {
    key: String,
    user: String,
    trace_id: Option<String>,
}

impl Asked {
    fn read(raw: Option<&str>, headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| match headers.get(name) {
            None => Some(None),
            Some(value) => std::str::from_utf8(value.as_bytes()).ok().map(Some),
        };
        let trace_id = text("x-pd-external-trace-id")?.filter(|id| !id.is_empty());
        if trace_id.is_some_and(|id| id.chars().count() > TRACE_ID_MAX_CHARS) {
            return None;
        }
        Some(Asked {
            key: text("x-pd-api-key")?.filter(|key| !key.is_empty())?.to_owned(),
            user: query(raw, "userId").filter(|user| !user.is_empty())?,
            trace_id: trace_id.map(str::to_owned),
        })
    }
}

fn answer(fate: &Fate) -> i32 {
    match fate {
        Fate::Deleted | Fate::AlreadyGone => DONE,
        Fate::Absent => INVALID_OPERATION,
        // An id that can be nobody's, or a user that can be none.
        Fate::Wrong(field) if field.starts_with("/target") => INVALID_OPERATION,
        Fate::Wrong(_) => BAD_REQUEST,
        Fate::SoftDeleted | Fate::Refused(_) | Fate::NotDone | Fate::Parked | Fate::NotYet => INTERNAL,
    }
}

/// Every answer has a trace id of its own.
pub(super) fn code(code: i32) -> Response {
    let answer = PowerdrillAnswer {
        code,
        data: Value::Null,
    };
    let mut response = Json(answer).into_response();
    let id = Uuid::now_v7().simple().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-pd-trace-id", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_07_each_fate_has_its_code() {
        for (fate, code) in [
            (Fate::Deleted, 0),
            (Fate::AlreadyGone, 0),
            (Fate::Absent, 100_001),
            (Fate::Wrong("/target/id".into()), 100_001),
            (Fate::Wrong("/params".into()), 100),
            (Fate::SoftDeleted, 9999),
            (Fate::Refused(None), 9999),
            (Fate::NotYet, 9999),
            (Fate::Parked, 9999),
            (Fate::NotDone, 9999),
        ] {
            assert_eq!(answer(&fate), code, "{fate:?}");
        }
    }

    #[test]
    fn what_is_missing_or_too_long_is_told_in_characters() {
        let of = |query: &str, key: &str, trace: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-pd-api-key", HeaderValue::from_str(key).expect("a value"));
            headers.insert(
                "x-pd-external-trace-id",
                HeaderValue::from_bytes(trace.as_bytes()).expect("a value"),
            );
            Asked::read(Some(query), &headers).map(|asked| asked.trace_id)
        };
        assert_eq!(of("userId=u", "k", ""), Some(None));
        let long = "é".repeat(128);
        assert_eq!(of("userId=u", "k", &long), Some(Some(long.clone())));
        assert_eq!(of("userId=u", "k", &format!("{long}é")), None);
        assert_eq!(of("", "k", ""), None);
        assert_eq!(of("userId=", "k", ""), None);
        assert_eq!(of("userId=u", "", ""), None);
        assert!(Asked::read(Some("userId=u"), &HeaderMap::new()).is_none());
    }
}
