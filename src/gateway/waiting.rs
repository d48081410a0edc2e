//! Everybody who waits for an outcome, looked after by one task: one question to the tables for all of them.
//!
//! A hint (LISTEN) makes it look at once; the clock makes it look in any case. So a thousand callers cost no connection
//! of their own, and none is forgotten when a hint is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::deletion::{CallId, Tenant};
use crate::stopper::Stopper;
use crate::store::{BatchStand, Called, LOOK_MAX_ROWS, Store, StoreError, Wake};

/// Hints may be lost; nobody waits for an outcome that is there for longer than this.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two looks, for each caller that waits: with a thousand of them a look takes Postgres some milliseconds, and
/// hints come a hundred times a second.
const REST_FOR_EACH: Duration = Duration::from_micros(20);

type Batch = (Tenant, String);

/// Cheap to clone: all of it is shared with its clones.
#[derive(Clone)]
pub(super) struct Waiting {
    desk: Arc<Desk>,
    stopper: Stopper,
}

#[derive(Default)]
struct Desk {
    calls: Mutex<HashMap<CallId, Vec<oneshot::Sender<Called>>>>,
    batches: Mutex<HashMap<Batch, Vec<oneshot::Sender<BatchStand>>>>,
    arrived: Notify,
}

fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    pub(super) fn new(stopper: Stopper) -> Self {
        Waiting {
            desk: Arc::default(),
            stopper,
        }
    }

    /// `None`: it was not told in time, or this process stops.
    pub(super) async fn call(&self, id: CallId, until: Instant) -> Option<Called> {
        let (tell, told) = oneshot::channel();
        open(&self.desk.calls).entry(id).or_default().push(tell);
        self.desk.arrived.notify_one();
        self.within(until, told).await
    }

    /// `None`: it was not over in time, or this process stops.
    pub(super) async fn batch(&self, batch: Batch, until: Instant) -> Option<BatchStand> {
        let (tell, told) = oneshot::channel();
        open(&self.desk.batches).entry(batch).or_default().push(tell);
        self.desk.arrived.notify_one();
        self.within(until, told).await
    }

    async fn within<T>(&self, until: Instant, told: oneshot::Receiver<T>) -> Option<T> {
        tokio::select! {
            told = told => told.ok(),
            () = tokio::time::sleep_until(until) => None,
            () = self.stopper.draining() => None,
        }
    }

    /// Looks until everybody has gone.
    pub(super) async fn run(self, store: Store, hints: Wake) {
        let mut voice = store.outage().voice("looking at what callers wait for");
        loop {
            let count = self.count();
            if count == 0 {
                tokio::select! {
                    () = self.desk.arrived.notified() => {}
                    () = self.stopper.halted() => return,
                }
            } else {
                let rest = REST_FOR_EACH * u32::try_from(count).unwrap_or(u32::MAX);
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY.max(rest)) => {}
                    () = async { hints.wait().await; tokio::time::sleep(rest).await } => {}
                    () = self.stopper.halted() => return,
                }
            }
            match self.look(&store).await {
                Ok(()) => voice.works(),
                Err(error) => voice.failed(&error),
            }
        }
    }

    /// Those who still wait; who has gone is forgotten.
    fn count(&self) -> usize {
        fn prune<K, T>(all: &mut HashMap<K, Vec<oneshot::Sender<T>>>) -> usize {
            all.retain(|_, tell| {
                tell.retain(|tell| !tell.is_closed());
                !tell.is_empty()
            });
            all.len()
        }
        prune(&mut open(&self.desk.calls)) + prune(&mut open(&self.desk.batches))
    }

    async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let ids: Vec<CallId> = open(&self.desk.calls).keys().copied().collect();
        for page in ids.chunks(LOOK_MAX_ROWS) {
            for called in store.look_at_calls(page).await? {
                if !called.stand.is_told() {
                    continue;
                }
                for tell in open(&self.desk.calls).remove(&called.id).unwrap_or_default() {
                    // Whoever has gone meanwhile asks again.
                    let _ = tell.send(called.clone());
                }
            }
        }
        let batches: Vec<Batch> = open(&self.desk.batches).keys().cloned().collect();
        for page in batches.chunks(LOOK_MAX_ROWS) {
            for (batch, stand) in store.look_at_batches(page).await? {
                if !stand.is_over() {
                    continue;
                }
                for tell in open(&self.desk.batches).remove(&batch).unwrap_or_default() {
                    let _ = tell.send(stand.clone());
                }
            }
        }
        Ok(())
    }
}
