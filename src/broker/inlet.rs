//! Deletion requests come in here, in batches that stay the broker's until somebody decides.
//!
//! There is no way to acknowledge by accident: a batch is acknowledged by a call that consumes it, and one
//! that is dropped undecided goes back to the queue. Whatever ends the stream (an error, the server's own
//! cancel, a closed channel, a lost connection), channel and consumer are built anew until the drain.
//!
//! Memory is bounded by prefetch times the largest body the broker takes (16 MiB from 4.0, 128 MiB before),
//! since lapin collects a body whole before anybody can look at it. `max_message_size` on the broker is the
//! place for a tighter bound.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::caution::Caution;
use super::connection::{Link, Live};
use super::error::BrokerError;
use super::flow::{Flow, Turn};
use super::ledger::{Acked, Ledger};
use super::message::Delivery;
use super::settings::BrokerSettings;
use super::tally::Tally;
use super::topology::{REJECTED_QUEUE, REQUESTS_QUEUE};

pub struct Inlet {
    link: Link,
    settings: Arc<BrokerSettings>,
    tally: Arc<Tally>,
    drain: CancellationToken,
    caution: Caution,
    flow: Option<Flow>,
    /// Under way to the next flow. It outlives a caller that stops waiting.
    opening: Option<JoinHandle<Result<Flow, BrokerError>>>,
    /// That it cannot consume has been said, and is not said again until it can.
    complained: bool,
}

/// Deliveries that wait for one decision. Dropped without it, they go back to the queue.
#[must_use = "a batch that is dropped goes back to the queue"]
pub struct Batch {
    deliveries: Vec<Delivery>,
    last: u64,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    decided: bool,
}

impl Batch {
    pub(super) fn new(deliveries: Vec<Delivery>, last: u64, ledger: Arc<Ledger>, tally: Arc<Tally>) -> Batch {
        Batch {
            deliveries,
            last,
            ledger,
            tally,
            decided: false,
        }
    }

    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Moves the deliveries out, for those who want to own the bodies. The decision stays here.
    pub fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Tells the broker that all of these are settled. Call it only after the commit.
    pub async fn ack(mut self) -> Acked {
        let ledger = self.ledger.clone();
        let acked = ledger.settle(self.last, &mut self.decided).await;
        match acked {
            Acked::NotSent => self.tally.acks_not_sent(1),
            Acked::Sent | Acked::Waits => self.tally.acks_sent(1),
        }
        acked
    }

    /// Gives the batch back: its channel, and everything undecided on it, is returned to the queue.
    pub fn give_back(self) {}
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.decided {
            self.ledger.abandon();
        }
    }
}

impl Inlet {
    pub(super) fn new(
        link: Link,
        settings: Arc<BrokerSettings>,
        tally: Arc<Tally>,
        drain: CancellationToken,
    ) -> Inlet {
        Inlet {
            link,
            caution: Caution::new(settings.prefetch),
            settings,
            tally,
            drain,
            flow: None,
            opening: None,
            complained: false,
        }
    }

    /// The next batch: at least one delivery, at most `max`, gathered for `linger` after the first.
    /// `None` when drained; batches still in hand can be acknowledged until the inlet is closed or dropped.
    ///
    /// After [`hold`](Self::hold) this is also what resumes.
    pub async fn next_batch(&mut self, max: usize, linger: Duration) -> Option<Batch> {
        loop {
            if self.drain.is_cancelled() {
                if let Some(flow) = self.flow.as_mut()
                    && flow.stop_consuming().await
                {
                    self.tally.set_consuming(false);
                }
                return None;
            }
            let Some(flow) = self.flow.as_mut() else {
                if !self.rebuild().await {
                    return None;
                }
                continue;
            };
            if self.caution.is_over(flow.acknowledged()) {
                info!(queue = REQUESTS_QUEUE, "taking requests in full again");
                self.put_down().await;
                continue;
            }
            let ended = match flow.gather(&self.link, &self.drain, max.max(1), linger).await {
                Turn::Ready => match flow.hand_over(&self.tally).await {
                    Some(batch) => return Some(batch),
                    None => continue,
                },
                Turn::Drained => continue,
                Turn::Ended(why) => why,
            };
            self.lose(ended).await;
        }
    }

