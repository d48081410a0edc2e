//! Traces on their way out, over HTTP and protobuf.
//!
//! The client blocks, on the batch processor's own thread, so that a slow receiver costs nobody else anything. A
//! receiver that is gone is said once, not every few seconds, and counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as Export};

use super::settings::is_http_url;
use super::{Instruments, TelemetryError};

/// A receiver is near; one that takes longer than this is not one to wait for.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where OTLP over HTTP takes traces, below the base URL.
const TRACES_PATH: &str = "/v1/traces";

/// The settings' endpoint, else the one of the environment; nothing means that no trace is exported.
pub(super) fn endpoint(settings: Option<&str>) -> Result<Option<String>, TelemetryError> {
    let from_environment = || std::env::var(opentelemetry_otlp::OTEL_EXPORTER_OTLP_ENDPOINT).ok();
    let base = settings.map(str::to_owned).or_else(from_environment);
    match base.filter(|base| !base.is_empty()) {
        None => Ok(None),
        Some(base) if is_http_url(&base) => Ok(Some(with_path(&base))),
        Some(_) => Err(TelemetryError::Endpoint),
    }
}

fn with_path(base: &str) -> String {
    let base = base.trim_end_matches('/');
    if base.ends_with(TRACES_PATH) {
        base.to_owned()
    } else {
        format!("{base}{TRACES_PATH}")
    }
}

pub(super) fn over_http(endpoint: &str) -> Result<SpanExporter, ExporterBuildError> {
    SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
}

/// An exporter whose failures are seen.
#[derive(Debug)]
pub(super) struct Exported<E> {
    inner: E,
    instruments: Instruments,
    failing: AtomicBool,
}

impl<E> Exported<E> {
    pub(super) fn new(inner: E, instruments: Instruments) -> Self {
        Exported {
            inner,
            instruments,
            failing: AtomicBool::new(false),
        }
    }
}

impl<E: Export> Export for Exported<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        match &result {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("traces are exported again");
                }
            }
            Err(error) => {
                self.instruments.spans_lost(spans);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "cannot export traces; what fails from here on is only counted");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_gets_the_path_once() {
        for base in [
            "http://h:4318",
            "http://h:4318/",
            "http://h:4318/v1/traces",
            "http://h:4318/v1/traces/",
        ] {
            assert_eq!(with_path(base), "http://h:4318/v1/traces");
        }
        assert!(matches!(endpoint(Some("")), Ok(None)));
        assert!(matches!(
            endpoint(Some("http://user:hunter2@h")),
            Err(TelemetryError::Endpoint)
        ));
    }
}
