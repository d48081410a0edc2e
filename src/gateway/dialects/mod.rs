//! The HTTP shapes of the five systems, each in a file of its own, over the same calls.
//!
//! A dialect reads what its document says, asks for a deletion like everybody, waits for its outcome, and says it in its
//! document's words. One rule before all: no success for what was not done. So what an answer is, is a pure function of
//! the outcome, and an outcome that is not known is never one of the good ones.

mod agno;
mod agno_body;
mod factory;
mod factory_computer;
mod factory_session;
mod pave;
mod powerdrill;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;

use super::access::Denied;
use super::native::{Kind, Problem};
use super::{About, CallError, Desk};
use crate::decide::access::{Act, Dialect, Principal};
use crate::deletion::wire::{RequestBody, RequestTarget};
use crate::store::{Called, Stand};

pub(super) fn routes(dialects: &[Dialect]) -> OpenApiRouter<Desk> {
    let mut router = OpenApiRouter::new();
    for dialect in dialects {
        router = match dialect {
            Dialect::Native => router.merge(super::native::routes()),
            Dialect::Factory => router
                .merge(factory_session::routes())
                .merge(factory_computer::routes()),
            Dialect::Powerdrill => router.merge(powerdrill::routes()),
            Dialect::Pave => router.merge(pave::routes()),
            Dialect::Agno => router.merge(agno::routes()),
        };
    }
    router
}

/// What became of a call, as far as an answer goes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Deleted,
    SoftDeleted,
    AlreadyGone,
    Absent,
    /// At which step of the plan, if at one.
    Refused(Option<String>),
    /// Cancelled, ended with orphans, or turned away: it is not as it was asked for.
    NotDone,
    /// A person must look.
    Parked,
    /// Not within the time.
    NotYet,
    /// What was asked for can be no request; where.
    Wrong(String),
}

impl Fate {
    fn of(called: Option<&Called>) -> Self {
        match called.map(|called| &called.stand) {
            None | Some(Stand::Published | Stand::Queued | Stand::Open) => Fate::NotYet,
            Some(Stand::Parked) => Fate::Parked,
            Some(Stand::Rejected { .. }) => Fate::NotDone,
            Some(Stand::Ended { result, detail, .. }) => match result.as_str() {
                "deleted" => Fate::Deleted,
                "soft_deleted" => Fate::SoftDeleted,
                "already_gone" => Fate::AlreadyGone,
                "absent" => Fate::Absent,
                "refused" => Fate::Refused(detail["step"].as_str().map(str::to_owned)),
                _ => Fate::NotDone,
            },
        }
    }
}

/// Why nothing was asked for.
pub(super) enum NotAsked {
    /// Their credentials are not good.
    Stranger,
    /// They are, and this is none of what they may do.
    Forbidden,
    TooFast(std::time::Duration),
    /// Our own tables are away.
    Away,
}

impl From<Denied> for NotAsked {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => NotAsked::Stranger,
            Denied::TooFast { retry_after } => NotAsked::TooFast(retry_after),
            Denied::Store { source } => away(&source),
        }
    }
}

