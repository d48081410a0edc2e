//! Factory: `DELETE /api/v0/computers/{computerId}`. Terminal; its document knows no 403 and no 503.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::factory::{FactoryError, error, not_asked};
use super::{Fate, ask, bearer, named};
use crate::decide::access::Dialect;
use crate::gateway::Desk;
use crate::gateway::native::about;

const TYPE: &str = "factory.computer";

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(delete))
}

/// Delete a computer
#[utoipa::path(
    delete, path = "/api/v0/computers/{computerId}", tag = "factory",
    params(("computerId" = String, Path, description = "Computer ID")),
    responses(
        (status = 204, description = "Gone for good"),
        (status = 401, body = FactoryError), (status = 404, body = FactoryError),
        (status = 429, body = FactoryError), (status = 500, body = FactoryError),
    ),
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let asked = async {
        let principal = bearer(&desk, &headers, Dialect::Factory).await?;
        match named(path) {
            Some(id) => ask(&desk, &principal, (TYPE, &id), Map::new(), about(&headers)).await,
            None => Ok((Fate::Absent, None)),
        }
    };
    match asked.await {
        Ok((fate, deletion)) => answer(&fate, deletion),
        Err(why) => not_asked(why, StatusCode::UNAUTHORIZED, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn answer(fate: &Fate, deletion: Option<Uuid>) -> Response {
    let detail = match fate {
        Fate::Deleted | Fate::AlreadyGone => return StatusCode::NO_CONTENT.into_response(),
        Fate::Absent | Fate::Wrong(_) => {
            return error(StatusCode::NOT_FOUND, "there is no such computer", None);
        }
        Fate::NotYet | Fate::Parked => "the deletion goes on, and its outcome is not known yet",
        Fate::SoftDeleted | Fate::Refused(_) | Fate::NotDone => "the computer was not deleted",
    };
    let metadata = deletion.map(|id| Map::from_iter([("deletionId".to_owned(), json!(id))]));
    error(StatusCode::INTERNAL_SERVER_ERROR, detail, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_07_each_fate_has_its_status() {
        for (fate, status) in [
            (Fate::Deleted, 204),
            (Fate::AlreadyGone, 204),
            (Fate::Absent, 404),
            (Fate::Wrong("/target/id".into()), 404),
            (Fate::SoftDeleted, 500),
            (Fate::Refused(None), 500),
            (Fate::NotYet, 500),
            (Fate::Parked, 500),
            (Fate::NotDone, 500),
        ] {
            assert_eq!(answer(&fate, None).status().as_u16(), status, "{fate:?}");
        }
    }
}
