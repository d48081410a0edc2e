//! What happens after an end, by itself: windows run out and are asked to be erased, and what was deleted is looked up
//! again in case somebody brings it back.
//!
//! Any process may have this role; one leads at a time, by a term that it cannot outlive. Nothing is deleted here: what
//! is to go is asked for by requests to the same queue as everybody's, under keys that make asking twice harmless.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::connectors::Systems;
use crate::stopper::Stopper;
use crate::store::{Store, StoreError, Term, Wake};
use crate::telemetry::Instruments;

mod batches;
mod settings;
mod watching;
pub use settings::Settings;

/// The role in `sexton.terms`.
const ROLE: &str = "retention";
/// A leader that is silent for this long is replaced. Each turn renews it; a turn is a few statements long.
const TERM: Duration = Duration::from_secs(15);
/// A purge that was asked for and still stands is asked for again: by then the first asking is lost or was turned away.
const AGAIN: Duration = Duration::from_secs(300);
/// Nothing more is asked for while the outbox is as full as this: what is there goes first.
const OUTBOX_MAX_ROWS: i64 = 5_000;

/// Between two looks for calls that are old enough to be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(10);

pub struct Retention {
    pub settings: Settings,
    pub store: Store,
    pub systems: Arc<Systems>,
    pub stopper: Stopper,
    /// Pokes the relay's sweep.
    pub outbox_wake: Wake,
    pub instruments: Instruments,
}

/// What it counts for itself.
#[derive(Default)]
struct Tally {
    purges: AtomicU64,
    reappeared: AtomicU64,
}

/// What a leader need not ask twice.
#[derive(Default)]
struct Memory {
    plans: watching::Plans,
    forgot_at: Option<Instant>,
}

impl Retention {
    /// Runs until it is told to stop.
    pub async fn run(self) {
        let holder = Uuid::now_v7();
        let mut voice = self.store.outage().voice("looking for windows that have ended");
        let tally = Arc::new(Tally::default());
        self.count(&tally);
        let mut memory = Memory::default();
        while !self.stopper.is_draining() {
            let more = match self.turn(holder, &tally, &mut memory).await {
                Ok(more) => {
                    voice.works();
                    more
                }
                Err(error) => {
                    voice.failed(&error);
                    false
                }
            };
            if more {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(self.settings.every) => {}
                () = self.stopper.draining() => {}
            }
        }
        // Others need not wait for the term to run out; if this fails, they do.
        if let Ok(Some(term)) = self.store.lead(ROLE, holder, TERM).await {
            let _ = self.store.step_down(&term).await;
        }
    }

    /// One page of each. Whether there may be more at once.
    async fn turn(&self, holder: Uuid, tally: &Tally, memory: &mut Memory) -> Result<bool, StoreError> {
        let Some(term) = self.store.lead(ROLE, holder, TERM).await? else {
            return Ok(false);
        };
        let batches = self.batches().await?;
        self.forget(memory).await?;
        if self.store.outbox_depth().await? >= OUTBOX_MAX_ROWS {
            return Ok(batches);
        }
        let purges = self.purges(&term, tally).await?;
        let watches = self.watches(&term, tally, &mut memory.plans).await?;
        Ok(purges || watches || batches)
    }

    /// Calls that are old enough, a page in a while: a day's worth goes in an hour, and nobody notices.
    async fn forget(&self, memory: &mut Memory) -> Result<(), StoreError> {
        let due = memory
            .forgot_at
            .is_none_or(|at| at.elapsed() >= FORGET_EVERY.min(self.settings.calls_kept));
        if due {
            self.store.forget_calls(self.settings.calls_kept).await?;
            memory.forgot_at = Some(Instant::now());
        }
        Ok(())
    }

    async fn purges(&self, term: &Term, tally: &Tally) -> Result<bool, StoreError> {
        let page = i64::from(self.settings.page_max);
        let asked = self.store.ask_for_purges(term, page, AGAIN).await?.unwrap_or(0);
        if asked > 0 {
            tally.purges.fetch_add(asked, Ordering::Relaxed);
            self.outbox_wake.poke();
        }
        Ok(asked >= u64::from(self.settings.page_max))
    }

    fn count(&self, tally: &Arc<Tally>) {
        let (purges, reappeared) = (tally.clone(), tally.clone());
        self.instruments.watch_counter(
            "retention_purges_asked",
            "Purges asked for, since their restore windows have ended",
            move || purges.purges.load(Ordering::Relaxed),
        );
        self.instruments.watch_counter(
            "retention_reappeared",
            "Targets found there again after they were deleted",
            move || reappeared.reappeared.load(Ordering::Relaxed),
        );
    }
}
