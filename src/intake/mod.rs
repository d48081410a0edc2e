//! The door in: requests from AMQP, admitted in batches, acknowledged after the commit and not before.
//!
//! Every delivery ends in one of two ways, both durable before the acknowledgement: admitted, or rejected with its
//! reason. When neither can be had (the database is away), nothing is requeued one by one: consuming stops, the
//! broker keeps everything, and it begins again when the tables answer.

mod read;

use std::time::Duration;

use rand::RngExt;
use serde::Deserialize;
use time::OffsetDateTime;
use tracing::Instrument;
use uuid::Uuid;

use crate::broker::{Acked, Batch, Delivery, Inlet, Message, Outlet, PublishOutcome};
use crate::clock;
use crate::decide::{self, Known};
use crate::deletion::{DeletionId, Rejection, RequestId, SignalKind, TurnedAway};
use crate::engine::{Admissions, PlanBook};
use crate::stopper::Stopper;
use crate::store::{Admission, Candidate, Store, StoreError, Wake};
use crate::telemetry::{self, Instruments};
use read::{Read, Received, read, requests_of, turned_away};

/// Between a batch that could not be decided and the next try: so long at first, twice as long each time, never longer
/// than the last. Every try costs each message a delivery, and those are limited (see `broker/topology.rs`).
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Requests of one admission, which is one transaction.
    pub batch_max: usize,
    /// How long a batch waits for company after its first request.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Whether the world is told of every accepted request as well, beside its outcome.
    pub announce_accepted: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            batch_max: 500,
            linger: Duration::from_millis(2),
            announce_accepted: false,
        }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if !(1..=5_000).contains(&self.batch_max) {
            return Err(format!(
                "intake.batch_max: found {}; wanted 1 to 5000",
                self.batch_max
            ));
        }
        if self.linger > Duration::from_secs(1) {
            return Err(format!(
                "intake.linger: found {:?}; wanted at most 1s",
                self.linger
            ));
        }
        Ok(())
    }
}

pub struct Intake {
    pub settings: Settings,
    pub inlet: Inlet,
    pub outlet: Outlet,
    pub store: Store,
    pub book: PlanBook,
    pub admissions: Admissions,
    pub instruments: Instruments,
    pub stopper: Stopper,
    /// Pokes the relay's sweep: rejections and announcements do not pass through its memory.
    pub outbox_wake: Wake,
}

/// Nothing was decided about the batch.
struct Undecided(Option<StoreError>);

impl From<StoreError> for Undecided {
    fn from(error: StoreError) -> Self {
        Undecided(Some(error))
    }
}

impl Intake {
    pub async fn run(mut self) {
        let mut voice = self.store.outage().voice("admitting requests");
        let mut undecided = 0;
        while let Some(mut batch) = self
            .inlet
            .next_batch(self.settings.batch_max, self.settings.linger)
            .await
        {
            match self.decide(batch.take()).await {
                Ok(()) => {
                    voice.works();
                    undecided = 0;
                    self.acknowledge(batch).await;
                }
                Err(Undecided(error)) => {
                    batch.give_back();
                    self.inlet.hold().await;
                    match error {
                        Some(error) => voice.failed(&error),
                        None => {
                            tracing::debug!("requests were not admitted; the broker keeps them meanwhile")
                        }
                    }
                    self.until_the_tables_answer(undecided).await;
                    undecided += 1;
                }
            }
        }
        self.inlet.close().await;
    }

    async fn acknowledge(&self, batch: Batch) {
        match batch.ack().await {
            Acked::Sent | Acked::Waits => {}
            // The channel is gone; what was committed is committed, and the redelivery is a copy of it.
            Acked::NotSent => {
                tracing::debug!("an acknowledgement could not be sent; expecting the redelivery")
            }
        }
    }

    async fn decide(&mut self, deliveries: Vec<Delivery>) -> Result<(), Undecided> {
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
        // One alone goes before those of a bulk, and a bulk is admitted in parts.
        self.admit(received, now, &mut rejections).await?;
        for bulk in bulks {
            let requests = match requests_of(&bulk) {
                Ok(requests) => requests,
                Err(rejection) => {
                    rejections.push(turned_away(&bulk, *rejection, true));
                    continue;
                }
            };
            let mut rest = requests.into_iter().peekable();
            while rest.peek().is_some() {
                let part = rest.by_ref().take(self.settings.batch_max).collect();
                self.admit(part, now, &mut rejections).await?;
            }
        }
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
            Admission::Copy { signal } => {
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

    async fn until_the_tables_answer(&self, undecided: u32) {
        let ceiling = RETRY_FIRST.saturating_mul(1 << undecided.min(16)).min(RETRY_LAST);
        loop {
            let wait = ceiling.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::select! {
                () = self.stopper.draining() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if self.store.ping().await.is_ok() {
                return;
            }
        }
    }
}
