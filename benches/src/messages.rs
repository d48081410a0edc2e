//! Both ends of the queues: what is laid in before a run, and the counting of what comes out.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::try_join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};
use sexton::broker::{Broker, BrokerSettings, EVENTS_EXCHANGE, REQUESTS_EXCHANGE, REQUESTS_QUEUE};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Fail;
use crate::place::KIND;

const QUEUE: &str = "bench.outcomes";
/// Written in one go before their confirms are waited for.
const PRELOAD_BATCH: usize = 2_000;
/// The reader must never be what the run waits for.
const READ_AHEAD: u16 = 5_000;
const READ_BATCH: usize = 500;
/// No outcome for this long: nothing more will come.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether the queue has begun to drain; against seconds of a run that is nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Starts this program again as the publisher.
pub(crate) const WORD: &str = "publish";

pub(crate) struct Outcomes {
    /// Deliveries so far, also those that came twice.
    pub(crate) delivered: usize,
    /// When each of those came that were waited for.
    pub(crate) moments: Vec<Instant>,
    channel: Channel,
    consumer: Consumer,
    unacknowledged: usize,
    last_tag: u64,
    // Ends with this struct, and its consumer with it.
    _connection: Connection,
}

/// What came out, and for which key it was asked.
pub(crate) struct Outcome {
    pub(crate) event: Uuid,
    pub(crate) key: Option<String>,
}

impl Outcomes {
    /// Declares the topology and binds a queue for the outcomes: an event that nobody hears is published twice.
    pub(crate) async fn listen(amqp_url: &str) -> Result<Self, Fail> {
        let settings = BrokerSettings {
            url: amqp_url.into(),
            ..BrokerSettings::default()
        };
        Broker::open(settings, CancellationToken::new()).await?;
        Outcomes::listen_for(amqp_url, QUEUE, "#").await
    }