fn away(error: &(dyn std::error::Error + 'static)) -> NotAsked {
    tracing::warn!(error = %crate::telemetry::chain(error), "a call could not be served");
    NotAsked::Away
}

/// By a bearer, whose principal may ask in this dialect.
async fn bearer(desk: &Desk, headers: &HeaderMap, dialect: Dialect) -> Result<Principal, NotAsked> {
    let credential = super::native::bearer(headers).ok_or(NotAsked::Stranger)?;
    let principal = desk.access.by_bearer(credential).await?;
    principal
        .may(Act::Ask, dialect)
        .map_err(|_| NotAsked::Forbidden)?;
    Ok(principal)
}

/// One target: asked for, and waited for. With its call's id, which an operator can look for.
async fn ask(
    desk: &Desk,
    principal: &Principal,
    (kind, id): (&str, &str),
    params: Map<String, Value>,
    about: About,
) -> Result<(Fate, Option<uuid::Uuid>), NotAsked> {
    let body = RequestBody {
        target: Some(RequestTarget {
            kind: kind.to_owned(),
            id: id.to_owned(),
        }),
        ..body(principal, params)
    };
    match desk.calls.publish(body.to_map(), about).await {
        Ok(published) => {
            let called = desk
                .calls
                .outcome(&published, Instant::now() + desk.settings.wait)
                .await;
            let deletion = called.as_ref().and_then(|called| called.deletion).map(|id| id.0);
            Ok((Fate::of(called.as_ref()), deletion.or(Some(published.id.0))))
        }
        Err(CallError::Wrong(rejection)) => Ok((Fate::Wrong(rejection.field), None)),
        // Each call has a key of its own.
        Err(CallError::Conflict) => Ok((Fate::NotDone, None)),
        Err(CallError::Store { source }) => Err(away(&source)),
    }
}

/// All that a request says beside its target.
fn body(principal: &Principal, params: Map<String, Value>) -> RequestBody {
    RequestBody {
        tenant: principal.tenant.as_str().to_owned(),
        requested_by: Some(principal.name.clone()),
        params: (!params.is_empty()).then_some(params),
        ..RequestBody::default()
    }
}

/// A part of the path. One that is no text names nothing.
fn named(path: Result<Path<String>, PathRejection>) -> Option<String> {
    path.ok().map(|Path(name)| name)
}

/// The last value of a name in a query, as most frameworks have it.
fn query(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(|(one, _)| one == name)
        .last()
        .map(|(_, value)| value.into_owned())
}

/// What is no route, or no method of one, in the shape of the dialect under whose paths it is, if that one is served.
pub(super) fn stray(served: &[Dialect], path: &str, kind: Kind, detail: &str) -> Response {
    let status = match kind {
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::PathTooLong => StatusCode::URI_TOO_LONG,
        _ => StatusCode::NOT_FOUND,
    };
    let is_under = |dialect: Dialect, prefixes: &[&str]| {
        let mut rests = prefixes.iter().filter_map(|prefix| path.strip_prefix(prefix));
        served.contains(&dialect) && rests.any(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if is_under(Dialect::Factory, &["/api/v0"]) {
        return factory::error(status, detail, None);
    }
    if is_under(Dialect::Powerdrill, &["/api/v1/team", "/v1/team"]) {
        return powerdrill::code(powerdrill::BAD_REQUEST);
    }
    if is_under(Dialect::Pave, &["/v1/sessions"]) {
        return (status, axum::Json(json!({"message": detail}))).into_response();
    }
    if is_under(Dialect::Agno, &["/sessions"]) {
        let detail = status.canonical_reason().unwrap_or("Not Found");
        return (status, axum::Json(json!({"detail": detail}))).into_response();
    }
    match kind {
        Kind::NotFound => Problem::not_found().into_response(),
        kind => Problem::new(kind, detail).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::deletion::CallId;

    /// Every outcome that a call can have.
    pub(super) fn called(stand: Stand) -> Called {
        Called {
            id: CallId(uuid::Uuid::nil()),
            tenant: "t".into(),
            batch: None,
            request: None,
            deletion: None,
            stand,
        }
    }

    #[test]
    fn invariant_07_only_what_has_ended_well_is_one_of_the_good_fates() {
        let ended = |result: &str| {
            let at = OffsetDateTime::UNIX_EPOCH;
            let detail = json!({"step": "feature"});
            Fate::of(Some(&called(Stand::Ended {
                result: result.into(),
                at,
                detail,
            })))
        };
        assert_eq!(ended("deleted"), Fate::Deleted);
        assert_eq!(ended("soft_deleted"), Fate::SoftDeleted);
        assert_eq!(ended("already_gone"), Fate::AlreadyGone);
        assert_eq!(ended("absent"), Fate::Absent);
        assert_eq!(ended("refused"), Fate::Refused(Some("feature".into())));
        for other in [
            "cancelled",
            "completed_with_orphans",
            "restored",
            "of a newer release",
        ] {
            assert_eq!(ended(other), Fate::NotDone, "{other}");
        }
        for stand in [Stand::Published, Stand::Queued, Stand::Open] {
            assert_eq!(Fate::of(Some(&called(stand))), Fate::NotYet);
        }
        assert_eq!(Fate::of(Some(&called(Stand::Parked))), Fate::Parked);
        assert_eq!(Fate::of(None), Fate::NotYet);
    }

    #[test]
    fn what_is_no_route_is_said_in_the_shape_of_its_neighbours() {
        for (path, status) in [
            ("/api/v0/nothing", 404),
            ("/api/v1/team/x", 200),
            ("/v1/team", 200),
            ("/v1/sessions", 404),
            ("/sessions/x", 404),
            ("/v1/sessionsx", 404),
            ("/", 404),
        ] {
            assert_eq!(
                stray(&Dialect::ALL, path, Kind::NotFound, "x").status().as_u16(),
                status,
                "{path}"
            );
            let alone = stray(&[Dialect::Native], path, Kind::NotFound, "x");
            assert_eq!(alone.status().as_u16(), 404, "{path} is nobody's");
            assert_eq!(alone.headers()["content-type"], "application/problem+json");
        }
    }
}
