//! Turns logging and tracing on, once for the process, and off again without losing what is still in memory.

use std::io::IsTerminal;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::export::{self, Exported};
use super::{Instruments, LogFormat, Settings};

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("cannot read the log directives of RUST_LOG")]
    Directives {
        #[source]
        source: tracing_subscriber::filter::FromEnvError,
    },
    #[error("cannot start the export of traces to the OTLP endpoint")]
    Exporter {
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    #[error("cannot start the log twice in one process")]
    Twice {
        #[source]
        source: tracing_subscriber::util::TryInitError,
    },
    #[error("cannot send the last spans before the end")]
    Shutdown {
        #[source]
        source: opentelemetry_sdk::error::OTelSdkError,
    },
}

/// Keeps the export of traces alive. Without [`Telemetry::shutdown`] the last spans are lost.
#[derive(Debug)]
#[must_use = "without its shutdown the last spans are lost"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Call once, early, and not from an async context that has nothing else to do: it may start a thread.
pub fn start(settings: &Settings, instruments: &Instruments) -> Result<Telemetry, TelemetryError> {
    let provider = export::endpoint(settings.otlp_endpoint.as_deref())
        .map(|endpoint| provider(settings, &endpoint, instruments))
        .transpose()?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("sexton"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // Spans are Sexton's own; a library's would tell of other things than deletions.
            .with_filter(Targets::new().with_target("sexton", LevelFilter::INFO))
    });
    tracing_subscriber::registry()
        .with(log(settings)?)
        .with(spans)
        .try_init()
        .map_err(|source| TelemetryError::Twice { source })?;
    Ok(Telemetry { provider })
}

/// The log goes to stderr: what a command answers goes to stdout, and the two must not mix.
fn log(settings: &Settings) -> Result<Box<dyn Layer<Registry> + Send + Sync>, TelemetryError> {
    let filter = if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some_and(|value| !value.is_empty()) {
        EnvFilter::try_from_default_env().map_err(|source| TelemetryError::Directives { source })?
    } else {
        // The directives have passed the check of the settings.
        EnvFilter::new(&settings.log)
    };
    let is_terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(match settings.format {
        LogFormat::Human => layer.compact().with_ansi(is_terminal).with_filter(filter).boxed(),
        LogFormat::Auto if is_terminal => layer.compact().with_filter(filter).boxed(),
        LogFormat::Auto | LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_filter(filter)
            .boxed(),
    })
}

fn provider(
    settings: &Settings,
    endpoint: &str,
    instruments: &Instruments,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = export::over_http(endpoint).map_err(|source| TelemetryError::Exporter { source })?;
    let resource = Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        // Who published the request has decided for the whole trace; where nobody has, the share does.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.trace_share))))
        .with_batch_exporter(Exported::new(exporter, instruments.clone()))
        .build())
}

impl Telemetry {
    /// Sends what is still held back. May take as long as the receiver; call it from a thread that may block.
    pub fn shutdown(self) -> Result<(), TelemetryError> {
        match self.provider {
            None => Ok(()),
            Some(provider) => provider
                .shutdown()
                .map_err(|source| TelemetryError::Shutdown { source }),
        }
    }
}
