//! One life of the intake's channel and consumer: opened, read from, and given back as a whole.
//!
//! A flow ends with the first irregularity and is never repaired. What was delivered on it and not decided
//! returns to the queue with its channel.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Link, Live};
use super::error::BrokerError;
use super::inlet::Batch;
use super::ledger::Ledger;
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

/// One life of channel and consumer.
pub(super) struct Flow {
    live: Live,
    channel: Channel,
    consumer: Consumer,
    ledger: Arc<Ledger>,
    /// How many undecided deliveries the broker lets it have.
    prefetch: u16,
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

impl Flow {
    pub(super) async fn open(
        link: Link,
        live: Live,
        settings: Arc<BrokerSettings>,
        prefetch: u16,
    ) -> Result<Flow, BrokerError> {
        if settings.declare {
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
            .basic_qos(prefetch, BasicQosOptions { global: false })
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
            ledger: Arc::new(Ledger::new(link, live.clone())),
            live,
            channel,
            consumer,
            prefetch,
            gathered: Gathered::default(),
            consuming: true,
        })
    }

    /// Whether its own connection stands; a lost one is said by its link, not by whoever used it.
    pub(super) fn is_connected(&self) -> bool {
        self.live.status().connected()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.ledger.acknowledged()
    }

    /// Keeps the channel for the acknowledgements to come, but takes no more deliveries. `false`: it took none
    /// before either.
    pub(super) async fn stop_consuming(&mut self) -> bool {
        let consumed = std::mem::replace(&mut self.consuming, false);
        if consumed {
            let cancel = self
                .channel
                .basic_cancel(CONSUMER_TAG.into(), BasicCancelOptions::default());
            let wait = Duration::from_millis(GIVE_BACK_WAIT_MAX_MS);
            let _ends_with_the_channel = tokio::time::timeout(wait, cancel).await;
        }
        consumed
    }

    /// Waits until a batch stands in `gathered`, or says why there will be none.
    pub(super) async fn gather(
        &mut self,
        link: &Link,
        drain: &CancellationToken,
        max: usize,
        linger: Duration,
    ) -> Turn {
        let mut item = if self.gathered.deliveries.is_empty() {
            tokio::select! {
                biased;
                () = drain.cancelled() => return Turn::Drained,
                () = self.ledger.abandoned() => return Turn::Ended("a batch was given back undecided"),
                item = self.consumer.next() => Some(item),
                () = link.gone(&self.live) => return Turn::Ended("the connection was lost"),
            }
        } else {
            None
        };
        let until = Instant::now() + linger;
        // For more than this nobody needs to linger: it does not come before something is acknowledged.
        let max = max.min(usize::from(self.prefetch));
        loop {
            match item.take() {
                Some(Some(Ok(delivery))) => self.gathered.add(delivery),
                Some(Some(Err(_))) => return Turn::Ended("the channel was closed"),
                // No error and no deliveries: the server took the consumer away (queue deleted, node down).
                Some(None) => return Turn::Ended("the server cancelled the consumer"),
                None => {}
            }
            // What lapin buffered outlives its channel. It comes again, so taking it now would be work for nothing.
            if !self.channel.status().connected() {
                return Turn::Ended("the channel was closed");
            }
            if self.gathered.deliveries.len() >= max || self.gathered.bytes >= BATCH_BODY_MAX_BYTES {
                return Turn::Ready;
            }
            // What is here already costs no waiting.
            item = self.consumer.next().now_or_never();
            if item.is_none() {
                // A timer that is over already is still waited for, by a millisecond or two.
                if linger.is_zero() {
                    return Turn::Ready;
                }
                let more = tokio::time::timeout_at(until, self.consumer.next());
                match drain.run_until_cancelled(more).await {
                    Some(Ok(next)) => item = Some(next),
                    // The time is up, or nothing new is wanted: what is gathered goes on its way.
                    Some(Err(_)) | None => return Turn::Ready,
                }
            }
        }
    }

    pub(super) async fn hand_over(&mut self, tally: &Arc<Tally>) -> Option<Batch> {
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
        Some(Batch::new(deliveries, last, self.ledger.clone(), tally.clone()))
    }

    /// Returns everything undecided to the queue.
    pub(super) async fn end(self) {
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

/// What a wait for deliveries came to.
pub(super) enum Turn {
    Ready,
    Drained,
    Ended(&'static str),
}
