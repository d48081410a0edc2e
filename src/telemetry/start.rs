//! Turns logging and tracing on, once for the process, and off again without losing what is still in memory.

use std::io::IsTerminal;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
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
    #[error(
        "OTEL_EXPORTER_OTLP_ENDPOINT: found something else; wanted a URL without password, like http://127.0.0.1:4318"
    )]
    Endpoint,
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

/// Call once and early. With an endpoint it starts the two threads of the export; nothing is sent yet.
pub fn start(settings: &Settings, instruments: &Instruments) -> Result<Telemetry, TelemetryError> {
    let provider = export::endpoint(settings.otlp_endpoint.as_deref())?
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
            .boxed()
    });
    heard_by(log(settings)?, spans)
        .try_init()
        .map_err(|source| TelemetryError::Twice { source })?;
    Ok(Telemetry { provider })
}

/// Of each of these its filter is asked; a `None` among layers would take everything, and every span would be kept for nobody.
fn heard_by(log: Boxed, spans: Option<Boxed>) -> Layered<Vec<Boxed>, Registry> {
    let layers: Vec<Boxed> = std::iter::once(log).chain(spans).collect();
    tracing_subscriber::registry().with(layers)
}

/// The log goes to stderr: what a command answers goes to stdout, and the two must not mix.
fn log(settings: &Settings) -> Result<Boxed, TelemetryError> {
    let filter = if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some_and(|value| !value.is_empty()) {
        EnvFilter::try_from_default_env().map_err(|source| TelemetryError::Directives { source })?
    } else {
        // The directives have passed the check of the settings.
        EnvFilter::new(&settings.log)
    };
    let is_terminal = std::io::stderr().is_terminal();
    Ok(lines(settings.format, is_terminal, std::io::stderr)
        .with_filter(filter.and(filter_fn(|seen| may_be_logged(seen.target()))))
        .boxed())
}

/// No directive may turn these on: lapin writes whole bodies of returned messages into its warnings, and sqlx the
/// texts of a server's notices, in which functions of foreign databases quote whatever they like.
fn may_be_logged(target: &str) -> bool {
    !target.starts_with("lapin") && !target.starts_with("sqlx::postgres::notice")
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

fn lines<W>(format: LogFormat, is_terminal: bool, writer: W) -> Boxed
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Human => layer.compact().with_ansi(is_terminal).boxed(),
        LogFormat::Auto if is_terminal => layer.compact().boxed(),
        LogFormat::Auto | LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    }
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::layer::Identity;
    use uuid::Uuid;

    use super::*;
    use crate::deletion::{Aim, DeletionId, Envelope};
    use crate::telemetry::spans;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Paper {
        type Writer = Paper;

        fn make_writer(&self) -> Paper {
            self.clone()
        }
    }

    #[test]
    fn invariant_12_no_directive_turns_on_what_quotes_foreign_texts() {
        let paper = Paper::default();
        let log = lines(LogFormat::Json, false, paper.clone())
            .with_filter(EnvFilter::new("trace").and(filter_fn(|seen| may_be_logged(seen.target()))));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            tracing::error!(target: "sqlx::postgres::notice", "row of alice");
            tracing::error!(target: "lapin::returned_messages", "body of alice");
            tracing::error!(target: "sqlx::query", "slow statement");
        });
        let text = String::from_utf8(paper.0.lock().expect("one thread").clone()).expect("text");
        assert!(
            !text.contains("alice") && text.contains("slow statement"),
            "{text}"
        );
    }

    #[test]
    fn a_span_that_nobody_wants_is_not_made() {
        let made = |level: &str, spans: Option<Boxed>| {
            let settings = Settings {
                log: level.to_owned(),
                ..Settings::default()
            };
            let heard = heard_by(log(&settings).expect("a level"), spans);
            tracing::subscriber::with_default(heard, || !tracing::info_span!("step").is_disabled())
        };
        let exported = Identity::new().with_filter(LevelFilter::INFO).boxed();
        assert!(!made("warn", None));
        assert!(made("info", None), "the log names the span it stands in");
        assert!(made("warn", Some(exported)));
    }

    #[test]
    fn a_line_for_machines_names_its_deletion() {
        let paper = Paper::default();
        let log = lines(LogFormat::Auto, false, paper.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            let id = DeletionId(Uuid::from_u128(7));
            let span = spans::step(id, 2, Aim::Do, 1, &Envelope::default());
            span.in_scope(|| tracing::warn!(wait_ms = 40, "will try again"));
        });
        let line: Value =
            serde_json::from_slice(&paper.0.lock().expect("one thread")).expect("one line of JSON");
        assert_eq!(line["message"], "will try again");
        assert_eq!(line["wait_ms"], 40);
        assert_eq!(line["span"]["name"], "step");
        assert_eq!(line["span"]["deletion.id"], Uuid::from_u128(7).to_string());
    }
}
