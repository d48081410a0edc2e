//! The lease, kept by a heartbeat; and a look after workers that fell silent.

use std::time::Duration;

use rand::RngExt;

use super::Shared;
use super::crew::Parted;
use crate::clock::Sparing;
use crate::crash::{self, CrashPoint};
use crate::stopper::Stopper;
use crate::store::{Heartbeat, Store, StoreError, Worker};
use crate::telemetry::{self, Voice};

/// Renewals per lease: five may fail in a row before the sixth would come too late.
const HEARTBEATS_A_LEASE: u32 = 6;
/// How often the lanes' generations are asked for, beside the hint of NOTIFY, which may be lost.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// Partitions of the months to come, plans that came in elsewhere, and the gauges.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);

/// Until the lease is lost, or everything is stopped.
pub(super) async fn keep_lease(shared: &Shared, worker: &Worker, span: Duration) -> Parted {
    let mut patience = Patience::new(&shared.parts.store, "renewing the lease");
    let mut every = tokio::time::interval(span / HEARTBEATS_A_LEASE);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match shared.parts.store.heartbeat(worker).await {
            Ok(Heartbeat::Renewed) => {
                patience.succeeded();
                crash::point(CrashPoint::HeartbeatAfterRenewal);
            }
            Ok(Heartbeat::Lost) => return Parted::Lost,
            Err(error) => patience.failed(&error, &shared.stopper).await,
        }
    }
}

/// Polls what hints might have missed.
pub(super) async fn listen(shared: &Shared, worker: &Worker) {
    let mut known: Vec<(i64, i64)> = Vec::new();
    let mut every = tokio::time::interval(LISTEN_EVERY);
    loop {
        every.tick().await;
        if let Ok(mut now) = shared.parts.store.generations(worker).await {
            now.sort_unstable();
            if now != known {
                shared.parts.wake.poke();
                known = now;
            }
        }
    }
}

/// Takes over from the silent. Every worker does; whoever is first wins each lane.
pub(super) async fn look_after_the_silent(shared: &Shared, span: Duration) {
    let mut patience = Patience::new(&shared.parts.store, "looking for silent workers");
    loop {
        match shared.parts.store.take_over().await {
            Ok((lanes, deletions)) => {
                patience.succeeded();
                if lanes > 0 || deletions > 0 {
                    tracing::warn!(lanes, deletions, "took over from a silent worker");
                    shared.parts.wake.poke();
                }
            }
            Err(error) => patience.failed(&error, &shared.stopper).await,
        }
        // Jittered, so that many workers do not all look in the same moment.
        let wait = (span / HEARTBEATS_A_LEASE).mul_f64(rand::rng().random_range(0.5..1.5));
        tokio::time::sleep(wait).await;
    }
}

pub(super) async fn upkeep(shared: &Shared, lease: Duration) {
    // Goes through all that is open.
    let mut counting = Sparing::default();
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    loop {
        every.tick().await;
        let store = &shared.parts.store;
        let _ = store.ensure_partitions().await;
        if let Err(error) = shared.parts.book.learn(store, &shared.parts.systems, lease).await {
            tracing::debug!(error = %telemetry::chain(&error), "could not look for new plans");
        }
        if let Some(Ok((open, oldest))) = counting.look(store.open_now()).await {
            shared.parts.instruments.deletions_open(open, oldest);
        }
    }
}

/// Waits longer and longer, jittered, while something fails; what there is to say, it says with all others at once.
pub(super) struct Patience {
    voice: Voice,
    failures: u32,
}

impl Patience {
    const BASE_MS: u64 = 100;
    const MAX_MS: u64 = 5_000;

    pub(super) fn new(store: &Store, doing: &'static str) -> Self {
        Patience {
            voice: store.outage().voice(doing),
            failures: 0,
        }
    }

    pub(super) async fn failed(&mut self, error: &StoreError, stopper: &Stopper) {
        self.voice.failed(error);
        let ceiling = (Self::BASE_MS << self.failures.min(10)).min(Self::MAX_MS);
        self.failures = self.failures.saturating_add(1);
        let wait = rand::rng().random_range(Self::BASE_MS / 2..=ceiling);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            () = stopper.halted() => {}
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.voice.works();
        self.failures = 0;
    }
}
