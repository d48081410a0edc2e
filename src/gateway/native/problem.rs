//! What went wrong, as problem details (RFC 9457): a closed list of kinds, and one sentence of what was found and wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{self, ContentBuilder, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::deletion::{Rejection, RejectionReason};

/// Before each kind; the document of the API has a line on every one.
const TYPE_PREFIX: &str = "urn:sexton:problem:";
const CONTENT_TYPE: &str = "application/problem+json";

/// A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Kind {
    /// Missing, malformed, unknown, expired or revoked credentials.
    Unauthorized,
    /// The credentials are good, and this is none of what they may do.
    Forbidden,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    MethodNotAllowed,
    /// A body in another form than JSON.
    UnsupportedMediaType,
    PathTooLong,
    BodyTooLarge,
    /// The body did not come in time, or broke off.
    BodyNotWhole,
    /// The request can never be carried out as it is.
    Invalid,
    /// A key that came before, with other content.
    KeyConflict,
    /// The target is not in a state for it.
    Conflict,
    TooManyRequests,
    /// A server that it needs is away; nothing is lost by asking again.
    Unavailable,
}

impl Kind {
    #[cfg(test)]
    const ALL: [Kind; 13] = [
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::UnsupportedMediaType,
        Kind::PathTooLong,
        Kind::BodyTooLarge,
        Kind::BodyNotWhole,
        Kind::Invalid,
        Kind::KeyConflict,
        Kind::Conflict,
        Kind::TooManyRequests,
        Kind::Unavailable,
    ];

    fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Kind::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "Credentials are wanted"),
            Kind::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Not allowed"),
            Kind::NotFound => ("not_found", StatusCode::NOT_FOUND, "Not found"),
            Kind::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "Not a method of this resource",
            ),
            Kind::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Not a media type that is read here",
            ),
            Kind::PathTooLong => ("path_too_long", StatusCode::URI_TOO_LONG, "The path is too long"),
            Kind::BodyTooLarge => (
                "body_too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Kind::BodyNotWhole => (
                "body_not_whole",
                StatusCode::REQUEST_TIMEOUT,
                "The body did not come whole",
            ),
            Kind::Invalid => ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "Not a valid request"),
            Kind::KeyConflict => (
                "key_conflict",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The key came before with other content",
            ),
            Kind::Conflict => ("conflict", StatusCode::CONFLICT, "Not in a state for it"),
            Kind::TooManyRequests => (
                "too_many_requests",
                StatusCode::TOO_MANY_REQUESTS,
                "The key comes too often",
            ),
            Kind::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Away for now"),
        }
    }
}

/// Problem details, as RFC 9457 has them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::gateway) struct ProblemBody {
    /// `urn:sexton:problem:` and the kind.
    #[serde(rename = "type")]
    #[schema(example = "urn:sexton:problem:invalid")]
    kind: String,
    status: u16,
    title: &'static str,
    /// What was found, and what is wanted.
    detail: String,
    /// Where in the body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Why a request was turned away, as in its `rejected` event.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The problems of a route that only looks, for the document.
pub(super) struct LookProblems;

/// Those of one that asks for something.
pub(super) struct AskProblems;

impl IntoResponses for LookProblems {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        problems(&[
            Kind::Unauthorized,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::Invalid,
            Kind::TooManyRequests,
            Kind::Unavailable,
        ])
    }
}

impl IntoResponses for AskProblems {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let mut all = problems(&[
            Kind::BodyNotWhole,
            Kind::Conflict,
            Kind::BodyTooLarge,
            Kind::UnsupportedMediaType,
        ]);
        all.extend(LookProblems::responses());
        all
    }
}

fn problems(kinds: &[Kind]) -> BTreeMap<String, RefOr<openapi::Response>> {
    let one = |kind: &Kind| {
        let (_, status, title) = kind.row();
        let content = ContentBuilder::new()
            .schema(Some(openapi::Ref::from_schema_name(ProblemBody::name())))
            .build();
        let response = ResponseBuilder::new()
            .description(title)
            .content(CONTENT_TYPE, content)
            .build();
        (status.as_u16().to_string(), response.into())
    };
    kinds.iter().map(one).collect()
}

#[derive(Clone, Debug)]
pub(in crate::gateway) struct Problem {
    kind: Kind,
    detail: String,
    field: Option<String>,
    reason: Option<String>,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(in crate::gateway) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Problem {
            kind,
            detail: detail.into(),
            field: None,
            reason: None,
            retry_after: None,
        }
    }

    pub(super) fn at(kind: Kind, field: &str, detail: impl Into<String>) -> Self {
        Problem {
            field: Some(field.to_owned()),
            ..Problem::new(kind, detail)
        }
    }

    /// In one sentence for what is not there and for what is not theirs.
    pub(in crate::gateway) fn not_found() -> Self {
        Problem::new(
            Kind::NotFound,
            "nothing of yours is known by this; wanted an id that was told to you",
        )
    }

    pub(super) fn after(self, retry_after: Duration) -> Self {
        Problem {
            retry_after: Some(retry_after),
            ..self
        }
    }

    /// A request that never became one: found by the gateway itself, or by admission.
    pub(super) fn rejected(reason: &str, field: &str, detail: &str) -> Self {
        let kind = match RejectionReason::parse(reason) {
            Some(RejectionReason::KeyConflict) => Kind::KeyConflict,
            Some(RejectionReason::TooLarge) => Kind::BodyTooLarge,
            Some(RejectionReason::NotAllowed) => Kind::Forbidden,
            Some(RejectionReason::SlotTaken
                | RejectionReason::NothingToDo
                | RejectionReason::WindowOver
                // Well formed; it depends on the plans that are in force.
                | RejectionReason::UnknownType
                | RejectionReason::NoPlan,) => {
                Kind::Conflict
            }
            _ => Kind::Invalid,
        };
        Problem {
            reason: Some(reason.to_owned()),
            ..Problem::at(kind, field, detail)
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Problem::rejected(rejection.reason.word(), &rejection.field, &rejection.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (word, status, title) = self.kind.row();
        let body = ProblemBody {
            kind: format!("{TYPE_PREFIX}{word}"),
            status: status.as_u16(),
            title,
            detail: self.detail,
            field: self.field,
            reason: self.reason,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if self.kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after(after));
        }
        response
    }
}

/// In whole seconds, and never none: a client that takes it at its word would come at once.
pub(in crate::gateway) fn retry_after(after: Duration) -> HeaderValue {
    HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_a_closed_list_and_each_rejection_has_one() {
        let words: std::collections::BTreeSet<&str> =
            Kind::ALL.into_iter().map(|kind| kind.row().0).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        for (reason, status) in [
            (RejectionReason::KeyConflict, 422),
            (RejectionReason::SlotTaken, 409),
            (RejectionReason::NothingToDo, 409),
            (RejectionReason::WindowOver, 409),
            (RejectionReason::UnknownType, 409),
            (RejectionReason::NoPlan, 409),
            (RejectionReason::WrongShape, 422),
            (RejectionReason::KeyMissing, 422),
            (RejectionReason::NotAllowed, 403),
            (RejectionReason::TooLarge, 413),
        ] {
            let problem = Problem::rejected(reason.word(), "/x", "y");
            assert_eq!(problem.kind.row().1.as_u16(), status, "{reason:?}");
        }
    }

    #[test]
    fn nobody_is_told_to_come_back_at_once() {
        for (ms, wanted) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            assert_eq!(
                retry_after(Duration::from_millis(ms)),
                HeaderValue::from_static(wanted)
            );
        }
    }
}
