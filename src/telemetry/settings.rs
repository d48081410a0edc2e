//! The `[telemetry]` section: what is logged, where traces go, and where the pages for machines are served.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

const PORT: u16 = 9464;

/// What to show of itself, and to whom.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is logged, in the directives of `tracing` (`info`, `warn,sexton=debug`). `RUST_LOG` wins over it.
    pub log: String,
    /// `human` for eyes, `json` for machines; `auto` is `human` if the log goes to a terminal.
    pub format: LogFormat,
    /// Where `/metrics`, `/livez` and `/readyz` are served. Nothing there asks who is asking: keep it inside.
    pub listen: SocketAddr,
    /// The base URL of an OTLP receiver (HTTP, protobuf), like `http://127.0.0.1:4318`. Left out,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` is used; with neither, no trace leaves the process.
    pub otlp_endpoint: Option<String>,
    /// The share of traces that are kept, from 0 to 1, unless the publisher has decided.
    pub trace_share: f64,
    /// The name under which traces are filed.
    pub service_name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Human,
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        match word.as_str() {
            "auto" => Ok(LogFormat::Auto),
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            _ => Err("found another word; wanted auto, human or json"),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            log: "info".to_owned(),
            format: LogFormat::Auto,
            listen: SocketAddr::from(([127, 0, 0, 1], PORT)),
            otlp_endpoint: None,
            trace_share: 1.0,
            service_name: "sexton".to_owned(),
        }
    }
}

impl Settings {
    /// Says which key is wrong, what was found and what is wanted, before anything is opened.
    pub fn check(&self) -> Result<(), String> {
        if EnvFilter::try_new(&self.log).is_err() {
            return Err(format!(
                "telemetry.log: found {:?}; wanted directives like \"info\" or \"warn,sexton=debug\"",
                self.log
            ));
        }
        if !(0.0..=1.0).contains(&self.trace_share) {
            return Err(format!(
                "telemetry.trace_share: found {}; wanted 0 to 1",
                self.trace_share
            ));
        }
        if self.service_name.trim().is_empty() {
            return Err("telemetry.service_name: found an empty name; wanted one like \"sexton\"".to_owned());
        }
        if let Some(url) = &self.otlp_endpoint
            && !is_http_url(url)
        {
            // What stands there may be a password; it is not repeated.
            return Err(
                "telemetry.otlp_endpoint: found something else; wanted a URL without password, like http://127.0.0.1:4318"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Without a password: an exporter that fails says its URL. Credentials go into `OTEL_EXPORTER_OTLP_HEADERS`.
pub(super) fn is_http_url(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_check() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn each_wrong_key_is_named_with_what_was_found() {
        let broken = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().expect_err("this one is wrong")
        };
        assert!(broken(|s| s.log = "sexton=loud".into()).starts_with("telemetry.log: found \"sexton=loud\""));
        assert!(broken(|s| s.trace_share = 1.5).starts_with("telemetry.trace_share: found 1.5"));
        assert!(broken(|s| s.trace_share = f64::NAN).starts_with("telemetry.trace_share"));
        assert!(broken(|s| s.service_name = " ".into()).starts_with("telemetry.service_name"));
        let said = broken(|s| s.otlp_endpoint = Some("user:hunter2@host".into()));
        assert!(
            said.starts_with("telemetry.otlp_endpoint") && !said.contains("hunter2"),
            "{said}"
        );
    }
}
