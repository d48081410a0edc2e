//! Factory: `DELETE /api/v0/sessions/{sessionId}`. A soft deletion, for organizations that have the feature.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Map;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::factory::{AGAIN_AFTER, FactoryError, error, later, not_asked};
use super::{Fate, ask, bearer, named, query};
use crate::decide::access::Dialect;
use crate::gateway::Desk;
use crate::gateway::native::about;

const TYPE: &str = "factory.session";
/// The step of the plan that asks whether the organization has the feature.
const FEATURE: &str = "feature";

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(delete))
}

/// Delete a session
#[utoipa::path(
    delete, path = "/api/v0/sessions/{sessionId}", tag = "factory",
    params(
        ("sessionId" = String, Path, description = "Session ID"),
        ("computerId" = Option<String>, Query, description = "Computer ID to query directly"),
    ),
    responses(
        (status = 204, description = "Deleted, and restorable for a while"),
        (status = 401, body = FactoryError), (status = 403, body = FactoryError), (status = 404, body = FactoryError),
        (status = 429, body = FactoryError), (status = 500, body = FactoryError), (status = 503, body = FactoryError),
    ),
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = async {
        let principal = bearer(&desk, &headers, Dialect::Factory).await?;
        let Some(id) = named(path) else {
            return Ok(Fate::Absent);
        };
        let mut params = Map::new();
        params.extend(
            query(raw.as_deref(), "computerId").map(|computer| ("computer_id".into(), computer.into())),
        );
        let (fate, _) = ask(&desk, &principal, (TYPE, &id), params, about(&headers)).await?;
        Ok(fate)
    };
    match asked.await {
        Ok(fate) => answer(&fate),
        Err(why) => not_asked(why, StatusCode::FORBIDDEN, StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn answer(fate: &Fate) -> Response {
    match fate {
        Fate::Deleted | Fate::SoftDeleted | Fate::AlreadyGone => StatusCode::NO_CONTENT.into_response(),
        Fate::Absent | Fate::Wrong(_) => error(StatusCode::NOT_FOUND, "there is no such session", None),
        // The document has one reason for a 403; a plan may have guards of its own, and they are not called that.
        Fate::Refused(Some(step)) if step == FEATURE => error(
            StatusCode::FORBIDDEN,
            "deleting sessions is not enabled for this organization",
            None,
        ),
        Fate::Refused(step) => {
            let metadata = step
                .as_ref()
                .map(|step| Map::from_iter([("step".into(), step.as_str().into())]));
            error(
                StatusCode::FORBIDDEN,
                "a guard of this session's plan says no",
                metadata,
            )
        }
        Fate::NotYet | Fate::Parked => later(
            error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the deletion goes on, and its outcome is not known yet; ask again",
                None,
            ),
            AGAIN_AFTER,
        ),
        Fate::NotDone => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the session was not deleted",
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_07_each_fate_has_its_status() {
        for (fate, status) in [
            (Fate::Deleted, 204),
            (Fate::SoftDeleted, 204),
            (Fate::AlreadyGone, 204),
            (Fate::Absent, 404),
            (Fate::Wrong("/target/id".into()), 404),
            (Fate::Refused(Some("feature".into())), 403),
            (Fate::Refused(Some("another".into())), 403),
            (Fate::Refused(None), 403),
            (Fate::NotYet, 503),
            (Fate::Parked, 503),
            (Fate::NotDone, 500),
        ] {
            let response = answer(&fate);
            assert_eq!(response.status().as_u16(), status, "{fate:?}");
            assert_eq!(
                response.headers().contains_key("retry-after"),
                status == 503,
                "{fate:?}"
            );
        }
    }
}
