//! What Sexton lets its operators see: logs and spans, metrics, and three plain pages.
//!
//! All of it is here, so that what leaves the process can be read in one place. Only ids go out: no target, no
//! tenant, no param, no secret stands in a log, a span or a metric.

mod settings;
pub use settings::{LogFormat, Settings};

mod start;
pub use start::{Telemetry, TelemetryError, start};
mod export;

pub mod spans;
mod trace_headers;
pub use trace_headers::{current, link, onward, parent_from};

mod instruments;
pub use instruments::Instruments;
mod labels;
mod registered;
mod watched;

mod chain;
pub use chain::chain;
mod outage;
pub use outage::{Outage, Voice};

mod endpoint;
pub use endpoint::{Endpoint, Readiness};
