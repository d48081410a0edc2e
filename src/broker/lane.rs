//! One publishing channel with confirms, used by one task that writes a batch and waits for all its answers.
//!
//! Why a batch at a time, on a channel nobody shares. lapin hands a returned (unroutable) message to
//! whichever confirm completes next, so with confirms still out a return cannot be told apart from its
//! neighbour's; and two tasks that publish on one channel can take their tags in one order and write in the
//! other. With one writer that waits for the whole batch, every return belongs to this batch, and is
//! recognised by its own exchange, key and id. Throughput comes from the size of the batch and from several
//! lanes side by side.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind};

use super::connection::Link;
use super::error::{FORBIDDEN, NOT_FOUND, refusal};
use super::letters::{Letter, write_and_wait};
use super::message::{Message, PublishOutcome, Unrouted, Wire, short};
use super::tally::Tally;
use super::topology::REQUESTS_EXCHANGE;

/// Messages a lane writes before it waits. lapin looks through all open confirms for each answer of the
/// broker, so a longer batch costs more than the round trip it saves.
pub const LANE_BATCH_MAX: usize = 512;
/// A broker that answers nothing for so long has lost its majority or its mind. The channel is given up and
/// the messages count as lost, which their sender repeats.
pub const CONFIRM_WAIT_MAX_MS: u64 = 30_000;
/// The headers of a message travel in one frame, and a frame over what was negotiated (with RabbitMQ 128 KiB, if we do not
/// want less) costs the whole connection.
pub const HEADERS_MAX_BYTES: usize = 64 * 1024;

/// How long an exchange that the broker forbids is not asked again. Long enough that one wrong destination
/// does not close the channel under everybody's messages all day, short enough that a grant is soon seen.
const FORBIDDEN_FOR_MS: u64 = 60_000;

pub(super) struct Lane {
    link: Link,
    tally: Arc<Tally>,
    open: Option<Open>,
    forbidden: Arc<Forbidden>,
}

/// Exchanges that the broker does not let us write to, with its words. Shared by all lanes: each of them
/// would otherwise lose a batch to learn it.
#[derive(Default)]
pub(super) struct Forbidden(Mutex<HashMap<String, (Instant, String)>>);

impl Forbidden {
    fn learn(&self, said: &str, messages: &[Message]) {
        let named = messages
            .iter()
            .filter(|message| said.contains(&format!("'{}'", message.exchange)));
        for message in named {
            self.lock()
                .insert(message.exchange.clone(), (Instant::now(), said.to_owned()));
        }
    }

    fn forget_the_old(&self) {
        self.lock()
            .retain(|_, (since, _)| since.elapsed() < Duration::from_millis(FORBIDDEN_FOR_MS));
    }

