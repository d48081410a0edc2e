//! One connection, kept alive: connect, notice the loss, connect again until told to stop.
//!
//! The outage is said once when the first link goes and once when the last is back. Tries in between are
//! silent, because a log that repeats itself every second hides the sentence that matters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::BrokerError;
use super::lane::HEADERS_MAX_BYTES;
use super::settings::BrokerSettings;
use super::tally::Tally;
use crate::tls;

/// How often a link looks at its connection by the clock, should the event of its loss go missing.
pub const LINK_CHECK_MS: u64 = 1_000;
/// Room for the longest headers that a lane lets out, and for what stands beside them.
const OUTLET_FRAME_MAX_BYTES: u32 = HEADERS_MAX_BYTES as u32 + 8 * 1024;
/// How long a parting close may take; a broker that is gone does not answer it.
const CLOSE_WAIT_MAX_MS: u64 = 2_000;

pub(super) type Live = Arc<Connection>;

/// What a connection is there for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Check,
    Inlet,
    Outlet,
    Desk,
}

impl Purpose {
    /// As the broker shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Purpose::Check => "check",
            Purpose::Inlet => "inlet",
            Purpose::Outlet => "outlet",
            Purpose::Desk => "desk",
        }
    }

    /// The longest frame, where it is ours to say: lapin keeps room for 32 of them in each direction, and touches it all. What
    /// comes in is as long as the broker lets its sender make it.
    fn frame_max_bytes(self) -> Option<u32> {
        match self {
            Purpose::Outlet => Some(OUTLET_FRAME_MAX_BYTES),
            Purpose::Check | Purpose::Inlet | Purpose::Desk => None,
        }
    }
}

/// A connection that comes back. Clones look at the same one.
#[derive(Clone)]
pub(super) struct Link {
    now: watch::Receiver<Option<Live>>,
    unreadable: Arc<AtomicU64>,
    settings: Arc<BrokerSettings>,
}

/// How a connection ended.
struct Loss {
    reason: String,
    /// By a frame that is no AMQP to lapin. The broker is well, and so is the way to it.
    by_a_message: bool,
}

impl Link {
    pub(super) fn start(
        purpose: Purpose,
        settings: Arc<BrokerSettings>,
        outage: Arc<Outage>,
        stop: CancellationToken,
    ) -> Link {
        let (tell, now) = watch::channel(None);
        let unreadable = Arc::<AtomicU64>::default();
        outage.opened();
        tokio::spawn(keep_alive(
            purpose,
            settings.clone(),
            outage,
            stop,
            tell,
            unreadable.clone(),
        ));
        Link {
            now,
            unreadable,
            settings,
        }
    }

    /// How many connections were lost to a message that cannot be read. True of all before the one that is up.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::SeqCst)
    }

    /// The connection, if there is one right now.
    pub(super) fn current(&self) -> Option<Live> {
        self.now.borrow().clone().filter(|live| live.status().connected())
    }

    /// Waits for a connection. `None` means that the link has been stopped.
    pub(super) async fn up(&self) -> Option<Live> {
        let mut now = self.now.clone();
        loop {
            let live = now.wait_for(Option::is_some).await.ok()?.clone();
            match live {
                Some(live) if live.status().connected() => return Some(live),
                // The loss is known here before the keeper has said so; wait for its word.
                _ => now.changed().await.ok()?,
            }
        }
    }

    /// Waits until the link has said that this connection is gone; there may be another by then.
    pub(super) async fn gone(&self, live: &Live) {
        let mut now = self.now.clone();
        let is_another = |now: &Option<Live>| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, live));
        let _closed_is_gone_too = now.wait_for(is_another).await;
    }

    pub(super) fn backoff(&self) -> ExponentialBackoff {
        backoff(&self.settings)
    }
}

async fn keep_alive(
    purpose: Purpose,
    settings: Arc<BrokerSettings>,
    outage: Arc<Outage>,
    stop: CancellationToken,
    tell: watch::Sender<Option<Live>>,
    unreadable: Arc<AtomicU64>,
) {
    let mut down_since: Option<Instant> = None;
    let mut is_up = false;
    let keep = async {
        loop {
            let live = insist(purpose, &settings, &outage, &mut down_since).await;
            is_up = true;
            outage.back(down_since.take());
            tell.send_replace(Some(live.clone()));
            let loss = loss_of(&live).await;
            is_up = false;
            if loss.by_a_message {
                unreadable.fetch_add(1, Ordering::SeqCst);
                tell.send_replace(None);
                outage.interrupted();
            } else {
                tell.send_replace(None);
                down_since = Some(Instant::now());
                outage.lost(purpose.name(), true, &loss.reason);
            }
        }
    };
    tokio::select! {
        () = keep => {}
        () = stop.cancelled() => {}
        // Nobody looks at this link any more: its inlet was closed, its last outlet dropped.
        () = tell.closed() => {}
    }
    outage.left(is_up);
    let last = tell.borrow().clone();
    tell.send_replace(None);
    if let Some(live) = last {
        close(&live).await;
    }
}

/// Tries until it succeeds.
async fn insist(
    purpose: Purpose,
    settings: &BrokerSettings,
    outage: &Outage,
    down_since: &mut Option<Instant>,
) -> Live {
    let mut waits = backoff(settings);
    loop {
        match connect(settings, purpose).await {
            Ok(live) => return live,
            // A first connection that fails is an outage too, and is said as one.
            Err(error) if down_since.is_none() => {
                *down_since = Some(Instant::now());
                outage.lost(purpose.name(), false, &chain(&error));
            }
            Err(_) => {}
        }
        tokio::time::sleep(waits.next().unwrap_or(settings.reconnect_max)).await;
    }
}