    /// Takes nothing and keeps nothing until `next_batch` is called again: everything undecided goes back to
    /// the queue now, once. For an outage of the database: requeueing what cannot be admitted would count
    /// a delivery for each try, and the delivery limit would then reject good messages.
    pub async fn hold(&mut self) {
        // A flow that is still being made gives itself back when nobody takes it.
        self.opening = None;
        self.put_down().await;
        self.tally.set_held(true);
    }

    /// Gives back what is undecided and leaves. Acknowledge the batches in hand before.
    pub async fn close(mut self) {
        self.put_down().await;
    }

    async fn put_down(&mut self) {
        if let Some(flow) = self.flow.take() {
            self.tally.set_consuming(false);
            self.caution.ended(flow.acknowledged());
            // A task of its own: a caller that stops waiting must not leave a channel half closed that keeps messages.
            let _ended = tokio::spawn(flow.end()).await;
        }
    }

    /// What is gathered but not handed over goes back with the channel; so does every undecided batch.
    async fn lose(&mut self, why: &str) {
        if let Some(flow) = &self.flow {
            self.tally.consumer_rebuilds(1);
            // A lost connection is said by its link.
            if flow.is_connected() {
                warn!(
                    why,
                    queue = REQUESTS_QUEUE,
                    "the consumer ended, building it anew"
                );
            }
        }
        self.put_down().await;
    }

    /// Builds channel and consumer, for as long as it takes. `false`: there is nothing to wait for any more.
    async fn rebuild(&mut self) -> bool {
        let drain = self.drain.clone();
        let mut waits = self.link.backoff();
        let mut failed = false;
        loop {
            let opening = match &mut self.opening {
                Some(opening) => opening,
                None => {
                    let Some(Some(live)) = drain.run_until_cancelled(self.link.up()).await else {
                        return false;
                    };
                    let was_on = self.caution.is_on();
                    if self.caution.heed(self.link.unreadable()) {
                        // It is the message that kept the flow from being made, and not the broker.
                        waits = self.link.backoff();
                        if !was_on {
                            warn!(
                                queue = REQUESTS_QUEUE,
                                rejected = REJECTED_QUEUE,
                                "a message cannot be read as AMQP; taking requests one by one until it is among the \
                                 rejected, which the delivery limit does"
                            );
                        }
                        failed = false;
                    }
                    if std::mem::take(&mut failed) {
                        let wait = waits.next().unwrap_or(self.settings.reconnect_max);
                        if drain
                            .run_until_cancelled(tokio::time::sleep(wait))
                            .await
                            .is_none()
                        {
                            return false;
                        }
                    }
                    if drain.run_until_cancelled(self.caution.rest()).await.is_none() {
                        return false;
                    }
                    let prefetch = self.caution.next_prefetch();
                    // A task of its own: a consumer whose making is cut off half-way stays registered in lapin,
                    // keeps its channel open, and holds messages that nobody will ever see.
                    let opened = open(self.link.clone(), live, self.settings.clone(), prefetch);
                    self.opening.insert(tokio::spawn(opened))
                }
            };
            let Some(opened) = drain.run_until_cancelled(opening).await else {
                return false;
            };
            self.opening = None;
            match opened {
                Ok(Ok(flow)) => {
                    if std::mem::replace(&mut self.complained, false) {
                        info!(queue = REQUESTS_QUEUE, "consuming again");
                    }
                    self.tally.set_consuming(true);
                    self.tally.set_held(false);
                    self.flow = Some(flow);
                    return true;
                }
                // With the connection gone this is the same outage, and its link speaks for it.
                Ok(Err(error))
                    if self.link.current().is_some()
                        && self.caution.has_heeded(self.link.unreadable())
                        && !self.complained =>
                {
                    self.complained = true;
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot consume, trying until it works"
                    );
                }
                Ok(Err(_)) | Err(_) => {}
            }
            failed = true;
        }
    }
}

/// A connection that is lost meanwhile may leave its calls without an answer.
async fn open(
    link: Link,
    live: Live,
    settings: Arc<BrokerSettings>,
    prefetch: u16,
) -> Result<Flow, BrokerError> {
    tokio::select! {
        opened = Flow::open(link.clone(), live.clone(), settings, prefetch) => opened,
        () = link.gone(&live) => Err(BrokerError::Consume {
            queue: REQUESTS_QUEUE.to_owned(),
            source: lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed).into(),
        }),
    }
}
