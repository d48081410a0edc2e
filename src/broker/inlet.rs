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

use futures::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connection::Link;
use super::error::BrokerError;
use super::ledger::{Acked, Ledger};
use super::message::Delivery;
use super::settings::BrokerSettings;
use super::tally::Tally;
use super::topology::{self, REQUESTS_QUEUE};

/// A batch is closed when its bodies reach this, however few they are: a batch is one transaction, and one
/// round trip with more than this holds up its lane for too long.
const BATCH_BODY_MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long a closing channel may take. A connection that is dead but not yet known to be does not answer.
const GIVE_BACK_WAIT_MAX_MS: u64 = 5_000;
/// The name of the consumer in the broker's lists. One consumer on a channel needs no unique one.
const CONSUMER_TAG: &str = "sexton-intake";

pub struct Inlet {
    link: Link,
    settings: Arc<BrokerSettings>,
    tally: Arc<Tally>,
    drain: CancellationToken,
    flow: Option<Flow>,
}

/// One life of channel and consumer.
struct Flow {
    channel: Channel,
    consumer: Consumer,
    ledger: Arc<Ledger>,
    /// Taken from lapin, not yet handed over. It stands here and not in a future, so that a caller who stops
    /// waiting for a batch loses nothing.
    gathered: Gathered,
    consuming: bool,
}