/// Resolves when the connection is not one any more, with what is known of the reason.
async fn loss_of(live: &Connection) -> Loss {
    let mut events = std::pin::pin!(live.events_listener());
    let mut loss = Loss {
        reason: String::from("the connection was closed"),
        by_a_message: false,
    };
    loop {
        let is_lost = !live.status().connected();
        let by_clock = Duration::from_millis(if is_lost { 0 } else { LINK_CHECK_MS });
        let event = tokio::time::timeout(by_clock, events.next()).await;
        if let Ok(event) = event {
            match event {
                // A channel's error is told here too; whether the connection still stands is asked above.
                Some(lapin::Event::Error(error)) => {
                    loss.by_a_message |= matches!(error.kind(), lapin::ErrorKind::ParsingError(_));
                    loss.reason = error.to_string();
                }
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    warn!(
                        reason,
                        "the broker blocks publishers until it has memory or disk again"
                    );
                }
                Some(lapin::Event::ConnectionUnblocked) => info!("the broker takes messages again"),
                Some(_) => {}
                None if is_lost => return loss,
                None => tokio::time::sleep(by_clock).await,
            }
        } else if is_lost {
            // Nothing more is told of it.
            return loss;
        }
    }
}

/// One try, bounded in time. TLS where the URL says amqps.
pub(super) async fn connect(settings: &BrokerSettings, purpose: Purpose) -> Result<Live, BrokerError> {
    let mut uri = settings.uri()?;
    uri.query.frame_max = uri.query.frame_max.or(purpose.frame_max_bytes());
    let at = format!(
        "{}:{}{}",
        uri.authority.host,
        uri.authority.port,
        vhost_of(&uri.vhost)
    );
    let name = format!("{} {}", settings.name, purpose.name());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let believed = OwnedTLSConfig {
        // Read for each connection: a file that is replaced is believed from the next one on.
        cert_chain: settings
            .authorities()
            .map_err(|why| BrokerError::Authorities { why })?,
        identity: None,
    };
    let connected = async {
        let runtime = lapin::runtime::default_runtime()?;
        Connection::connect_uri_with_config(uri, properties, believed, runtime).await
    };
    match tokio::time::timeout(settings.connect_timeout, connected).await {
        Ok(Ok(connection)) => Ok(Arc::new(connection)),
        Ok(Err(source)) => Err(match tls::why(&source) {
            Some(why) => BrokerError::Tls { at, why },
            None => BrokerError::Connect { at, source },
        }),
        Err(_) => Err(BrokerError::ConnectTimeout {
            at,
            wait_ms: u64::try_from(settings.connect_timeout.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}

/// Says goodbye, if somebody is there to hear it.
pub(super) async fn close(live: &Connection) {
    let goodbye = live.close(200, "done".into());
    let _gone_already = tokio::time::timeout(Duration::from_millis(CLOSE_WAIT_MAX_MS), goodbye).await;
}

/// backon adds up to the whole delay as jitter, so half the wanted cap keeps the cap.
fn backoff(settings: &BrokerSettings) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(settings.reconnect_min.min(settings.reconnect_max / 2))
        .with_max_delay(settings.reconnect_max / 2)
        .without_max_times()
        .with_jitter()
        .build()
}

fn vhost_of(vhost: &str) -> String {
    if vhost == "/" {
        String::new()
    } else {
        format!(" (vhost {vhost:?})")
    }
}

fn chain(error: &BrokerError) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    // lapin's text holds its own causes already.
    if let Some(next) = cause.take() {
        said.push_str(": ");
        said.push_str(&next.to_string());
    }
    said
}

/// How many links there are and how many are down. Shared by all links of a process, so that one outage
/// of the broker is one sentence and not one for each link.
pub(super) struct Outage {
    links: Mutex<Links>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Links {
    opened: usize,
    up: usize,
    said: bool,
}

impl Outage {
    pub(super) fn new(tally: Arc<Tally>) -> Outage {
        Outage {
            links: Mutex::default(),
            tally,
        }
    }

    pub(super) fn all_up(&self) -> bool {
        let links = self.lock();
        links.up == links.opened
    }

    fn opened(&self) {
        self.lock().opened += 1;
    }

    fn left(&self, was_up: bool) {
        let mut links = self.lock();
        links.opened -= 1;
        if was_up {
            links.up -= 1;
        }
    }

    fn lost(&self, link: &str, was_up: bool, reason: &str) {
        self.tally.outages(1);
        let mut links = self.lock();
        if was_up {
            links.up -= 1;
        }
        if !std::mem::replace(&mut links.said, true) {
            warn!(link, reason, "lost the broker, reconnecting until it is back");
        }
    }

    /// A connection ended that will be made again at once; whoever used it knows why.
    fn interrupted(&self) {
        self.tally.unreadable(1);
        self.lock().up -= 1;
    }

    fn back(&self, down_since: Option<Instant>) {
        let mut links = self.lock();
        links.up += 1;
        if links.up == links.opened && std::mem::replace(&mut links.said, false) {
            let down_ms =
                down_since.map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
            info!(down_ms, "the broker is back");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
