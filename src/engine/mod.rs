//! The engine: carries open deletions to their ends.
//!
//! Reading order: [`crew`] is one worker with its lanes, [`lane`] writes in groups, [`drive`] moves one deletion,
//! [`effect`] lets a connector act ([`together`] for many at once), [`limits`] says whether it may now and [`doors`] whether the
//! system lets us in ([`shut`] tells where not), [`watch`] keeps
//! the lease and looks after those whose worker fell silent.

mod act;
mod at_once;
mod begun;
mod book;
mod claims;
mod crew;
mod cursor;
mod doors;
mod drive;
mod effect;
mod lane;
mod lane_admission;
mod lane_batch;
mod lane_writer;
mod limits;
mod passage;
mod pause;
mod record;
mod room;
mod settings;
mod shut;
mod together;
mod watch;

pub use book::{PlanBook, fits};
pub use settings::Settings;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch as channel};

use crate::connectors::Systems;
use crate::stopper::Stopper;
use crate::store::{Admission, Candidate, Outgoing, Store, Wake};
use crate::telemetry::Instruments;
use crew::Crew;
use limits::Limits;
use room::Batched;
use together::Together;

/// What the engine is made of; it owns none of it alone.
#[derive(Clone)]
pub struct Parts {
    pub store: Store,
    pub systems: Arc<Systems>,
    pub book: PlanBook,
    pub instruments: Instruments,
    /// Events from memory, just after their commit. What does not fit is found by the relay's sweep.
    pub tap: mpsc::Sender<Outgoing>,
    /// Whether the world is told of every accepted request, beside its outcome.
    pub announce_accepted: bool,
    /// Hints that something may be due.
    pub wake: Wake,
    /// Hints that the outbox holds more than went through the tap.
    pub outbox_wake: Wake,
}

#[derive(Clone)]
pub(crate) struct Shared {
    parts: Parts,
    settings: Arc<Settings>,
    limits: Arc<Limits>,
    together: Arc<Together>,
    /// One permit a deletion in flight.
    permits: Arc<Semaphore>,
    batched: Batched,
    stopper: Stopper,
}

/// Runs until it is stopped; registers anew if it ever loses its lease.
pub struct Engine {
    shared: Shared,
    lanes: u16,
    lease: Duration,
    crew: channel::Sender<Option<Arc<Crew>>>,
}

impl Engine {
    pub fn new(parts: Parts, settings: Settings, lanes: u16, lease: Duration, stopper: Stopper) -> Self {
        let limits = Arc::new(Limits::new(&parts.systems, parts.instruments.clone()));
        let permits = Arc::new(Semaphore::new(settings.in_flight_max));
        let batched = Batched::new(settings.in_flight_max);
        let shared = Shared {
            parts,
            settings: Arc::new(settings),
            limits,
            together: Arc::default(),
            permits,
            batched,
            stopper,
        };
        Engine {
            shared,
            lanes,
            lease,
            crew: channel::channel(None).0,
        }
    }

    /// The way in for requests.
    pub fn admissions(&self) -> Admissions {
        Admissions {
            crew: self.crew.subscribe(),
            shared: self.shared.clone(),
            turn: Arc::default(),
        }
    }

    /// Whether lanes are open and the lease stands: readiness.
    pub fn at_work(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let crew = self.crew.subscribe();
        move || crew.borrow().as_ref().is_some_and(|crew| crew.has_lease())
    }

    pub async fn run(self) {
        let mut tries = watch::Patience::new(&self.shared.parts.store, "opening the lanes of a worker");
        while !self.shared.stopper.is_draining() {
            let crew = match Crew::muster(&self.shared, self.lanes, self.lease).await {
                Ok(crew) => Arc::new(crew),
                Err(error) => {
                    tries.failed(&error, &self.shared.stopper).await;
                    continue;
                }
            };
            tries.succeeded();
            self.crew.send_replace(Some(crew.clone()));
            let end = crew.work(&self.shared).await;
            self.crew.send_replace(None);
            match end {
                crew::Parted::Stopped => break,
                crew::Parted::Lost => {
                    self.shared.parts.instruments.lane_lost();
                    tracing::warn!("another worker took over; this one begins again under a new name");
                }
            }
        }
    }
}

/// Hands requests to a lane, which admits them behind its fence and keeps what it has room for.
#[derive(Clone)]
pub struct Admissions {
    crew: channel::Receiver<Option<Arc<Crew>>>,
    shared: Shared,
    turn: Arc<AtomicUsize>,
}

/// Nothing is known of any request of the batch; it must not be acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("no lane could admit the batch")]
pub struct NotAdmitted;

impl Admissions {
    pub async fn admit(&mut self, candidates: Vec<Candidate>) -> Result<Vec<Admission>, NotAdmitted> {
        let crew = tokio::select! {
            () = self.shared.stopper.halted() => return Err(NotAdmitted),
            crew = self.crew.wait_for(Option::is_some) => crew.map_err(|_| NotAdmitted)?.clone(),
        };
        let crew = crew.ok_or(NotAdmitted)?;
        let turn = self.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        crew.admit(turn, candidates, &self.shared).await
    }
}
