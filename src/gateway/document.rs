//! `/openapi.json`: what every part of the gateway says of its routes, as one document.

use axum::Json;
use serde_json::Value;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, Info, OpenApi, Paths};
use utoipa::{PartialSchema, ToSchema};

use super::native;

const BEARER: &str = "bearer";

pub(super) fn head() -> OpenApi {
    let mut info = Info::new("Sexton", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Deletes things so that they are really gone. Every request is kept before it is answered, and has an outcome.".into(),
    );
    let mut document = OpenApi::new(info, Paths::new());
    let mut components = Components::new();
    let mut scheme = Http::new(HttpAuthScheme::Bearer);
    scheme.description = Some("A key made by `sexton keys make`, or a token of the configured issuer".into());
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    for (name, header) in [("powerdrill", "x-pd-api-key"), ("pave", "API-Key")] {
        let key = ApiKey::Header(ApiKeyValue::new(header));
        components.add_security_scheme(name, SecurityScheme::ApiKey(key));
    }
    let problem = native::ProblemBody::name().into_owned();
    components.schemas.insert(problem, native::ProblemBody::schema());
    document.components = Some(components);
    document.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    document
}

/// As it is served.
pub(super) fn body(document: OpenApi) -> Json<Value> {
    Json(serde_json::to_value(document).unwrap_or_default())
}
