//! Hears every event on a durable queue of the storm's own, with a copy on each node. What was heard is acknowledged when
//! it is written down here; so it comes again where the connection was lost in between, and is known by its id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::Value;
use sexton::broker::EVENTS_EXCHANGE;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Fault;

const QUEUE: &str = "storm.events";
const CLOSE_MAX: Duration = Duration::from_secs(1);
const HELD: u16 = 500;
const AGAIN_AFTER: Duration = Duration::from_millis(300);
/// The workers make the exchange when they start.
const EXCHANGE_MAX: Duration = Duration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A way on which nothing was heard for so long is opened anew: it may be dead, and the broker may have forgotten us.
const SILENCE_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) body: Value,
}

impl Event {
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("/data/event")
    }

    /// By which whoever asked knows its request.
    pub(crate) fn name(&self) -> &str {
        match self.text("/data/message_id") {
            "" => self.text("/data/key"),
            name => name,
        }
    }

    /// How it ended, in a word or two.
    pub(crate) fn outcome(&self) -> String {
        match self.kind() {
            "completed" => self.text("/data/detail/result").to_owned(),
            "rejected" => format!("rejected {}", self.text("/data/detail/reason")),
            other => other.to_owned(),
        }
    }

    /// No more will be said of the request.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(
            self.kind(),
            "accepted" | "parked" | "held" | "resumed" | "reappeared" | "batch.completed"
        )
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) events: BTreeMap<String, Event>,
    /// Events that came again, as they must be allowed to.
    pub(crate) repeats: u64,
    /// Event ids under which two things were said.
    pub(crate) changed: Vec<String>,
}

pub(crate) type Shared = Arc<Mutex<Heard>>;

pub(crate) struct Ear {
    pub(crate) heard: Shared,
    listening: JoinHandle<()>,
}

impl Ear {
    /// Bound when this returns, so that nothing that is asked from then on can be missed.
    pub(crate) async fn open(url: String, soft: mpsc::Sender<String>) -> Result<Ear, Fault> {
        let bound = async {
            loop {
                match bind(&url).await {
                    Ok(()) => return,
                    Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
                }
            }
        };
        tokio::time::timeout(EXCHANGE_MAX, bound)
            .await
            .map_err(|_| format!("no exchange of events after {EXCHANGE_MAX:.0?}"))?;
        let heard = Shared::default();
        let listening = tokio::spawn(listen(url, heard.clone(), soft));
        Ok(Ear { heard, listening })
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn close(&self) {
        self.listening.abort();
    }

    pub(crate) fn take(&self) -> Heard {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn open(url: &str) -> Result<(Connection, Channel), Fault> {
    let opened = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok::<_, lapin::Error>((connection, channel))
    };
    Ok(tokio::time::timeout(ANSWER_MAX, opened).await??)
}

async fn bind(url: &str) -> Result<(), Fault> {
    let (connection, channel) = open(url).await?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let bound = async {
        channel.queue_declare(QUEUE.into(), options, arguments).await?;
        channel
            .queue_bind(
                QUEUE.into(),
                EVENTS_EXCHANGE.into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        connection.close(200, "bound".into()).await
    };
    Ok(tokio::time::timeout(ANSWER_MAX, bound).await??)
}

/// How many messages wait in a queue.
pub(crate) async fn depth(url: &str, queue: &str) -> Result<u32, Fault> {
    let (connection, channel) = open(url).await?;
    let options = QueueDeclareOptions {
        passive: true,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    let depth = tokio::time::timeout(ANSWER_MAX, declared).await??.message_count();
    let _closed_anyway = tokio::time::timeout(ANSWER_MAX, connection.close(200, "seen".into())).await;
    Ok(depth)
}

pub(crate) async fn unheard_depth(url: &str) -> Result<u32, Fault> {
    depth(url, QUEUE).await
}

async fn listen(url: String, heard: Shared, soft: mpsc::Sender<String>) {
    loop {
        let _lost = hear(&url, &heard, &soft).await;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn hear(url: &str, heard: &Shared, soft: &mpsc::Sender<String>) -> Result<(), Fault> {
    let (connection, channel) = open(url).await?;
    let lost = take_from(&channel, heard, soft).await;
    // Or the broker goes on waiting for what it has given to a connection that nobody reads any more.
    let _gone_already = tokio::time::timeout(CLOSE_MAX, connection.close(200, "again".into())).await;
    lost
}

async fn take_from(channel: &Channel, heard: &Shared, soft: &mpsc::Sender<String>) -> Result<(), Fault> {
    let consuming = async {
        channel.basic_qos(HELD, BasicQosOptions::default()).await?;
        channel
            .basic_consume(
                QUEUE.into(),
                "storm".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
    };
    let mut deliveries = tokio::time::timeout(ANSWER_MAX, consuming).await??;
    while let Some(delivery) = tokio::time::timeout(SILENCE_MAX, deliveries.next()).await? {
        let delivery = delivery?;
        let event = Event {
            body: serde_json::from_slice(&delivery.data)?,
        };
        let softly = (event.kind() == "soft_deleted").then(|| event.name().to_owned());
        let is_new = heard.lock().unwrap_or_else(PoisonError::into_inner).take(event);
        if let (Some(name), true) = (softly, is_new) {
            let _nobody_waits = soft.try_send(name);
        }
        tokio::time::timeout(ANSWER_MAX, delivery.ack(BasicAckOptions::default())).await??;
    }
    Ok(())
}

impl Heard {
    fn take(&mut self, event: Event) -> bool {
        let id = event.text("/id").to_owned();
        match self.events.get(&id) {
            None => {
                self.events.insert(id, event);
                true
            }
            Some(known) => {
                self.repeats += 1;
                if *known != event {
                    self.changed.push(id);
                }
                false
            }
        }
    }
}
