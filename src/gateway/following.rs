//! Everybody who follows, looked after by one task, as those who wait are: one question to the tables for all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::stopper::Stopper;
use crate::store::{LOOK_MAX_ROWS, Pulse, Store, StoreError};

/// A person watches; twice a second is at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What is followed at once: ten pages of one look.
const FOLLOWED_MAX: usize = 10 * LOOK_MAX_ROWS;

/// Cheap to clone: all of it is shared with its clones.
#[derive(Clone, Default)]
pub(super) struct Following {
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    followed: Mutex<HashMap<Uuid, watch::Sender<Option<Pulse>>>>,
    arrived: Notify,
}

/// Somebody who follows one thing.
pub(super) struct Follower {
    pulses: watch::Receiver<Option<Pulse>>,
    last: Option<Pulse>,
}

impl Follower {
    /// The next change; what lies between two looks is one. `None`: nobody looks any more.
    pub(super) async fn next(&mut self) -> Option<Pulse> {
        loop {
            let pulse = self.pulses.borrow_and_update().clone();
            if pulse.is_some() && pulse != self.last {
                self.last.clone_from(&pulse);
                return pulse;
            }
            self.pulses.changed().await.ok()?;
        }
    }
}

impl Following {
    /// `None`: there are as many as there may be.
    pub(super) fn follow(&self, id: Uuid) -> Option<Follower> {
        let mut followed = self.followed();
        if followed.len() >= FOLLOWED_MAX && !followed.contains_key(&id) {
            return None;
        }
        let pulses = followed
            .entry(id)
            .or_insert_with(|| watch::channel(None).0)
            .subscribe();
        self.desk.arrived.notify_one();
        Some(Follower { pulses, last: None })
    }

    pub(super) async fn run(self, store: Store, stopper: Stopper) {
        let mut voice = store.outage().voice("looking at what is followed");
        loop {
            self.followed().retain(|_, tell| tell.receiver_count() > 0);
            if self.followed().is_empty() {
                tokio::select! {
                    () = self.desk.arrived.notified() => {}
                    () = stopper.draining() => return,
                }
            }
            match self.look(&store).await {
                Ok(()) => voice.works(),
                Err(error) => voice.failed(&error),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.desk.arrived.notified() => {}
                () = stopper.draining() => return,
            }
        }
    }

    async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = self.followed().keys().copied().collect();
        for page in ids.chunks(LOOK_MAX_ROWS) {
            for (id, pulse) in store.pulses(page).await? {
                if let Some(tell) = self.followed().get(&id) {
                    tell.send_if_modified(|kept| {
                        let is_new = kept.as_ref() != Some(&pulse);
                        *kept = Some(pulse);
                        is_new
                    });
                }
            }
        }
        Ok(())
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<Option<Pulse>>>> {
        self.desk.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
