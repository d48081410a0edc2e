//! `[gateway]`: where it listens, how long a caller is kept waiting, and the bounds on what strangers may hold.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::decide::access::Dialect;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Left out: no gateway.
    pub listen: Option<SocketAddr>,
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

    pub fn check(&self) -> Result<(), String> {
        if !(1..=100_000).contains(&self.connections_max) {
            return Err(format!(
                "gateway.connections_max: found {}; wanted 1 to 100000",
                self.connections_max
            ));
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
