//! Servers that go away in the middle of everything and come back: nothing is lost, and nothing good is turned away.
//!
//! Each test has servers of its own; the names say `outage`, by which nextest runs them one at a time.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use sexton::broker::{EVENTS_EXCHANGE, REJECTED_QUEUE, REQUESTS_QUEUE};
use sexton::services::{Ending, Options, Services};

use crate::house::House;
use crate::shop::delete;

const MANY: usize = 120;

/// The server that goes away is the test's own; the other one is everybody's, if there is one.
async fn servers(options: Options) -> Services {
    let options = Options {
        durable: false,
        ..options
    };
    Services::start(options).await.expect("a server of one's own")
}

fn names() -> Vec<String> {
    (0..MANY).map(|n| format!("n{n:03}")).collect()
}

async fn publish_all(house: &House) {
    let names = names();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    house.things(&ids).await;
    for some in ids.chunks(20) {
        futures::future::join_all(some.iter().map(|id| house.publish(delete(id)))).await;
    }
}

/// Each is gone, once; and nothing was turned away or is left in a queue.
async fn all_is_well(house: &House) {
    house.everything_is_over().await;
    assert_eq!(
        house.count("select count(*) from sexton.requests").await,
        MANY as i64
    );
    assert_eq!(
        house
            .count("select count(*) from sexton.deletions where result = 'deleted'")
            .await,
        MANY as i64
    );
    assert_eq!(
        house.count("select count(*) from shop.effects").await,
        MANY as i64
    );
    assert_eq!(house.count("select count(*) from sexton.rejections").await, 0);
    let desk = house.desk().await;
    for queue in [REJECTED_QUEUE, REQUESTS_QUEUE] {
        assert_eq!(desk.depth(queue).await.expect("a queue").ready, 0, "{queue}");
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_06_an_outage_of_postgres_in_the_middle_loses_nothing() {
    let mut services = servers(Options {
        database_url: None,
        ..Options::from_env()
    })
    .await;
    let house = House::in_servers(services.urls.clone()).await;
    let worker = house.worker();
    publish_all(&house).await;
    house
        .until("some are over", "select count(*) >= 10 from sexton.deletions")
        .await;
    services.stop_postgres(Ending::Kill).await.expect("stopped");
    services.start_postgres().await.expect("started");
    for id in names() {
        let end = house.heard.end(&format!("k-{id}")).await;
        assert_eq!(
            (end.kind(), end.detail("result")),
            ("completed", Some("deleted")),
            "{id}"
        );
    }
    all_is_well(&house).await;
    for id in names() {
        assert_eq!(house.heard.ends(&format!("k-{id}")).len(), 1, "{id}");
    }
    worker.stop().await;
    drop(house);
    services.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_06_what_ends_in_an_outage_of_the_broker_is_told_after_it() {
    let mut services = servers(Options {
        amqp_url: None,
        ..Options::from_env()
    })
    .await;
    let house = House::in_servers(services.urls.clone()).await;
    let audit = durable_ear(&house).await;
    house
        .sql("alter table shop.things alter ready set default false")
        .await;
    let worker = house.worker();
    publish_all(&house).await;
    house
        .until(
            "all are admitted and wait",
            "select count(distinct id) = 120 from shop.runs where step = 'wait'",
        )
        .await;
    // RabbitMQ writes queues and bindings down a moment after it has said yes; a kill could take the reader's with it.
    services.stop_broker(Ending::Clean).await.expect("stopped");
    house.sql("update shop.things set ready = true").await;
    house
        .until(
            "all end while nobody can be told",
            "select count(*) = 120 from sexton.deletions",
        )
        .await;
    assert_eq!(
        house.count("select count(*) from sexton.outbox").await,
        MANY as i64
    );
    services.start_broker().await.expect("started");
    all_is_well(&house).await;

    let mut desk = house.desk().await;
    let heard = desk.peek(audit, 1000).await.expect("a look");
    let mut keys: Vec<String> = heard
        .iter()
        .map(|event| serde_json::from_slice::<Value>(&event.body).expect("JSON"))
        .filter(|event| event["data"]["event"] == "completed")
        .map(|event| event["data"]["key"].as_str().expect("a key").to_owned())
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), MANY);
    desk.close().await;
    worker.stop().await;
    drop(house);
    services.stop().await.expect("a clean end");
}

/// A reader's queue that outlives the broker. A classic one: a quorum queue that is empty when its only node is killed
/// may come back without a leader (RabbitMQ 3.10), and then confirms nothing for as long as it stands.
async fn durable_ear(house: &House) -> &'static str {
    const NAME: &str = "audit";
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(&house.world.amqp_url, properties)
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(NAME.into(), options, FieldTable::default())
        .await
        .expect("a queue");
    channel
        .queue_bind(
            NAME.into(),
            EVENTS_EXCHANGE.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a binding");
    connection.close(200, "bye".into()).await.expect("a clean end");
    NAME
}
