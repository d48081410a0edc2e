//! Bulks are admitted one after the other, beside what comes alone: the intake reads on meanwhile.
//!
//! Nothing is acknowledged early by this. The broker's ledger lets a later batch's acknowledgement wait for every
//! earlier one, so what comes alone is settled with the bulk before it. After a crash in between it comes again, and is
//! a copy. What waits here counts as unacknowledged, so `broker.prefetch` bounds it.

use std::collections::VecDeque;

use tokio::task::JoinSet;

use super::{Reception, Undecided};
use crate::broker::{Batch, Delivery};
use crate::stopper::Stopper;

#[derive(Default)]
pub(super) struct Bulks {
    /// The one that is being admitted; dropped with its task, it goes back to the queue.
    now: Option<Batch>,
    task: JoinSet<Result<(), Undecided>>,
    waiting: VecDeque<Waiting>,
}

/// A batch of which all but the bulks is decided.
struct Waiting {
    batch: Batch,
    bulks: Vec<Delivery>,
    reception: Reception,
    stopper: Stopper,
}

impl Bulks {
    pub(super) fn is_empty(&self) -> bool {
        self.now.is_none()
    }

    pub(super) fn add(
        &mut self,
        batch: Batch,
        bulks: Vec<Delivery>,
        reception: &Reception,
        stopper: &Stopper,
    ) {
        self.waiting.push_back(Waiting {
            batch,
            bulks,
            reception: reception.clone(),
            stopper: stopper.clone(),
        });
        if self.now.is_none() {
            self.begin();
        }
    }

    /// The next batch that is decided in all its parts; if it cannot be, all of them are to be given back. Whoever stops
    /// waiting for it loses nothing. Never resolves while there is none.
    pub(super) async fn done(&mut self) -> Result<Batch, Undecided> {
        let decided = match self.task.join_next().await {
            Some(Ok(decided)) => decided,
            // As if it had happened in the intake itself, which ends the process.
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(Err(_)) => Err(Undecided(None)),
            None => std::future::pending().await,
        };
        match (decided, self.now.take()) {
            (Ok(()), Some(batch)) => {
                self.begin();
                Ok(batch)
            }
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(Undecided(None)),
        }
    }

    /// Before the end: if the one that is under way has its last part in, it is decided; all else goes back to the queue.
    pub(super) async fn last(&mut self) -> Option<Result<Batch, Undecided>> {
        self.waiting.clear();
        match self.is_empty() {
            true => None,
            false => Some(self.done().await),
        }
    }

    /// A part that a lane is at is committed all the same; the redelivery finds copies.
    pub(super) fn give_back(&mut self) {
        self.task.abort_all();
        self.task.detach_all();
        self.waiting.clear();
        self.now = None;
    }

    fn begin(&mut self) {
        let Some(Waiting {
            batch,
            bulks,
            mut reception,
            stopper,
        }) = self.waiting.pop_front()
        else {
            return;
        };
        self.now = Some(batch);
        self.task.spawn(async move {
            for bulk in &bulks {
                reception.decide_bulk(bulk, &stopper).await?;
            }
            Ok(())
        });
    }
}
