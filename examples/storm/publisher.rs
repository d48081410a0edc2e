//! Publishes what is asked for, with confirms, and once more whenever it is in doubt: so copies are real.
//!
//! In doubt is whoever was told no, was told nothing for a while, or has lost the connection before it was told.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{Future, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::mpsc;

use crate::Fault;
use crate::asks::Ask;
use sexton::broker::REQUESTS_EXCHANGE;

/// Published and not confirmed yet.
const WINDOW: usize = 200;
/// Silence for so long is doubt. Longer than a cluster needs to find another leader.
const CONFIRM_MAX: Duration = Duration::from_secs(10);
/// What is asked for after an event is not asked for without it; the judge says so.
const EVENT_MAX: Duration = Duration::from_secs(60);
const CLOSE_MAX: Duration = Duration::from_secs(1);
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// What became of each message on its way to the broker, by its place among what is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) published: u32,
    pub(crate) confirmed: u32,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Posted {
    pub(crate) sent: Vec<Sent>,
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) redelivered: u64,
    pub(crate) connections: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    No,
    Nothing,
}

type Told = Pin<Box<dyn Future<Output = (usize, Said)> + Send>>;

struct Publisher<'a> {
    url: String,
    asks: &'a [Ask],
    posted: &'a mut Posted,
    again: VecDeque<usize>,
    waits_for: HashMap<String, usize>,
}

/// Until every message is confirmed at least once. `heard` names requests that were softly deleted.
pub(crate) async fn publish(
    url: String,
    asks: &[Ask],
    mut heard: mpsc::Receiver<String>,
    posted: &mut Posted,
) -> Result<(), Fault> {
    let waits_for = asks
        .iter()
        .enumerate()
        .filter_map(|(place, ask)| Some((ask.after.clone()?, place)))
        .collect();
    posted.sent = vec![Sent::default(); asks.len()];
    let mut publisher = Publisher {
        url,
        asks,
        posted,
        again: VecDeque::new(),
        waits_for,
    };
    let began = Instant::now();
    let mut next = 0;
    while !publisher.is_done(next) {
        match publisher.connect().await {
            Ok((connection, channel)) => {
                publisher.with(&channel, began, &mut next, &mut heard).await;
                let _gone_already =
                    tokio::time::timeout(CLOSE_MAX, connection.close(200, "again".into())).await;
            }
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
    Ok(())
}

impl Publisher<'_> {
    fn is_done(&self, next: usize) -> bool {
        next == self.asks.len() && self.again.is_empty() && self.waits_for.is_empty()
    }

    async fn connect(&mut self) -> Result<(Connection, Channel), Fault> {
        let opened = async {
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>((connection, channel))
        };
        let opened = tokio::time::timeout(CONFIRM_MAX, opened).await??;
        self.posted.connections += 1;
        Ok(opened)
    }

    /// As long as this connection is of use; what it leaves in doubt is to be sent again.
    async fn with(
        &mut self,
        channel: &Channel,
        began: Instant,
        next: &mut usize,
        heard: &mut mpsc::Receiver<String>,
    ) {
        let mut untold: FuturesUnordered<Told> = FuturesUnordered::new();
        let mut open: HashMap<usize, u32> = HashMap::new();
        let mut broken = false;
        while !(broken || self.is_done(*next) && untold.is_empty()) {
            let has_room = untold.len() < WINDOW;
            let only_waits = *next == self.asks.len() && self.again.is_empty() && untold.is_empty();
            let due = self.asks.get(*next).map(|ask| began + ask.due);
            tokio::select! {
                biased;
                Some((place, said)) = untold.next(), if !untold.is_empty() => {
                    if let Some(count) = open.get_mut(&place) {
                        *count -= 1;
                        if *count == 0 {
                            open.remove(&place);
                        }
                    }
                    if said == Said::Yes {
                        self.posted.sent[place].confirmed += 1;
                        self.posted.confirmed += 1;
                    } else {
                        self.in_doubt(place);
                        // Whoever is silent is not asked again over the same way.
                        broken = said == Said::Nothing || !channel.status().connected();
                        tokio::time::sleep(AGAIN_AFTER / 10).await;
                    }
                }
                name = heard.recv() => {
                    let Some(place) = name.and_then(|name| self.waits_for.remove(&name)) else {
                        continue;
                    };
                    self.again.push_front(place);
                }
                () = tokio::time::sleep(EVENT_MAX), if only_waits => self.waits_for.clear(),
                () = std::future::ready(()), if has_room && !self.again.is_empty() => {
                    if let Some(place) = self.again.pop_front() {
                        broken = !self.send(channel, place, &mut untold, &mut open).await;
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(began).into()), if has_room && due.is_some() => {
                    let place = *next;
                    *next += 1;
                    if self.asks[place].after.is_some() {
                        continue;
                    }
                    broken = !self.send(channel, place, &mut untold, &mut open).await;
                    if !broken && self.asks[place].doubled {
                        broken = !self.send(channel, place, &mut untold, &mut open).await;
                    }
                }
            }
        }
        // Whatever the broker knew of these, it has not said.
        for place in open.into_keys() {
            self.in_doubt(place);
        }
    }

    fn in_doubt(&mut self, place: usize) {
        self.posted.redelivered += 1;
        self.again.push_back(place);
    }

    async fn send(
        &mut self,
        channel: &Channel,
        place: usize,
        untold: &mut FuturesUnordered<Told>,
        open: &mut HashMap<usize, u32>,
    ) -> bool {
        let ask = &self.asks[place];
        let sent = &mut self.posted.sent[place];
        if sent.bytes.is_empty() {
            sent.bytes = ask.bytes(sexton::clock::now());
        }
        let mut properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type(ShortString::from("application/json"));
        // Those of a bulk are known by their keys.
        if ask.requests.len() == 1 {
            properties = properties.with_message_id(ShortString::from(ask.name.as_str()));
        }
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        self.posted.published += 1;
        sent.published += 1;
        let given = channel.basic_publish(
            REQUESTS_EXCHANGE.into(),
            "storm".into(),
            options,
            &sent.bytes,
            properties,
        );
        match tokio::time::timeout(CONFIRM_MAX, given).await {
            Ok(Ok(confirm)) => {
                *open.entry(place).or_default() += 1;
                untold.push(Box::pin(async move {
                    let told = tokio::time::timeout(CONFIRM_MAX, confirm).await;
                    let said = match told {
                        Ok(Ok(Confirmation::Ack(None))) => Said::Yes,
                        Ok(Ok(_)) => Said::No,
                        _ => Said::Nothing,
                    };
                    (place, said)
                }));
                true
            }
            _ => {
                self.in_doubt(place);
                false
            }
        }
    }
}