    fn why(&self, exchange: &str) -> Option<String> {
        self.lock().get(exchange).map(|(_, said)| said.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Open {
    channel: Channel,
    /// Exchanges that were there when this channel first wrote to them.
    known: HashSet<String>,
}

impl Lane {
    pub(super) fn new(link: Link, tally: Arc<Tally>, forbidden: Arc<Forbidden>) -> Lane {
        Lane {
            link,
            tally,
            open: None,
            forbidden,
        }
    }

    /// One outcome for each message, in their order.
    pub(super) async fn send(&mut self, messages: &[Message]) -> Vec<PublishOutcome> {
        let wait = Duration::from_millis(CONFIRM_WAIT_MAX_MS);
        match tokio::time::timeout(wait, self.try_send(messages)).await {
            Ok(Some(outcomes)) => {
                if outcomes.contains(&PublishOutcome::Lost) {
                    self.open = None;
                }
                outcomes
            }
            Ok(None) | Err(_) => {
                self.open = None;
                vec![PublishOutcome::Lost; messages.len()]
            }
        }
    }

    /// `None`: there is no way to the broker right now.
    async fn try_send(&mut self, messages: &[Message]) -> Option<Vec<PublishOutcome>> {
        let live = self.link.current()?;
        self.forbidden.forget_the_old();
        if !self
            .open
            .as_ref()
            .is_some_and(|open| open.channel.status().connected())
        {
            self.open = Some(Open::on(&live).await.ok()?);
        }
        let open = self.open.as_mut()?;

        let mut outcomes: Vec<Option<PublishOutcome>> = vec![None; messages.len()];
        let mut ready = Vec::with_capacity(messages.len());
        for (at, message) in messages.iter().enumerate() {
            if let Some(why) = self.forbidden.why(&message.exchange) {
                outcomes[at] = Some(PublishOutcome::Refused(why));
                continue;
            }
            match open.prepare(&live, message).await? {
                Ok(wire) => ready.push(Letter {
                    at,
                    message,
                    mandatory: message.unrouted != Unrouted::Drop,
                    wire,
                }),
                Err(why) => outcomes[at] = Some(PublishOutcome::Refused(why)),
            }
        }
        let (mut answers, closed_by) = write_and_wait(&open.channel, ready).await;
        if let Some((FORBIDDEN, said)) = closed_by {
            self.forbidden.learn(&said, messages);
        }

        let mut diverted = Vec::new();
        for (at, outcome) in &answers {
            if let (PublishOutcome::Unroutable, Unrouted::Divert(exchange)) =
                (outcome, messages[*at].unrouted)
            {
                // The key stays: it says what the event was.
                let aside = Message {
                    exchange: exchange.to_owned(),
                    ..messages[*at].clone()
                };
                diverted.push((*at, aside));
            }
        }
        if !diverted.is_empty() {
            let mut ready = Vec::with_capacity(diverted.len());
            for (at, message) in &diverted {
                if let Ok(wire) = open.prepare(&live, message).await? {
                    ready.push(Letter {
                        at: *at,
                        message,
                        mandatory: true,
                        wire,
                    });
                }
            }
            let (aside, _) = write_and_wait(&open.channel, ready).await;
            self.tally.diverted(
                aside
                    .iter()
                    .filter(|(_, outcome)| *outcome == PublishOutcome::Confirmed)
                    .count(),
            );
            answers.extend(aside);
        }
        // Later answers are about the same message's second way, and replace the first.
        for (at, outcome) in answers {
            outcomes[at] = Some(outcome);
        }
        Some(
            outcomes
                .into_iter()
                .map(|outcome| outcome.unwrap_or(PublishOutcome::Lost))
                .collect(),
        )
    }
}

impl Open {
    async fn on(live: &Connection) -> lapin::Result<Open> {
        let channel = live.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Open {
            channel,
            known: HashSet::new(),
        })
    }

    /// Refuses here what would cost the channel, and with it every other message of the batch.
    async fn prepare(&mut self, live: &Connection, message: &Message) -> Option<Result<Wire, String>> {
        let bytes = message.header_bytes();
        if bytes > HEADERS_MAX_BYTES {
            return Some(Err(format!(
                "the headers take {bytes} bytes, wanted at most {HEADERS_MAX_BYTES}"
            )));
        }
        let mut wire = match message.wire() {
            Ok(wire) => wire,
            Err(why) => return Some(Err(why)),
        };
        // Who asks, as the broker itself will vouch for: it takes no other name than that of this connection.
        if message.exchange == REQUESTS_EXCHANGE
            && let Ok(user) = short("user id", &live.status().username())
        {
            wire.properties = wire.properties.with_user_id(user);
        }
        // The default exchange is always there and may not be asked for.
        if !message.exchange.is_empty() && !self.known.contains(&message.exchange) {
            // On a channel of its own: "not found" closes the channel that asks.
            let scratch = live.create_channel().await.ok()?;
            let ask = ExchangeDeclareOptions {
                passive: true,
                ..ExchangeDeclareOptions::default()
            };
            let asked = scratch
                .exchange_declare(
                    wire.exchange.clone(),
                    ExchangeKind::Topic,
                    ask,
                    FieldTable::default(),
                )
                .await;
            match asked {
                Ok(()) => {
                    let _closed_anyway = scratch.close(200, "asked".into()).await;
                }
                Err(error) => match refusal(&error) {
                    Some((NOT_FOUND, said)) => return Some(Err(said)),
                    // Not allowed to ask is not the same as not allowed to write.
                    Some(_) => {}
                    None => return None,
                },
            }
            self.known.insert(message.exchange.clone());
        }
        Some(Ok(wire))
    }
}

/// One message on a fresh channel with confirms on, for those who send one and leave.
pub(super) async fn send_one(live: &Connection, channel: Channel, message: &Message) -> PublishOutcome {
    let mut open = Open {
        channel,
        known: HashSet::new(),
    };
    let wait = Duration::from_millis(CONFIRM_WAIT_MAX_MS);
    let sent = async {
        match open.prepare(live, message).await {
            None => PublishOutcome::Lost,
            Some(Err(why)) => PublishOutcome::Refused(why),
            Some(Ok(wire)) => {
                let letter = Letter {
                    at: 0,
                    message,
                    mandatory: message.unrouted != Unrouted::Drop,
                    wire,
                };
                let (mut told, _) = write_and_wait(&open.channel, vec![letter]).await;
                told.pop().map_or(PublishOutcome::Lost, |(_, outcome)| outcome)
            }
        }
    };
    tokio::time::timeout(wait, sent)
        .await
        .unwrap_or(PublishOutcome::Lost)
}
