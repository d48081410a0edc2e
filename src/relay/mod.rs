//! The door out: what the outbox holds is published with confirms, and crossed off when the broker has it.
//!
//! Two ways lead here: memory, just after the commit that made an event true, and a sweep of the table for what
//! memory lost. No transaction spans a confirm, so a crash in between publishes twice, under the same id.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::broker::{Message, Outlet, PublishOutcome};
use crate::clock::Sparing;
use crate::crash::{self, CrashPoint};
use crate::deletion::{CallId, RequestId};
use crate::stopper::Stopper;
use crate::store::{Outgoing, OutgoingBody, Store, StoreError, Wake};
use crate::telemetry::{self, Instruments};

/// Events of one publish and one crossing-off: as many as one group commit makes true.
const PAGE_MAX: usize = 500;
/// While others are being published, an event waits at most this long for company; each page is a commit.
const GATHER_MAX: Duration = Duration::from_millis(20);
/// How often the table is looked through for what memory lost.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Pages published at once: one is confirmed while the next is written.
const PAGES_AT_ONCE: usize = 4;

pub struct Relay {
    pub outlet: Outlet,
    pub store: Store,
    pub instruments: Instruments,
    pub stopper: Stopper,
    /// Hints to those who wait in this process; others are hinted through the database.
    pub answered: Wake,
    /// Hints that the table holds what did not come through memory.
    pub wake: Wake,
    /// Whether it also looks through the table; a process without this role publishes its own events only.
    pub sweeps: bool,
}

impl Relay {
    /// Runs until it is stopped and memory is empty; what is left then is in the table, for the next one.
    pub async fn run(self, mut memory: mpsc::Receiver<Outgoing>) {
        let relay = std::sync::Arc::new(self);
        let sweeping = relay.sweeps.then(|| tokio::spawn(relay.clone().sweep()));
        let mut pages = tokio::task::JoinSet::new();
        let mut page = Vec::with_capacity(PAGE_MAX);
        while memory.recv_many(&mut page, PAGE_MAX).await > 0 {
            if page.iter().any(is_answer) {
                relay.answered.poke();
            }
            while pages.try_join_next().is_some() {}
            // Who comes alone, or is waited for by a caller, waits for nobody.
            if !pages.is_empty() && !page.iter().any(is_call) {
                gather(&mut memory, &mut page).await;
            }
            while pages.len() >= PAGES_AT_ONCE {
                let _ = pages.join_next().await;
            }
            let (relay, page) = (
                relay.clone(),
                std::mem::replace(&mut page, Vec::with_capacity(PAGE_MAX)),
            );
            pages.spawn(async move { relay.publish(page).await });
        }
        pages.join_all().await;
        if let Some(sweeping) = sweeping {
            sweeping.abort();
        }
    }

    async fn sweep(self: std::sync::Arc<Self>) {
        let mut voice = self.store.outage().voice("sweeping the outbox");
        let mut counting = Sparing::default();
        loop {
            match self.sweep_once(&mut counting).await {
                Ok(()) => voice.works(),
                Err(error) => voice.failed(&error),
            }
            tokio::select! {
                () = self.wake.wait() => {}
                () = tokio::time::sleep(SWEEP_EVERY) => {}
                () = self.stopper.halted() => return,
            }
        }
    }

    async fn sweep_once(&self, counting: &mut Sparing) -> Result<(), StoreError> {
        loop {
            // Without a broker there is no point in taking pages; they would only be handed back.
            if !self.outlet.ready().await {
                return Ok(());
            }
            let page = self.store.take_unsent(PAGE_MAX as i64).await?;
            let taken = page.len();
            if taken > 0 {
                crash::point(CrashPoint::OutboxBeforePublish);
            }
            let sent = self.publish(page).await;
            if taken < PAGE_MAX || sent == 0 {
                if let Some(depth) = counting.look(self.store.outbox_depth()).await {
                    self.instruments.outbox_unsent(depth?.unsigned_abs());
                }
                return Ok(());
            }
        }
    }

