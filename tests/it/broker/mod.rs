//! The broker folder against a real RabbitMQ: what is promised about batches, confirms, and coming back.

mod desk;
mod inlet;
mod outage;
mod outlet;
mod poison;
mod topology;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use sexton::broker::{
    Acked, Binding, Broker, BrokerError, BrokerSettings, EVENTS_EXCHANGE, Headers, Inlet, Message,
    PublishOutcome, REJECTED_QUEUE, REQUESTS_EXCHANGE, REQUESTS_QUEUE, UNHEARD_EXCHANGE, UNHEARD_QUEUE,
    Unrouted, Value,
};
use sexton::services::{Ending, Options, Services};
use tokio_util::sync::CancellationToken;

use crate::amqp_wire::{GARBLED, Wire};
use crate::world::World;

/// Nothing here takes a tenth of this on an idle machine; a test that hangs says so within a minute.
const PATIENCE: Duration = Duration::from_secs(60);
/// A batch that is not waited for.
const AT_ONCE: Duration = Duration::ZERO;
/// Longer than any of these tests: whoever returns earlier did so for another reason.
const LONG: Duration = Duration::from_secs(600);

fn settings(url: &str) -> BrokerSettings {
    BrokerSettings {
        url: url.into(),
        reconnect_min: Duration::from_millis(20),
        reconnect_max: Duration::from_millis(200),
        ..BrokerSettings::default()
    }
}

async fn broker(url: &str) -> Broker {
    Broker::open(settings(url), CancellationToken::new())
        .await
        .expect("a broker")
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took more than {PATIENCE:?}"),
    }
}

fn request(id: &str) -> Message {
    Message {
        exchange: REQUESTS_EXCHANGE.into(),
        routing_key: "org_1.factory-computer".into(),
        headers: Headers::new(),
        message_id: id.into(),
        correlation_id: Some(format!("about {id}")),
        content_type: Some("application/json".into()),
        body: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
        persistent: true,
        unrouted: Unrouted::Tell,
    }
}

fn event(id: &str, key: &str, headers: Headers) -> Message {
    Message {
        exchange: EVENTS_EXCHANGE.into(),
        routing_key: key.into(),
        headers,
        unrouted: Unrouted::Divert(UNHEARD_EXCHANGE),
        ..request(id)
    }
}

async fn send(broker: &Broker, ids: &[&str]) {
    let outlet = broker.outlet();
    assert!(in_time("a connection", outlet.ready()).await);
    let outcomes = outlet
        .publish_all(ids.iter().map(|id| request(id)).collect())
        .await;
    assert_eq!(outcomes, vec![PublishOutcome::Confirmed; ids.len()]);
}

/// Exactly these, in whatever portions they come; the batches stay undecided.
async fn gather(inlet: &mut Inlet, n: usize) -> (Vec<sexton::broker::Batch>, Vec<String>) {
    let (mut batches, mut ids) = (Vec::new(), Vec::new());
    while ids.len() < n {
        let batch = in_time("a batch", inlet.next_batch(n - ids.len(), AT_ONCE))
            .await
            .expect("not drained");
        ids.extend(
            batch
                .deliveries()
                .iter()
                .map(|d| d.message_id.clone().expect("an id")),
        );
        batches.push(batch);
    }
    (batches, ids)
}

/// The count that RabbitMQ gives is a moment old; it is asked until it is what it must become.
async fn until_ready(broker: &Broker, queue: &str, wanted: u32) {
    let mut desk = broker.desk().await.expect("a desk");
    in_time(&format!("{wanted} messages in {queue}"), async {
        loop {
            match desk.depth(queue).await {
                Ok(depth) if depth.ready == wanted => return,
                Ok(_) => tokio::task::yield_now().await,
                Err(_) => desk = broker.desk().await.expect("a desk"),
            }
        }
    })
    .await;
    desk.close().await;
}

/// Puts something of the world's vhost by the management API.
async fn manage(world: &World, what: &str, name: &str, body: &'static str) {
    let amqp = reqwest::Url::parse(&world.amqp_url).unwrap();
    let url = reqwest::Url::parse(&world.urls.management_url)
        .unwrap()
        .join(&format!("api/{what}{}/{name}", amqp.path()))
        .unwrap();
    let answer = reqwest::Client::new()
        .put(url)
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// Somebody else at the same broker, with no promises.
async fn foreign(url: &str) -> lapin::Channel {
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(url, properties)
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    // The channel keeps its connection; dropping the handle closes nothing.
    channel
}
