//! A person's desk at the broker: how much stands in a queue, what stands there, and moving one message on.
//!
//! Nothing here removes a message that does not stand somewhere else already: a look gives everything back,
//! and a move is confirmed at its new place before it is acknowledged at the old one. A crash in between
//! leaves the message in both, which its key makes harmless.

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::connection::{self, Live, Purpose};
use super::error::{BrokerError, NOT_FOUND, refusal};
use super::lane;
use super::message::{Delivery, Message, PublishOutcome, short};
use super::settings::BrokerSettings;

/// A look takes messages out of everybody's sight while it lasts, and holds their bodies: more than a person
/// reads helps nobody.
pub const PEEK_MAX: usize = 1_000;

/// One connection for one command.
pub struct Desk {
    pub(super) live: Live,
    /// Where taken messages wait; when it closes, what was not moved returns to its queue.
    hands: Option<Channel>,
}

/// What stands in a queue, as the broker counts it: without messages that somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    pub ready: u32,
    pub consumers: u32,
}

/// A message in our hands. It goes back to its queue unless it is moved.
pub struct Taken {
    pub delivery: Delivery,
    queue: String,
    acker: lapin::Acker,
}

impl Desk {
    pub async fn connect(settings: &BrokerSettings) -> Result<Desk, BrokerError> {
        Ok(Desk {
            live: connection::connect(settings, Purpose::Desk).await?,
            hands: None,
        })
    }

    pub async fn depth(&self, queue: &str) -> Result<Depth, BrokerError> {
        // On a channel of its own: asking for a queue that is not there closes the channel that asks.
        let channel = self.channel().await?;
        let name = short("queue", queue).map_err(|_| BrokerError::NoQueue {
            queue: queue.to_owned(),
        })?;
        let ask = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel
            .queue_declare(name, ask, FieldTable::default())
            .await
            .map_err(|source| look_failed(queue, source))?;
        Ok(Depth {
            ready: found.message_count(),
            consumers: found.consumer_count(),
        })
    }

    /// Looks at the first `n` messages. They return to their places when this returns; where the queue counts
    /// deliveries, each look is one.
    pub async fn peek(&mut self, queue: &str, n: usize) -> Result<Vec<Delivery>, BrokerError> {
        let mut seen = Vec::new();
        while seen.len() < n.min(PEEK_MAX) {
            match self.take(queue).await? {
                Some(taken) => seen.push(taken.delivery),
                None => break,
            }
        }
        self.put_back().await;
        Ok(seen)
    }

    /// Takes the next message into our hands, where it stays until it is moved or [`put_back`](Self::put_back).
    pub async fn take(&mut self, queue: &str) -> Result<Option<Taken>, BrokerError> {
        let name = short("queue", queue).map_err(|_| BrokerError::NoQueue {
            queue: queue.to_owned(),
        })?;
        let hands = self.hands().await?;
        let got = hands
            .basic_get(name, BasicGetOptions { no_ack: false })
            .await
            .map_err(|source| look_failed(queue, source))?;
        Ok(got.map(|got| {
            let acker = got.delivery.acker.clone();
            Taken {
                delivery: Delivery::from_amqp(got.delivery),
                queue: queue.to_owned(),
                acker,
            }
        }))
    }

    /// Publishes `message` in the place of what was taken, and lets go of the taken one only when the broker
    /// has confirmed the new one. Any other outcome leaves it where it was.
    pub async fn move_on(&mut self, taken: Taken, message: &Message) -> Result<PublishOutcome, BrokerError> {
        let outcome = self.publish(message).await?;
        if outcome == PublishOutcome::Confirmed {
            match taken.acker.ack(BasicAckOptions { multiple: false }).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Err(BrokerError::AckAfterMove { queue: taken.queue }),
            }
        }
        Ok(outcome)
    }

    /// Publishes one message and waits for its fate.
    pub async fn publish(&self, message: &Message) -> Result<PublishOutcome, BrokerError> {
        let channel = self.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|source| BrokerError::Channel { source })?;
        Ok(lane::send_one(&self.live, channel, message).await)
    }

    /// Everything taken and not moved returns to its queue.
    pub async fn put_back(&mut self) {
        if let Some(hands) = self.hands.take() {
            let _returned_with_the_connection = hands.close(200, "giving back".into()).await;
        }
    }

    /// Leaves in order, so that the last acknowledgement is read before the connection ends.
    pub async fn close(mut self) {
        self.put_back().await;
        connection::close(&self.live).await;
    }

    async fn hands(&mut self) -> Result<&Channel, BrokerError> {
        if !self
            .hands
            .as_ref()
            .is_some_and(|hands| hands.status().connected())
        {
            self.hands = None;
        }
        let fresh = match self.hands.take() {
            Some(hands) => hands,
            None => self.channel().await?,
        };
        Ok(self.hands.insert(fresh))
    }

    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        self.live
            .create_channel()
            .await
            .map_err(|source| BrokerError::Channel { source })
    }
}

fn look_failed(queue: &str, source: lapin::Error) -> BrokerError {
    match refusal(&source) {
        Some((NOT_FOUND, _)) => BrokerError::NoQueue {
            queue: queue.to_owned(),
        },
        _ => BrokerError::Browse {
            queue: queue.to_owned(),
            source,
        },
    }
}
