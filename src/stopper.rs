//! Stopping, in two phases, and the gate that every effect passes.
//!
//! Phase one (*drain*): take nothing new, finish what runs. Phase two (*halt*): hand back what is left. The gate is
//! looked at in the last moment before an effect: it is shut by a halt, by a signal for that deletion, or once the
//! lease no longer outlasts the effect's hard timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Boottime;

#[derive(Clone, Debug, Default)]
pub struct Stopper {
    drain: CancellationToken,
    halt: CancellationToken,
}

impl Stopper {
    pub fn new() -> Self {
        Self::default()
    }

    /// Phase one: nothing new is taken.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Phase two, which implies the first: what still runs is handed back.
    pub fn halt(&self) {
        self.drain.cancel();
        self.halt.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub fn is_halted(&self) -> bool {
        self.halt.is_cancelled()
    }

    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    pub async fn halted(&self) {
        self.halt.cancelled().await;
    }

    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    pub fn halt_token(&self) -> CancellationToken {
        self.halt.clone()
    }
}

/// Until when this process may believe that it holds its lanes; written by the heartbeat, read by every gate.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<AtomicU64>);

impl Lease {
    /// `until` is counted from *before* the renewal was sent, so that a slow answer never lengthens the lease.
    pub fn renew(&self, until: Boottime) {
        self.0.fetch_max(until.as_millis(), Ordering::SeqCst);
    }

    /// The lease is known to be lost: nothing may begin any more.
    pub fn lose(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    pub fn left(&self) -> Duration {
        Boottime::from_millis(self.0.load(Ordering::SeqCst)).left()
    }
}

/// The last look before an effect. Cheap to ask; a connector that acts in parts asks before each part.
#[derive(Clone, Debug)]
pub struct Gate {
    lease: Lease,
    stopper: Stopper,
    /// Signals that are there, and those that whoever decides for this deletion has taken in.
    said: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
}

impl Gate {
    pub fn new(lease: Lease, stopper: Stopper) -> Self {
        Gate {
            lease,
            stopper,
            said: Arc::default(),
            heard: Arc::default(),
        }
    }

    /// For one-off work outside the engine (probing from the command line, tests): open until told otherwise.
    pub fn always() -> Self {
        let lease = Lease::default();
        lease.renew(Boottime::now().plus(Duration::from_secs(365 * 24 * 3600)));
        Gate::new(lease, Stopper::new())
    }

    /// May an effect that lasts at most `hard_timeout` begin now?
    pub fn is_open_for(&self, hard_timeout: Duration) -> bool {
        !self.is_shut() && !self.stopper.is_halted() && self.lease.left() > hard_timeout
    }

    /// So many signals have come for this deletion; the gate is shut until they are heard.
    pub fn say(&self, signals: usize) {
        self.said.fetch_max(signals, Ordering::SeqCst);
    }

    /// So many signals went into the latest decision. One that comes in between shuts the gate all the same.
    pub fn hear(&self, signals: usize) {
        self.heard.fetch_max(signals, Ordering::SeqCst);
    }

    pub fn is_shut(&self) -> bool {
        self.said.load(Ordering::SeqCst) > self.heard.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_03_no_effect_begins_that_the_lease_would_not_outlast() {
        let lease = Lease::default();
        let gate = Gate::new(lease.clone(), Stopper::new());
        assert!(!gate.is_open_for(Duration::ZERO), "no lease yet");
        lease.renew(Boottime::now().plus(Duration::from_secs(10)));
        assert!(gate.is_open_for(Duration::from_secs(5)));
        assert!(!gate.is_open_for(Duration::from_secs(11)));
        lease.lose();
        assert!(!gate.is_open_for(Duration::from_secs(1)));
    }

    #[test]
    fn a_halt_and_a_signal_shut_the_gate_but_a_drain_does_not() {
        let stopper = Stopper::new();
        let lease = Lease::default();
        lease.renew(Boottime::now().plus(Duration::from_secs(10)));
        let gate = Gate::new(lease.clone(), stopper.clone());
        let other = Gate::new(lease, stopper.clone());
        stopper.drain();
        assert!(gate.is_open_for(Duration::from_secs(1)));
        gate.say(1);
        assert!(!gate.is_open_for(Duration::from_secs(1)));
        gate.hear(1);
        assert!(gate.is_open_for(Duration::from_secs(1)));
        gate.say(2);
        assert!(!gate.is_open_for(Duration::from_secs(1)));
        assert!(other.is_open_for(Duration::from_secs(1)));
        stopper.halt();
        assert!(!other.is_open_for(Duration::from_secs(1)));
    }
}
