//! One lane: the only writer of the deletions it holds. What arrives while one batch commits is the next batch.
//!
//! The loop has three kinds of work, in this order: records (somebody waits to go on), admissions (a publisher's
//! acknowledgement waits), claims (nobody waits). Trouble with the database is met here, once, for all of them.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::Shared;
use super::claims::{CLAIM_MIN, Claims};
use super::drive::Drive;
use super::lane_batch::Pending;
use super::lane_writer::RECONCILE_EVERY;
use super::watch::Patience;
use crate::decide::Signal;
use crate::deletion::DeletionId;
use crate::stopper::{Gate, Lease};
use crate::store::{Admission, Candidate, Claimed, LaneWriter, Outgoing, Record, Release, StoreError};

/// What a lane is asked for.
pub(super) enum Ask {
    /// The record, the event to publish once it is committed, and where to answer.
    Write(Box<Record>, Option<Box<Outgoing>>, oneshot::Sender<Told>),
    Release(Release, oneshot::Sender<Told>),
    Admit(
        Vec<Candidate>,
        oneshot::Sender<Result<Vec<Admission>, StoreError>>,
    ),
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Told {
    Written,
    /// Not written: these signals are new. Decide again.
    Signals(Vec<Signal>),
    /// Somebody else has the deletion, or everything is lost. Let go without a word.
    LetGo,
    /// Postgres cannot keep what is in it.
    Unkeepable(String),
}

/// What the lane knows of a deletion in flight.
pub(super) struct Held {
    pub tenure: i32,
    pub gate: Gate,
    pub signals: Vec<Signal>,
}

pub(super) struct Lane {
    pub shared: Shared,
    pub lane: i64,
    pub lease: Lease,
    pub generation: i64,
    pub held: HashMap<DeletionId, Held>,
    pub writer: Option<LaneWriter>,
    /// The lane's own end of its mailbox, for the deletions that it sets going.
    pub mailbox: mpsc::Sender<Ask>,
    pub drives: tokio::task::JoinSet<Parting>,
    pub claims: Claims,
    /// Across connections and statements: an outage is said once, also if each try gets as far as connecting.
    pub patience: Patience,
    pub reconcile_at: Instant,
}

/// A drive that has ended, by the tenure that it had: its deletion may be here again under a later one.
pub(super) struct Parting {
    id: DeletionId,
    tenure: i32,
    panicked: bool,
}

/// The lane belongs to somebody else now.
pub(super) struct Gone;

impl Lane {
    pub(super) fn new(
        shared: Shared,
        lane: i64,
        lease: Lease,
    ) -> (Self, mpsc::Sender<Ask>, mpsc::Receiver<Ask>) {
        // As many as can be in flight: a send never waits, so a lane never waits for itself.
        let (sender, receiver) = mpsc::channel(shared.settings.in_flight_max * 2 + 64);
        let patience = Patience::new(&shared.parts.store, "writing to a lane");
        let lane = Lane {
            shared,
            lane,
            lease,
            generation: 0,
            held: HashMap::new(),
            writer: None,
            mailbox: sender.clone(),
            drives: tokio::task::JoinSet::new(),
            claims: Claims::new(),
            patience,
            reconcile_at: Instant::now() + RECONCILE_EVERY,
        };
        (lane, sender, receiver)
    }

    /// Until it is drained, or lost.
    pub(super) async fn work(mut self, mut asks: mpsc::Receiver<Ask>) -> Result<(), Gone> {
        let wake = self.shared.parts.wake.clone();
        let mut pending = Pending::default();
        loop {
            let draining = self.shared.stopper.is_draining();
            if draining && self.held.is_empty() && pending.is_empty() && asks.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                ask = asks.recv() => match ask {
                    Some(ask) => pending.add(ask),
                    None => break,
                },
                Some(done) = self.drives.join_next(), if !self.drives.is_empty() => self.finished(done),
                () = wake.wait(), if !draining => {
                    self.claims.at = Instant::now();
                    self.heard().await?;
                }
                () = tokio::time::sleep_until(self.claims.at), if !draining => {}
                () = self.shared.stopper.draining(), if !draining => {}
            }
            self.gather(&mut asks, &mut pending).await;
            while let Some(done) = self.drives.try_join_next() {
                self.finished(done);
            }
            if !pending.is_empty() {
                self.settle(&mut pending).await?;
            }
            if !self.shared.stopper.is_draining() {
                self.claim_if_due().await?;
                self.forget_if_due().await?;
                self.reconcile_if_due().await?;
            }
        }
        if let Some(writer) = self.writer.take() {
            writer.close().await;
        }
        Ok(())
    }

