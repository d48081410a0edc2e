//! The native API: deletions and batches under `/v1`, as `/openapi.json` describes them.

mod ask;
mod batches;
mod caller;
mod follow;
mod look;
mod problem;
mod resource;

pub(super) use caller::{about, bearer};
pub(super) use problem::{Kind, Problem, ProblemBody, retry_after};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(ask::delete, look::list))
        .routes(routes!(look::one))
        .routes(routes!(ask::cancel))
        .routes(routes!(ask::restore))
        .routes(routes!(follow::events))
        .routes(routes!(batches::delete))
        .routes(routes!(batches::one))
}