#[derive(Default)]
struct Gathered {
    deliveries: Vec<Delivery>,
    bytes: usize,
    last: Option<(u64, Acker)>,
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
            settings,
            tally,
            drain,
            flow: None,
        }
    }

    /// The next batch: at least one delivery, at most `max`, gathered for `linger` after the first.
    /// `None` when drained; batches still in hand can be acknowledged until the inlet is closed or dropped.
    ///
    /// After [`hold`](Self::hold) this is also what resumes.
    pub async fn next_batch(&mut self, max: usize, linger: Duration) -> Option<Batch> {
        loop {
            if self.drain.is_cancelled() {
                self.stop_consuming().await;
                return None;
            }
            let Some(flow) = self.flow.as_mut() else {
                self.rebuild().await;
                continue;
            };
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
        if let Some(flow) = self.flow.take() {
            self.tally.set_consuming(false);
            flow.end().await;
        }
        self.tally.set_held(true);
    }

    /// Gives back what is undecided and leaves. Acknowledge the batches in hand before.
    pub async fn close(mut self) {
        if let Some(flow) = self.flow.take() {
            self.tally.set_consuming(false);
            flow.end().await;
        }
    }

    /// What is gathered but not handed over goes back with the channel; so does every undecided batch.
    async fn lose(&mut self, why: &str) {
        if let Some(flow) = self.flow.take() {
            self.tally.set_consuming(false);
            self.tally.consumer_rebuilds(1);
            // A lost connection has been said by its link already.
            if self.link.current().is_some() {
                warn!(
                    why,
                    queue = REQUESTS_QUEUE,
                    "the consumer ended, building it anew"
                );
            }
            flow.end().await;
        }
    }

    /// Builds channel and consumer, for as long as it takes or until the drain.
    async fn rebuild(&mut self) {
        let mut waits = self.link.backoff();
        let mut said = false;
        loop {
            let drain = self.drain.clone();
            match drain.run_until_cancelled(self.try_once()).await {
                None => return,
                Some(Ok(flow)) => {
                    if said {
                        info!(queue = REQUESTS_QUEUE, "consuming again");
                    }
                    self.tally.set_consuming(true);
                    self.tally.set_held(false);
                    self.flow = Some(flow);
                    return;
                }
                Some(Err(error)) => {
                    // With the connection gone this is the same outage, and its link speaks for it.
                    if !said && self.link.current().is_some() {
                        said = true;
                        warn!(
                            error = &error as &dyn std::error::Error,
                            "cannot consume, trying until it works"
                        );
                    }
                }
            }
            let wait = waits.next().unwrap_or(self.settings.reconnect_max);
            if drain
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn try_once(&self) -> Result<Flow, BrokerError> {
        let Some(live) = self.link.up().await else {
            // The link is stopped for good; only the drain ends this.
            return std::future::pending().await;
        };
        if self.settings.declare {
            // Somebody may have deleted the queue; without it there is nothing to come back to.
            topology::declare(&live).await?;
        }
        let channel = live
            .create_channel()
            .await
            .map_err(|source| BrokerError::Channel { source })?;
        let failed = |source| BrokerError::Consume {
            queue: REQUESTS_QUEUE.to_owned(),
            source,
        };
        // Before the consumer: the default is no limit, and lapin's buffer has none either. Per consumer,
        // since 4.3 refuses the global kind.
        channel
            .basic_qos(self.settings.prefetch, BasicQosOptions { global: false })
            .await
            .map_err(failed)?;
        let consumer = channel
            .basic_consume(
                REQUESTS_QUEUE.into(),
                CONSUMER_TAG.into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(failed)?;
        Ok(Flow {
            channel,
            consumer,
            ledger: Arc::default(),
            gathered: Gathered::default(),
            consuming: true,
        })
    }

    /// Keeps the channel for the acknowledgements to come, but takes no more deliveries.
    async fn stop_consuming(&mut self) {
        if let Some(flow) = self.flow.as_mut()
            && std::mem::replace(&mut flow.consuming, false)
        {
            self.tally.set_consuming(false);
            let cancel = flow
                .channel
                .basic_cancel(CONSUMER_TAG.into(), BasicCancelOptions::default());
            let _ends_with_the_channel = cancel.await;
        }
    }
}

impl Flow {
    /// Waits until a batch stands in `gathered`, or says why there will be none.
    async fn gather(&mut self, link: &Link, drain: &CancellationToken, max: usize, linger: Duration) -> Turn {
        let mut item = if self.gathered.deliveries.is_empty() {
            tokio::select! {
                biased;
                () = drain.cancelled() => return Turn::Drained,
                () = self.ledger.abandoned() => return Turn::Ended("a batch was given back undecided"),
                item = self.consumer.next() => Some(item),
                () = link.gone() => return Turn::Ended("the connection was lost"),
            }
        } else {
            None
        };
        let until = Instant::now() + linger;
        loop {
            match item.take() {
                Some(Some(Ok(delivery))) => self.gathered.add(delivery),
                Some(Some(Err(_))) => return Turn::Ended("the channel was closed"),
                // No error and no deliveries: the server took the consumer away (queue deleted, node down).
                Some(None) => return Turn::Ended("the server cancelled the consumer"),
                None => {}
            }
            if self.gathered.deliveries.len() >= max || self.gathered.bytes >= BATCH_BODY_MAX_BYTES {
                return Turn::Ready;
            }
            // What is here already costs no waiting.
            item = self.consumer.next().now_or_never();
            if item.is_none() {
                let more = tokio::time::timeout_at(until, self.consumer.next());
                match drain.run_until_cancelled(more).await {
                    Some(Ok(next)) => item = Some(next),
                    // The time is up, or nothing new is wanted: what is gathered goes on its way.
                    Some(Err(_)) | None => return Turn::Ready,
                }
            }
        }
    }

    async fn hand_over(&mut self, tally: &Arc<Tally>) -> Option<Batch> {
        let gathered = &mut self.gathered;
        let take = || {
            let Gathered {
                deliveries,
                bytes,
                last,
            } = std::mem::take(gathered);
            last.map(|(last, acker)| ((deliveries, bytes), last, acker))
        };
        let ((deliveries, bytes), last) = self.ledger.enter(take).await?;
        tally.batches(1);
        tally.delivered(deliveries.len());
        tally.delivered_bytes(bytes);
        tally.redelivered(deliveries.iter().filter(|delivery| delivery.redelivered).count());
        Some(Batch {
            deliveries,
            last,
            ledger: self.ledger.clone(),
            tally: tally.clone(),
            decided: false,
        })
    }

    /// Returns everything undecided to the queue.
    async fn end(self) {
        if self.channel.status().connected() {
            let goodbye = self.channel.close(200, "giving back".into());
            let _gone_already =
                tokio::time::timeout(Duration::from_millis(GIVE_BACK_WAIT_MAX_MS), goodbye).await;
        }
    }
}

impl Gathered {
    fn add(&mut self, delivery: lapin::message::Delivery) {
        self.last = Some((delivery.delivery_tag, delivery.acker.clone()));
        self.bytes += delivery.data.len();
        self.deliveries.push(Delivery::from_amqp(delivery));
    }
}

enum Turn {
    Ready,
    Drained,
    Ended(&'static str),
}
