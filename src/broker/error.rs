//! What can go wrong between Sexton and its broker, each said for its own level only.
//! No variant carries the URL: it holds a password.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum BrokerError {
    /// The URL cannot be read. The parser's own words are left out because they repeat the URL.
    #[error("setting `broker.url` is not an AMQP URL, wanted amqp://user:password@host:port/vhost")]
    Url,

    #[error("cannot connect to the broker at {at}")]
    Connect {
        at: String,
        #[source]
        source: lapin::Error,
    },

    #[error("cannot connect to the broker at {at} by TLS: {why}")]
    Tls { at: String, why: String },

    #[error("{why}")]
    Authorities { why: String },

    #[error("the broker at {at} did not finish the handshake within {wait_ms} ms")]
    ConnectTimeout { at: String, wait_ms: u64 },

    #[error("cannot declare {what} {name:?}")]
    Declare {
        what: &'static str,
        name: String,
        #[source]
        source: lapin::Error,
    },

    /// The broker's answer is the information here: it alone knows which argument differs.
    #[error("{what} {name:?} exists with other arguments, and the broker keeps what it has: {difference}")]
    Differs {
        what: &'static str,
        name: String,
        difference: String,
    },

    #[error("cannot open a channel")]
    Channel {
        #[source]
        source: lapin::Error,
    },

    #[error("cannot consume from queue {queue:?}")]
    Consume {
        queue: String,
        #[source]
        source: lapin::Error,
    },

    #[error("there is no queue {queue:?}")]
    NoQueue { queue: String },

    #[error("cannot look into queue {queue:?}")]
    Browse {
        queue: String,
        #[source]
        source: lapin::Error,
    },

    #[error("cannot bind a private queue to exchange {exchange:?}")]
    Listen {
        exchange: String,
        #[source]
        source: lapin::Error,
    },

    #[error("cannot bind to exchange {exchange:?}: {why}")]
    Unfit { exchange: String, why: String },

    #[error("the stream of events was cut by the broker")]
    Cut,

    #[error("cannot acknowledge a message of queue {queue:?} after it was moved; it stands in both places")]
    AckAfterMove { queue: String },
}

/// The broker's own reply text, when it refused something on a channel that it then closed.
pub(super) fn refusal(error: &lapin::Error) -> Option<(u16, String)> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(said) => Some((said.get_id(), said.get_message().to_string())),
        _ => None,
    }
}

/// AMQP reply code of something that the user may not do.
pub(super) const FORBIDDEN: u16 = 403;
/// AMQP reply code of something that is not there.
pub(super) const NOT_FOUND: u16 = 404;
/// AMQP reply code of a declaration that differs from what stands.
pub(super) const PRECONDITION_FAILED: u16 = 406;