    /// What fits the pattern, in a queue of its own, once the topology stands.
    pub(crate) async fn listen_for(amqp_url: &str, queue: &str, pattern: &str) -> Result<Self, Fail> {
        let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        // As somebody would have it who relies on outcomes: its confirm means that it is on the disk.
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel.queue_declare(queue.into(), durable, arguments).await?;
        channel
            .queue_bind(
                queue.into(),
                EVENTS_EXCHANGE.into(),
                pattern.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        channel.basic_qos(READ_AHEAD, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(
                queue.into(),
                "bench".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Outcomes {
            delivered: 0,
            moments: Vec::new(),
            channel,
            consumer,
            unacknowledged: 0,
            last_tag: 0,
            _connection: connection,
        })
    }

    /// The next one; nothing if none comes for as long as this. Acknowledged with those behind it.
    pub(crate) async fn next(&mut self, silence_max: Duration) -> Result<Option<Outcome>, Fail> {
        let Ok(next) = tokio::time::timeout(silence_max, self.consumer.next()).await else {
            return Ok(None);
        };
        let delivery = next.ok_or("the consumer of the outcomes has ended")??;
        self.delivered += 1;
        if !delivery.routing_key.as_str().ends_with(".completed") {
            return Err(format!("an outcome is {}; wanted only completed", delivery.routing_key).into());
        }
        let id = delivery.properties.message_id().as_ref();
        let headers = delivery.properties.headers().as_ref();
        let key = headers.and_then(|headers| match headers.inner().get("sexton-key") {
            Some(AMQPValue::LongString(key)) => Some(key.to_string()),
            _ => None,
        });
        let event = id.ok_or("an outcome without an id")?.as_str().parse()?;
        self.last_tag = delivery.delivery_tag;
        self.unacknowledged += 1;
        if self.unacknowledged == READ_BATCH {
            self.acknowledge().await?;
        }
        Ok(Some(Outcome { event, key }))
    }

    pub(crate) async fn acknowledge(&mut self) -> Result<(), Fail> {
        if self.unacknowledged > 0 {
            let all = BasicAckOptions { multiple: true };
            self.channel.basic_ack(self.last_tag, all).await?;
            self.unacknowledged = 0;
        }
        Ok(())
    }

    /// Returns when so many distinct outcomes have come, with the moment of the last.
    pub(crate) async fn count(&mut self, wanted: usize) -> Result<Instant, Fail> {
        self.wait_for(wanted, SILENCE_MAX).await
    }

    /// The same, of outcomes that take longer.
    pub(crate) async fn wait_for(&mut self, wanted: usize, silence_max: Duration) -> Result<Instant, Fail> {
        let mut seen: HashSet<Uuid> = HashSet::with_capacity(wanted);
        while seen.len() < wanted {
            let Some(outcome) = self.next(silence_max).await? else {
                return Err(format!("{} of {wanted} outcomes came, then none", seen.len()).into());
            };
            if seen.insert(outcome.event) {
                self.moments.push(Instant::now());
            }
        }
        self.acknowledge().await?;
        Ok(Instant::now())
    }
}

/// In a process of its own: says `begun` when the first request goes out.
pub(crate) async fn publish_as_told(requests: &str) -> Result<(), Fail> {
    let amqp_url = std::env::var("AMQP_URL")?;
    crate::report::tell("begun");
    preload(&amqp_url, requests.parse()?).await
}

/// Requests with random keys and ids, so that the indexes see what they see in life. All are confirmed on return.
pub(crate) async fn preload(amqp_url: &str, requests: usize) -> Result<(), Fail> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let bodies: Vec<String> = (0..requests).map(|_| body()).collect();
    for part in bodies.chunks(PRELOAD_BATCH) {
        publish_all(&channel, part).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Of a channel with confirms: returns when the broker has them all.
pub(crate) async fn publish_all(channel: &Channel, bodies: &[String]) -> Result<(), Fail> {
    let publishes = bodies
        .iter()
        .map(|body| async { publish(channel, body).await?.await });
    let confirms = try_join_all(publishes).await?;
    if confirms
        .iter()
        .all(|confirm| matches!(confirm, Confirmation::Ack(None)))
    {
        return Ok(());
    }
    Err("the broker did not take every request".into())
}

/// For the tenant whose outcomes everybody counts, with a random key.
pub(crate) fn body() -> String {
    body_for("bench", &random().to_string())
}

pub(crate) fn body_for(tenant: &str, key: &str) -> String {
    body_of(KIND, tenant, &random().to_string(), key)
}

pub(crate) fn body_of(kind: &str, tenant: &str, id: &str, key: &str) -> String {
    format!(r#"{{"target":{{"type":"{kind}","id":"{id}"}},"tenant":"{tenant}","key":"{key}"}}"#)
}

async fn publish(channel: &Channel, body: &str) -> lapin::Result<PublisherConfirm> {
    channel
        .basic_publish(
            REQUESTS_EXCHANGE.into(),
            "bench".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            BasicProperties::default()
                .with_delivery_mode(2)
                .with_content_type("application/json".into()),
        )
        .await
}

pub(crate) fn random() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

/// One that asks, and waits for the outcome before it asks again.
pub(crate) struct Asker {
    channel: Channel,
    _connection: Connection,
}

impl Asker {
    pub(crate) async fn open(amqp_url: &str) -> Result<Self, Fail> {
        let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Asker {
            channel,
            _connection: connection,
        })
    }

    pub(crate) async fn ask(&self, outcomes: &mut Outcomes) -> Result<Duration, Fail> {
        let body = body();
        let began = Instant::now();
        self.say(&body).await?;
        Ok(outcomes.count(1).await? - began)
    }

    pub(crate) async fn say(&self, body: &str) -> Result<(), Fail> {
        publish(&self.channel, body).await?;
        Ok(())
    }
}

/// Waits until somebody reads the requests.
pub(crate) async fn somebody_reads(amqp_url: &str) -> Result<(), Fail> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    while look(&channel).await?.consumer_count() == 0 {
        ticks.tick().await;
    }
    Ok(connection.close(200, "done".into()).await?)
}

pub(crate) async fn look(channel: &Channel) -> lapin::Result<lapin::Queue> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(REQUESTS_QUEUE.into(), passive, FieldTable::default())
        .await
}

/// Waits for the moment at which the requests' queue begins to drain: from there on a rival's clock runs.
pub(crate) async fn drain_begins(amqp_url: &str, requests: usize) -> Result<Instant, Fail> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    loop {
        ticks.tick().await;
        let queue = look(&channel).await?;
        if usize::try_from(queue.message_count())? < requests {
            let began = Instant::now();
            connection.close(200, "done".into()).await?;
            return Ok(began);
        }
    }
}
