//! `[gateway]`: where it listens, how long a caller is kept waiting, and the bounds on what strangers may hold.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use serde::{Deserialize, Serialize};

use crate::decide::access::Dialect;
use crate::tls;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Left out: no gateway.
    pub listen: Option<SocketAddr>,
    /// A certificate with its chain, and its private key, as PEM: both, and only HTTPS is served, or none, and it is plain
    /// HTTP.
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// What is served: native, factory, powerdrill, pave, agno.
    pub dialects: Vec<String>,
    /// Of the agno dialect: each database by its id, with its tables of sessions. The plan says what they mean.
    pub agno_databases: BTreeMap<String, Vec<String>>,
    /// A call waits so long for its outcome; after that it is answered that the request goes on.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// Open connections; whoever comes then waits to be let in.
    pub connections_max: usize,
    /// From the first byte of a connection, or the last answer on it, to the last byte of a request's head.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// From the head of a request to the last byte of its body.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// A caller that takes no byte of its answer for so long is let go.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// From when a stop begins: calls that still wait are answered that their requests go on.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: None,
            tls_certificate: None,
            tls_key: None,
            dialects: Dialect::ALL
                .iter()
                .map(|dialect| dialect.word().to_owned())
                .collect(),
            agno_databases: BTreeMap::from([("main".to_owned(), vec!["agno_sessions".to_owned()])]),
            wait: Duration::from_secs(25),
            connections_max: 4_096,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// What is served.
    pub(super) fn dialects(&self) -> Vec<Dialect> {
        let all = self.dialects.iter();
        all.filter_map(|word| Dialect::parse(word)).collect()
    }

    /// What only the files of the certificate can tell; before anything is opened.
    pub fn tls(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else {
            return Ok(None);
        };
        let shown = tls::shown(certificate, key);
        shown
            .map(Some)
            .map_err(|(key, why)| format!("gateway.{key}: {why}"))
    }

    pub fn check(&self) -> Result<(), String> {
        if !(1..=100_000).contains(&self.connections_max) {
            return Err(format!(
                "gateway.connections_max: found {}; wanted 1 to 100000",
                self.connections_max
            ));
        }
        for (one, given, other, missing) in [
            ("tls_key", &self.tls_key, "tls_certificate", &self.tls_certificate),
            ("tls_certificate", &self.tls_certificate, "tls_key", &self.tls_key),
        ] {
            if given.is_none() && missing.is_some() {
                return Err(format!(
                    "gateway.{one}: found nothing beside gateway.{other}; wanted both or none"
                ));
            }
        }
        if let Some(word) = self.dialects.iter().find(|word| Dialect::parse(word).is_none()) {
            return Err(format!(
                "gateway.dialects: found {word:?}; wanted native, factory, powerdrill, pave or agno"
            ));
        }
        for (name, span, least, most) in [
            ("wait", self.wait, 0, 600),
            ("head_timeout", self.head_timeout, 1, 120),
            ("body_timeout", self.body_timeout, 1, 600),
            ("write_timeout", self.write_timeout, 1, 600),
            ("drain", self.drain, 0, 60),
        ] {
            if span < Duration::from_secs(least) || span > Duration::from_secs(most) {
                return Err(format!(
                    "gateway.{name}: found {span:?}; wanted {least}s to {most}s"
                ));
            }
        }
        Ok(())
    }
}