    /// Takes what else is there; lingers only while many are in flight, since only then will more come at once.
    async fn gather(&self, asks: &mut mpsc::Receiver<Ask>, pending: &mut Pending) {
        let max = self.shared.settings.batch_max;
        while pending.writes() < max
            && let Ok(ask) = asks.try_recv()
        {
            pending.add(ask);
        }
        let worth = self.held.len().min(max) / 2;
        if pending.writes() == 0 || pending.writes() >= worth || self.held.len() < CLAIM_MIN {
            return;
        }
        let until = Instant::now() + self.shared.settings.linger_max;
        while pending.writes() < worth {
            match tokio::time::timeout_at(until, asks.recv()).await {
                Ok(Some(ask)) => pending.add(ask),
                _ => return,
            }
        }
    }

    /// A hint: have any of ours been signalled?
    async fn heard(&mut self) -> Result<(), Gone> {
        if self.held.is_empty() {
            return Ok(());
        }
        loop {
            let asked = self.writer().await?.generation().await;
            match asked {
                Ok(Some(generation)) if generation == self.generation => return Ok(()),
                Ok(Some(generation)) => return self.take_signals(generation).await,
                Ok(None) => return Err(Gone),
                Err(error) => self.trouble(&error).await?,
            }
        }
    }

    /// Reads what was said to the deletions in flight; shuts the gates of those concerned.
    pub(super) async fn take_signals(&mut self, generation: i64) -> Result<(), Gone> {
        let ids: Vec<Uuid> = self.held.keys().map(|id| id.0).collect();
        let mut all = loop {
            match self.writer().await?.signals(&ids).await {
                Ok(all) => break all,
                Err(error) => self.trouble(&error).await?,
            }
        };
        for (id, held) in &mut self.held {
            let signals = all.remove(&id.0).unwrap_or_default();
            held.gate.say(signals.len());
            held.signals = signals;
        }
        self.generation = generation;
        Ok(())
    }

    /// A drive for it, not yet set going.
    pub(super) fn drive(&self, claimed: Claimed) -> Drive {
        let gate = Gate::new(self.lease.clone(), self.shared.stopper.clone());
        Drive::new(self.shared.clone(), claimed, gate, self.mailbox.clone())
    }

    pub(super) fn set_going(&mut self, mut drive: Drive, permit: Option<OwnedSemaphorePermit>) {
        let held = Held {
            tenure: drive.opened.tenure,
            gate: drive.gate.clone(),
            signals: drive.signals.clone(),
        };
        let (id, tenure) = (drive.opened.id, held.tenure);
        self.held.insert(id, held);
        self.claims.noted = true;
        self.shared.parts.instruments.in_flight_changed(1);
        let batched = drive.opened.batch.is_some().then(|| self.shared.batched.enter());
        self.drives.spawn(async move {
            let panicked = AssertUnwindSafe(drive.run()).catch_unwind().await.is_err();
            drop((drive, permit, batched));
            Parting { id, tenure, panicked }
        });
    }

    fn finished(&mut self, done: Result<Parting, tokio::task::JoinError>) {
        self.shared.parts.instruments.in_flight_changed(-1);
        if let Ok(Parting { id, tenure, panicked }) = done {
            // What was handed back a moment ago may have been claimed again before its drive was seen to end.
            if self.held.get(&id).is_some_and(|held| held.tenure == tenure) {
                self.held.remove(&id);
            }
            if panicked {
                // Our rows still name it; a new connection hands it back, and its starts go on counting.
                tracing::error!(deletion.id = %id, "carrying a deletion panicked");
                self.writer = None;
            }
        }
    }
}
