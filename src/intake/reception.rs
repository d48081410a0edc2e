//! What becomes of each request: admitted, or turned away with its reason. Both are committed when it says so.

use std::sync::Arc;

use time::OffsetDateTime;
use tracing::Instrument;
use uuid::Uuid;

use super::read::{Read, Received, read, requests_of, turned_away};
use super::{Settings, Undecided};
use crate::broker::{Delivery, Message, Outlet, PublishOutcome};
use crate::clock;
use crate::decide::access::Speakers;
use crate::decide::{self, Known};
use crate::deletion::{DeletionId, Rejection, RejectionReason, RequestId, SignalKind, TurnedAway};
use crate::engine::{Admissions, PlanBook};
use crate::stopper::Stopper;
use crate::store::{Admission, Candidate, Store, StoreError, Wake};
use crate::telemetry::{self, Instruments};

/// Cheap to clone: all of it is shared with its clones.
#[derive(Clone)]
pub struct Reception {
    pub settings: Settings,
    pub outlet: Outlet,
    pub store: Store,
    pub book: PlanBook,
    pub speakers: Arc<Speakers>,
    pub admissions: Admissions,
    pub instruments: Instruments,
    /// Pokes the relay's sweep: rejections and announcements do not pass through its memory.
    pub outbox_wake: Wake,
}

impl Reception {
    /// Decides all but the bulks, which are handed back: those are well formed, and are admitted in parts.
    pub(super) async fn decide(&mut self, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, Undecided> {
        let now = clock::now();
        let Read {
            received,
            bulks,
            mut rejections,
            oversized,
        } = read(deliveries);
        for (delivery, rejection) in oversized {
            rejections.push(self.pass_on_oversized(delivery, rejection).await?);
        }
        self.admit(received, now, &mut rejections).await?;
        self.reject(now, &rejections).await?;
        Ok(bulks)
    }

    /// One bulk, a transaction for each part. What is wrong with single ones is told when all parts are in. In a stop the
    /// rest is not begun: lanes that have nothing left to do are gone before ten thousand are in.
    pub(super) async fn decide_bulk(&mut self, bulk: &Delivery, stopper: &Stopper) -> Result<(), Undecided> {
        let now = clock::now();
        let mut rejections = Vec::new();
        match requests_of(bulk) {
            Ok(requests) => {
                let mut rest = requests.into_iter().peekable();
                while rest.peek().is_some() {
                    if stopper.is_draining() {
                        return Err(Undecided(None));
                    }
                    let part = rest.by_ref().take(self.settings.batch_max).collect();
                    self.admit(part, now, &mut rejections).await?;
                }
            }
            Err(rejection) => rejections.push(turned_away(bulk, *rejection, true)),
        }
        self.reject(now, &rejections).await
    }

    async fn reject(&self, now: OffsetDateTime, rejections: &[TurnedAway]) -> Result<(), Undecided> {
        for part in rejections.chunks(self.settings.batch_max) {
            self.store.reject(now, part).await?;
            self.outbox_wake.poke();
            for rejected in part {
                self.instruments.request_rejected(rejected.rejection.reason);
            }
        }
        Ok(())
    }

    /// One transaction; what is turned away joins the rejections.
    async fn admit(
        &mut self,
        received: Vec<Received>,
        now: OffsetDateTime,
        rejections: &mut Vec<TurnedAway>,
    ) -> Result<(), Undecided> {
        let mut ready = Vec::with_capacity(received.len());
        let mut candidates = Vec::with_capacity(received.len());
        for received in received {
            match self.candidate(&received, now).await? {
                Ok(candidate) => {
                    candidates.push(candidate);
                    ready.push(received);
                }
                Err(rejection) => rejections.push(received.turned_away(*rejection)),
            }
        }
        if !candidates.is_empty() {
            let traces = candidates
                .iter()
                .map(|candidate| &candidate.request.envelope.trace);
            let span = telemetry::spans::admission(candidates.len(), traces);
            let fates = self
                .admissions
                .admit(candidates)
                .instrument(span)
                .await
                .map_err(|_| Undecided(None))?;
            for (fate, received) in fates.into_iter().zip(ready) {
                if let Some(rejection) = self.count(fate, &received).await? {
                    rejections.push(received.turned_away(rejection));
                }
            }
        }
        Ok(())
    }

    /// The rules that need no table but the plans'.
    async fn candidate(
        &self,
        received: &Received,
        now: OffsetDateTime,
    ) -> Result<Result<Candidate, Box<Rejection>>, StoreError> {
        let request = &received.request;
        if let Err(detail) = self
            .speakers
            .may_speak(received.user.as_deref(), &request.target.tenant)
        {
            let reason = RejectionReason::NotAllowed;
            return Ok(Err(Box::new(Rejection::of(request, reason, "/tenant", detail))));
        }
        let kind = &request.target.kind;
        let current = self.book.current(kind);
        let known = match &current {
            Some(stored) => Known::Current(&stored.plan),
            None if self.book.is_retired(kind) || self.store.type_is_known(kind).await? => Known::Retired,
            None => Known::Never,
        };
        Ok(decide::admit(request, known, now).map(|admitted| Candidate {
            request: request.clone(),
            request_id: RequestId(Uuid::now_v7()),
            deletion_id: DeletionId(Uuid::now_v7()),
            plan: current.as_ref().map_or(0, |stored| stored.id),
            restorable: admitted.restorable,
            deadline: admitted.deadline,
            keep: false,
        }))
    }

    /// What admission made of a request; a rejection is still to be stored.
    async fn count(&self, fate: Admission, received: &Received) -> Result<Option<Rejection>, Undecided> {
        let by = received.request.requested_by.as_deref();
        match fate {
            Admission::Kept(_) | Admission::Left | Admission::Waits => self.instruments.requests_admitted(1),
            Admission::Folded => {
                self.instruments.requests_admitted(1);
                self.instruments.requests_folded(1);
            }
            Admission::Copy { signal, .. } => {
                self.instruments.requests_copies(1);
                self.cancel(signal, by).await?;
            }
            Admission::Signals(deletion) => {
                self.instruments.requests_admitted(1);
                self.cancel(Some(deletion), by).await?;
            }
            Admission::Away(rejection) => return Ok(Some(*rejection)),
        }
        Ok(None)
    }

    /// A cancel is a signal to the deletion; heard before any further intent is granted, or too late.
    async fn cancel(&self, deletion: Option<DeletionId>, by: Option<&str>) -> Result<(), Undecided> {
        if let Some(deletion) = deletion {
            self.store
                .signal(deletion, SignalKind::Cancel, by.unwrap_or("publisher"), None)
                .await?;
        }
        Ok(())
    }

    /// A body over the bound never enters the tables: the broker takes it whole, confirmed, before the rejection is
    /// committed and the delivery acknowledged. A crash in between sends it twice; that is the better side.
    async fn pass_on_oversized(
        &self,
        delivery: Delivery,
        rejection: Rejection,
    ) -> Result<TurnedAway, Undecided> {
        let rejected = turned_away(&delivery, rejection, false);
        let message = Message::rejected(&rejected, delivery.body, RequestId(Uuid::now_v7()));
        let outcome = self.outlet.publish(message).await;
        match outcome {
            PublishOutcome::Confirmed => Ok(rejected),
            _ => Err(Undecided(None)),
        }
    }
}
