//! The only folder that says `lapin`: everything Sexton hears and says over AMQP passes here.
//!
//! It keeps one promise to the floors above: a delivery is given back to the broker unless the caller
//! decided otherwise, and a message is called confirmed only when the broker has said so. lapin's own
//! recovery stays off. It restores a lost connection only, and a consumer whose channel was closed would
//! wait for ever; here connection, channel and consumer are rebuilt from nothing each time.

mod browse;
mod caution;
mod connection;
mod error;
mod flow;
mod inlet;
mod lane;
mod ledger;
mod letters;
mod listen;
mod message;
mod outlet;
mod post;
mod settings;
mod tally;
mod topology;

pub use browse::{Depth, Desk, PEEK_MAX, Taken};
pub use connection::LINK_CHECK_MS;
pub use error::BrokerError;
pub use inlet::{Batch, Inlet};
pub use lane::{CONFIRM_WAIT_MAX_MS, HEADERS_MAX_BYTES, LANE_BATCH_MAX};
pub use ledger::Acked;
pub use listen::{Binding, EventStream};
pub use message::{Delivery, Headers, Message, PublishOutcome, Unrouted, Value};
pub use outlet::{IN_FLIGHT_MAX, Outlet};
pub use settings::BrokerSettings;
pub use tally::{Tally, TallyNow};
pub use topology::{
    EVENTS_EXCHANGE, EVENTS_HEADERS_EXCHANGE, REJECTED_QUEUE, REQUESTS_EXCHANGE, REQUESTS_QUEUE,
    UNHEARD_EXCHANGE, UNHEARD_QUEUE,
};

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use connection::{Link, Outage, Purpose};

/// The way to one RabbitMQ: settings that were tried once, and the outage that all its links share.
pub struct Broker {
    settings: Arc<BrokerSettings>,
    outage: Arc<Outage>,
    tally: Arc<Tally>,
    stop: CancellationToken,
}

/// What a readiness check may ask: is each way up right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Every link that was opened has a connection.
    pub connected: bool,
    /// The inlet has a consumer on the requests queue; false while held or rebuilding.
    pub consuming: bool,
}

impl Broker {
    /// Connects once and declares the topology, so that wrong settings, a missing server or a queue with
    /// other arguments end the start with one sentence instead of a retry that never says so.
    ///
    /// `stop` ends the links for good. Fire it last: an outlet is needed until the final events are out.
    pub async fn open(settings: BrokerSettings, stop: CancellationToken) -> Result<Broker, BrokerError> {
        let connection = connection::connect(&settings, Purpose::Check).await?;
        if settings.declare {
            topology::declare(&connection).await?;
        }
        connection::close(&connection).await;
        let tally = Arc::new(Tally::default());
        let outage = Arc::new(Outage::new(tally.clone()));
        Ok(Broker {
            settings: Arc::new(settings),
            outage,
            tally,
            stop,
        })
    }

    /// As whom this process is known to the broker.
    pub fn user(&self) -> String {
        let uri = self.settings.uri().ok();
        uri.map_or_else(String::new, |uri| uri.authority.userinfo.username)
    }

    /// Takes deletion requests in, on a connection of its own: the broker blocks connections that publish
    /// when it runs out of memory or disk, and a blocked connection could not acknowledge either.
    ///
    /// `drain` ends the intake of new batches; it may fire long before the broker's own stop.
    pub fn inlet(&self, drain: CancellationToken) -> Inlet {
        Inlet::new(
            self.link(Purpose::Inlet),
            self.settings.clone(),
            self.tally.clone(),
            drain,
        )
    }

    /// Publishes with confirms, on a connection of its own. Clone it freely.
    pub fn outlet(&self) -> Outlet {
        Outlet::start(self.link(Purpose::Outlet), self.tally.clone(), self.stop.clone())
    }

    /// A person's desk: look into queues, move messages, wait for one event. One short-lived connection.
    pub async fn desk(&self) -> Result<Desk, BrokerError> {
        Desk::connect(&self.settings).await
    }

    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    pub fn reach(&self) -> Reach {
        Reach {
            connected: self.outage.all_up(),
            consuming: self.tally.now().consuming,
        }
    }

    fn link(&self, purpose: Purpose) -> Link {
        Link::start(
            purpose,
            self.settings.clone(),
            self.outage.clone(),
            self.stop.clone(),
        )
    }
}