    /// Publishes a page and crosses off what was confirmed. Returns how many that were.
    async fn publish(&self, page: Vec<Outgoing>) -> usize {
        if page.is_empty() {
            return 0;
        }
        let mut ids = Vec::with_capacity(page.len());
        let mut messages = Vec::with_capacity(page.len());
        // Each ends when its page is answered for.
        let mut spans = Vec::with_capacity(page.len());
        let (mut answers, mut bodies) = (false, false);
        for outgoing in page {
            answers |= is_answer(&outgoing);
            bodies |= matches!(outgoing.body, OutgoingBody::Rejected { .. });
            spans.extend(span(&outgoing));
            ids.push(outgoing.id);
            messages.push(message(outgoing));
        }
        if answers && let Err(error) = self.store.hint_calls().await {
            // Whoever waits also looks by the clock.
            tracing::debug!(error = %telemetry::chain(&error), "callers were not hinted");
        }
        let outcomes = self.outlet.publish_all(messages).await;
        crash::point(CrashPoint::OutboxAfterPublish);
        let mut sent = Vec::with_capacity(ids.len());
        let mut unsent = Vec::new();
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            match outcome {
                PublishOutcome::Confirmed => sent.push(id),
                PublishOutcome::Refused(why) => {
                    // It would be refused for ever; it stays, counted in the gauge, for a person.
                    tracing::error!(event.id = %id, why, "an event cannot be published as it is");
                }
                PublishOutcome::Unroutable | PublishOutcome::Nacked | PublishOutcome::Lost => unsent.push(id),
            }
        }
        drop(spans);
        self.instruments.outbox_published(sent.len());
        let count = sent.len();
        let crossed_off = self.cross_off(&sent, bodies, &unsent).await;
        if let Err(error) = crossed_off {
            // They will be published again, under the same ids.
            tracing::debug!(error = %telemetry::chain(&error), "what was sent could not be crossed off");
        }
        count
    }

    async fn cross_off(&self, sent: &[Uuid], bodies: bool, unsent: &[Uuid]) -> Result<(), StoreError> {
        if !sent.is_empty() {
            self.store.sent(sent, bodies).await?;
        }
        if !unsent.is_empty() {
            self.store.unsent(unsent).await?;
        }
        Ok(())
    }
}

/// What else comes within [`GATHER_MAX`].
async fn gather(memory: &mut mpsc::Receiver<Outgoing>, page: &mut Vec<Outgoing>) {
    let until = tokio::time::Instant::now() + GATHER_MAX;
    while page.len() < PAGE_MAX {
        let room = PAGE_MAX - page.len();
        match tokio::time::timeout_at(until, memory.recv_many(page, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn is_call(outgoing: &Outgoing) -> bool {
    matches!(outgoing.body, OutgoingBody::Call(_))
}

/// Somebody may be waiting for it at the gateway.
fn is_answer(outgoing: &Outgoing) -> bool {
    match &outgoing.body {
        OutgoingBody::Event(event) => {
            let id = event.message_id.as_deref();
            id.is_some_and(|id| CallId::of_message(id).is_some())
        }
        OutgoingBody::Rejected { .. } | OutgoingBody::Request(_) | OutgoingBody::Call(_) => false,
    }
}

fn span(outgoing: &Outgoing) -> Option<tracing::Span> {
    match &outgoing.body {
        OutgoingBody::Event(event) => Some(telemetry::spans::publish(
            event.event_id,
            event.deletion_id,
            &event.trace,
        )),
        OutgoingBody::Rejected { .. } | OutgoingBody::Request(_) | OutgoingBody::Call(_) => None,
    }
}

fn message(outgoing: Outgoing) -> Message {
    match outgoing.body {
        OutgoingBody::Request(body) => Message::request(outgoing.id, Bytes::from(body.to_string())),
        OutgoingBody::Call(call) => {
            let body = Bytes::from(call.body.to_string());
            Message::call(CallId(outgoing.id), body, call.correlation_id, &call.trace)
        }
        OutgoingBody::Event(announcement) => Message::event(announcement.compose()),
        OutgoingBody::Rejected {
            rejection,
            mut message,
        } => {
            let body = Bytes::from(message.body.take().unwrap_or_default());
            Message::rejected(&message, body, RequestId(rejection))
        }
    }
}
