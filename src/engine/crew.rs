//! One worker's life: registered, its lanes at work, its lease kept, until it is stopped or somebody took over.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::lane::{Ask, Gone, Lane};
use super::{NotAdmitted, Shared, shut, watch};
use crate::crash::{self, CrashPoint};
use crate::store::{Admission, Candidate, StoreError, Worker};
use crate::telemetry;

/// After a halt the lanes only have to write what the drives hand back; a database that takes longer is gone.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// How long an admission waits for room in flight. A batch of 500 that never finds any still makes 5,000 a second.
const ROOM_WAIT_MAX: Duration = Duration::from_millis(100);

pub(super) struct Crew {
    worker: Worker,
    span: Duration,
    mailboxes: Vec<mpsc::Sender<Ask>>,
    lanes: Mutex<Vec<(Lane, mpsc::Receiver<Ask>)>>,
}

pub(super) enum Parted {
    Stopped,
    Lost,
}

impl Crew {
    pub(super) async fn muster(shared: &Shared, lanes: u16, lease: Duration) -> Result<Self, StoreError> {
        let worker = shared.parts.store.register(lanes, lease).await?;
        let mut mailboxes = Vec::new();
        let mut all = Vec::new();
        for lane in &worker.lanes {
            let (lane, mailbox, asks) = Lane::new(shared.clone(), *lane, worker.lease.clone());
            mailboxes.push(mailbox);
            all.push((lane, asks));
        }
        tracing::info!(worker = %worker.id, lanes = worker.lanes.len(), "at work");
        Ok(Crew {
            worker,
            span: lease,
            mailboxes,
            lanes: Mutex::new(all),
        })
    }

    pub(super) fn has_lease(&self) -> bool {
        !self.worker.lease.left().is_zero()
    }

    pub(super) async fn admit(
        &self,
        turn: usize,
        mut candidates: Vec<Candidate>,
        shared: &Shared,
    ) -> Result<Vec<Admission>, NotAdmitted> {
        // A saturated engine makes room in a moment: then the lane keeps what it admits, which spares each of them a claim
        // (a commit shared, and a version of its row). A stuck one holds up nobody for long.
        let single = candidates
            .iter()
            .filter(|candidate| candidate.request.batch.is_none());
        let wanted = single.count().min(shared.settings.in_flight_max);
        if let Ok(wanted @ 1..) = u32::try_from(wanted) {
            let _room = tokio::time::timeout(ROOM_WAIT_MAX, shared.permits.acquire_many(wanted)).await;
        }
        // What there is room for is kept and begun at once; the rest waits in the tables for whoever has room.
        let free = shared.permits.available_permits();
        let mut batched = shared.batched.room();
        for (place, candidate) in candidates.iter_mut().enumerate() {
            let has_room = match candidate.request.batch {
                Some(_) => {
                    batched = batched.saturating_sub(1);
                    batched > 0
                }
                None => true,
            };
            candidate.keep = has_room && place < free && shared.parts.book.can_run(candidate.plan);
        }
        let mailbox = &self.mailboxes[turn % self.mailboxes.len()];
        let (answer, told) = oneshot::channel();
        mailbox
            .send(Ask::Admit(candidates, answer))
            .await
            .map_err(|_| NotAdmitted)?;
        match told.await {
            Ok(Ok(fates)) => Ok(fates),
            Ok(Err(error)) => {
                tracing::debug!(error = %telemetry::chain(&error), "a batch of requests was not admitted");
                Err(NotAdmitted)
            }
            Err(_) => Err(NotAdmitted),
        }
    }

    pub(super) async fn work(self: &Arc<Self>, shared: &Shared) -> Parted {
        let mut lanes = JoinSet::new();
        for (lane, asks) in self
            .lanes
            .lock()
            .map(|mut lanes| std::mem::take(&mut *lanes))
            .unwrap_or_default()
        {
            lanes.spawn(lane.work(asks));
        }
        let all_lanes = async {
            while let Some(done) = lanes.join_next().await {
                if !matches!(done, Ok(Ok(()))) {
                    return Parted::Lost;
                }
            }
            Parted::Stopped
        };
        let parted = tokio::select! {
            parted = all_lanes => parted,
            parted = watch::keep_lease(shared, &self.worker, self.span) => parted,
            () = self.beside(shared) => Parted::Lost,
            () = out_of_time(shared) => Parted::Stopped,
        };
        if matches!(parted, Parted::Lost) {
            // Nothing may be begun or written under this name any more.
            self.worker.lease.lose();
        }
        lanes.shutdown().await;
        if matches!(parted, Parted::Stopped)
            && let Err(error) = shared.parts.store.sign_off(&self.worker).await
        {
            tracing::debug!(error = %telemetry::chain(&error), "could not sign off; the lease runs out by itself");
        }
        parted
    }

    /// What goes on beside the lanes; none of it ends by itself.
    async fn beside(&self, shared: &Shared) {
        tokio::join!(
            watch::listen(shared, &self.worker),
            watch::look_after_the_silent(shared, self.span),
            watch::upkeep(shared, self.span),
            shut::tell(shared, &self.worker),
            halt_after_drain(shared),
        );
    }
}

/// Phase two of a stop: what still runs when the drain's time is up is handed back.
async fn halt_after_drain(shared: &Shared) {
    shared.stopper.draining().await;
    crash::point(CrashPoint::DrainAfterBegin);
    tokio::select! {
        () = tokio::time::sleep(shared.settings.drain) => shared.stopper.halt(),
        () = shared.stopper.halted() => {}
    }
    std::future::pending::<()>().await;
}

async fn out_of_time(shared: &Shared) {
    shared.stopper.halted().await;
    tokio::time::sleep(LAST_WORDS_MAX).await;
}

impl From<Gone> for Parted {
    fn from(_: Gone) -> Self {
        Parted::Lost
    }
}
