//! What Factory's two documents share: the shape of an error, and what is answered when nothing was asked for.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::NotAsked;
use crate::gateway::native::retry_after;

/// A server that is away is asked again after so long.
pub(super) const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// An error, as Factory's documents have it, and no key more.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FactoryError {
    /// Human-readable
    detail: String,
    /// Of HTTP
    status: u16,
    /// Of the status
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

pub(super) fn error(status: StatusCode, detail: &str, metadata: Option<Map<String, Value>>) -> Response {
    let body = FactoryError {
        detail: detail.to_owned(),
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        metadata,
    };
    (status, Json(body)).into_response()
}

pub(super) fn later(response: Response, after: std::time::Duration) -> Response {
    let mut response = response;
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, retry_after(after));
    response
}

/// `unavailable` and `forbidden`: which of them a document has, it says itself.
pub(super) fn not_asked(why: NotAsked, forbidden: StatusCode, unavailable: StatusCode) -> Response {
    match why {
        NotAsked::Stranger => error(
            StatusCode::UNAUTHORIZED,
            "found no credentials that are good; wanted a bearer with an API key or a token",
            None,
        ),
        NotAsked::Forbidden => error(forbidden, "these credentials may not delete here", None),
        NotAsked::TooFast(after) => later(
            error(
                StatusCode::TOO_MANY_REQUESTS,
                "found more calls than this key has",
                None,
            ),
            after,
        ),
        NotAsked::Away => later(
            error(
                unavailable,
                "nothing was begun, since a server is away; ask again",
                None,
            ),
            AGAIN_AFTER,
        ),
    }
}
