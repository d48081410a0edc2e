//! The `[broker]` section: where RabbitMQ is, how patient to be with it, and how much to take at once.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{secret, tls};

/// Above this a consumer's buffer stops being a bound: prefetch times the largest body is held in memory.
const PREFETCH_MAX: u16 = 20_000;
/// A heartbeat under this marks a busy machine as a dead one.
const HEARTBEAT_MIN_S: u64 = 2;
/// RabbitMQ speaks of heartbeats in seconds of 16 bits; beyond a few minutes a dead peer is found too late.
const HEARTBEAT_MAX_S: u64 = 300;
/// AMQP carries names in at most this much; lapin panics on a longer one.
pub(super) const SHORT_TEXT_MAX_BYTES: usize = 255;
/// Longer waits than this leave a returned broker unused for longer than a person expects.
const RECONNECT_CEILING: Duration = Duration::from_secs(300);

/// How to reach RabbitMQ.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerSettings {
    /// amqp:// or amqps:// with user, password, host, port and virtual host. A secret: never logged.
    #[serde(serialize_with = "secret::hidden")]
    pub url: SecretString,
    /// Certificates (PEM) of whoever signs the broker's own, beside those that this machine believes; for amqps://.
    pub ca_file: Option<PathBuf>,
    /// The name this process shows in the broker's list of connections.
    pub name: String,
    /// Declare exchanges, queues and bindings at the start and after each loss. Turn off where Sexton's
    /// user may not configure; somebody else must then have declared them as `topology.rs` does.
    pub declare: bool,
    /// Unacknowledged requests held at once. Memory is bounded by this times the largest body the broker
    /// takes, since a body arrives whole before any bound of ours can look at it.
    pub prefetch: u16,
    /// A peer that is silent for two of these is dead.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long one try to connect may take, TLS and handshake included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The first wait after a loss; jittered, and doubled for each further try.
    #[serde(with = "humantime_serde")]
    pub reconnect_min: Duration,
    /// No wait between two tries is longer than this, jitter included.
    #[serde(with = "humantime_serde")]
    pub reconnect_max: Duration,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        BrokerSettings {
            url: SecretString::from("amqp://guest:guest@127.0.0.1:5672/%2f"),
            ca_file: None,
            name: "sexton".to_owned(),
            declare: true,
            // Two full admission batches: one is being committed while the next one fills.
            prefetch: 1_000,
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            reconnect_min: Duration::from_millis(200),
            reconnect_max: Duration::from_secs(30),
        }
    }
}

impl BrokerSettings {
    /// Says which key is wrong, what was found and what is wanted, before anything is opened.
    pub fn check(&self) -> Result<(), String> {
        self.uri().map_err(|_| {
            "broker.url: not an AMQP URL, wanted amqp://user:password@host:port/vhost or amqps://…".to_owned()
        })?;
        let heartbeat_s = self.heartbeat.as_secs();
        if self.prefetch == 0 || self.prefetch > PREFETCH_MAX {
            return Err(format!(
                "broker.prefetch: found {}, wanted 1 to {PREFETCH_MAX}",
                self.prefetch
            ));
        }
        if !(HEARTBEAT_MIN_S..=HEARTBEAT_MAX_S).contains(&heartbeat_s) {
            return Err(format!(
                "broker.heartbeat: found {heartbeat_s}s, wanted {HEARTBEAT_MIN_S}s to {HEARTBEAT_MAX_S}s"
            ));
        }
        if self.connect_timeout.is_zero() {
            return Err("broker.connect_timeout: found 0s, wanted more".to_owned());
        }
        if self.reconnect_min.is_zero() || self.reconnect_min > self.reconnect_max {
            return Err(format!(
                "broker.reconnect_min: found {:?}, wanted more than zero and at most broker.reconnect_max ({:?})",
                self.reconnect_min, self.reconnect_max
            ));
        }
        if self.reconnect_max > RECONNECT_CEILING {
            return Err(format!(
                "broker.reconnect_max: found {:?}, wanted at most {RECONNECT_CEILING:?}",
                self.reconnect_max
            ));
        }
        Ok(())
    }

    /// Whom to believe beside those whom this machine believes, as PEM. Only the file can tell whether it is usable.
    pub fn authorities(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.ca_file else {
            return Ok(None);
        };
        let uri = self.uri().map_err(|error| error.to_string())?;
        if uri.scheme != lapin::uri::AMQPScheme::AMQPS {
            return Err(format!(
                "broker.ca_file: found {} while broker.url is plain amqp://; wanted amqps:// there",
                file.display()
            ));
        }
        let text = tls::authorities(file);
        text.map(Some).map_err(|why| format!("broker.ca_file: {why}"))
    }

    pub(super) fn uri(&self) -> Result<lapin::uri::AMQPUri, super::BrokerError> {
        let mut uri: lapin::uri::AMQPUri = self
            .url
            .expose_secret()
            .parse()
            .map_err(|_: String| super::BrokerError::Url)?;
        if uri.vhost.len() > SHORT_TEXT_MAX_BYTES {
            return Err(super::BrokerError::Url);
        }
        uri.query.heartbeat = Some(u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX));
        Ok(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_check() {
        assert_eq!(BrokerSettings::default().check(), Ok(()));
    }

    #[test]
    fn each_wrong_key_is_named_with_what_was_found() {
        let broken = |change: fn(&mut BrokerSettings)| {
            let mut settings = BrokerSettings::default();
            change(&mut settings);
            settings.check().expect_err("this one is wrong")
        };
        assert!(broken(|s| s.prefetch = 0).starts_with("broker.prefetch: found 0"));
        assert!(broken(|s| s.heartbeat = Duration::from_secs(1)).starts_with("broker.heartbeat: found 1s"));
        assert!(
            broken(|s| s.reconnect_min = Duration::from_secs(60))
                .starts_with("broker.reconnect_min: found 60s")
        );
        assert!(broken(|s| s.connect_timeout = Duration::ZERO).starts_with("broker.connect_timeout"));
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        let settings = BrokerSettings {
            url: "http://u:hunter2@h".into(),
            ..BrokerSettings::default()
        };
        let said = settings.check().expect_err("not an AMQP URL");
        assert!(said.starts_with("broker.url"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let parsed = toml::from_str::<BrokerSettings>("prefech = 3");
        assert!(parsed.is_err());
        let parsed =
            toml::from_str::<BrokerSettings>("heartbeat = \"30s\"\nprefetch = 7").expect("known keys");
        assert_eq!((parsed.heartbeat, parsed.prefetch), (Duration::from_secs(30), 7));
    }
}
