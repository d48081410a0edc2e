//! The broker folder against a real RabbitMQ: what is promised about batches, confirms, and coming back.

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

use crate::amqp_wire::Wire;
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

#[tokio::test]
async fn topology_declared_twice_is_fine() {
    let world = World::new().await;
    broker(&world.amqp_url).await;
    broker(&world.amqp_url).await;
}

#[tokio::test]
async fn topology_over_another_queue_names_it_and_the_difference() {
    let world = World::new().await;
    let foreign = foreign(&world.amqp_url).await;
    let classic = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    foreign
        .queue_declare(REQUESTS_QUEUE.into(), classic, FieldTable::default())
        .await
        .expect("a classic queue");
    let error = Broker::open(settings(&world.amqp_url), CancellationToken::new())
        .await
        .err()
        .expect("it differs");
    assert!(
        matches!(error, BrokerError::Differs { what: "queue", .. }),
        "{error:?}"
    );
    let said = error.to_string();
    assert!(
        said.contains("\"deletion.requests\"") && said.contains("inequivalent arg"),
        "{said}"
    );
}

#[tokio::test]
async fn a_missing_server_is_one_sentence_without_the_password() {
    let error = Broker::open(
        settings("amqp://guest:hunter2@127.0.0.1:1/%2f"),
        CancellationToken::new(),
    )
    .await
    .err()
    .expect("nobody is there");
    assert_eq!(error.to_string(), "cannot connect to the broker at 127.0.0.1:1");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn events_reach_topic_and_header_consumers_and_only_the_unheard_are_put_aside() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let desk = broker.desk().await.expect("a desk");
    let mut by_topic = desk
        .listen(&[Binding::Topic("org_1.*.completed".into())])
        .await
        .expect("bound");
    let wanted = Headers::from([("sexton-request-key".into(), Value::from("k1"))]);
    let mut by_headers = desk
        .listen(&[Binding::Headers(wanted.clone())])
        .await
        .expect("bound");

    // Interleaved in one batch, so that a return given to the wrong neighbour would show.
    let mut events = Vec::new();
    for n in 0..50 {
        events.push(event(&format!("both-{n}"), "org_1.t.completed", wanted.clone()));
        events.push(event(&format!("topic-{n}"), "org_1.t.completed", Headers::new()));
        events.push(event(&format!("nobody-{n}"), "org_2.t.parked", Headers::new()));
        events.push(event(&format!("headers-{n}"), "org_2.t.parked", wanted.clone()));
    }
    let outcomes = outlet.publish_all(events).await;
    assert!(
        outcomes.iter().all(|o| *o == PublishOutcome::Confirmed),
        "{outcomes:?}"
    );

    let (mut topic, mut headers) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        topic.push(
            in_time("a topic event", by_topic.next())
                .await
                .expect("heard")
                .message_id,
        );
        headers.push(
            in_time("a headers event", by_headers.next())
                .await
                .expect("heard")
                .message_id,
        );
    }
    let all = |ids: &[Option<String>], kinds: [&str; 2]| {
        ids.iter()
            .flatten()
            .all(|id| kinds.iter().any(|kind| id.starts_with(kind)))
    };
    assert!(all(&topic, ["both-", "topic-"]), "{topic:?}");
    assert!(all(&headers, ["both-", "headers-"]), "{headers:?}");

    assert_eq!(broker.tally().now().diverted, 50);
    until_ready(&broker, UNHEARD_QUEUE, 50).await;
    let unheard = broker
        .desk()
        .await
        .expect("a desk")
        .peek(UNHEARD_QUEUE, 100)
        .await
        .expect("a look");
    assert!(
        unheard.iter().all(|d| d
            .message_id
            .as_deref()
            .is_some_and(|id| id.starts_with("nobody-"))),
        "{unheard:?}"
    );
    assert_eq!(unheard[0].routing_key, "org_2.t.parked");
}

#[tokio::test]
async fn an_unroutable_message_is_told_apart_from_its_neighbours() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let messages: Vec<Message> = (0..300)
        .map(|n| match n % 3 {
            0 => Message {
                unrouted: Unrouted::Tell,
                ..event(&n.to_string(), "nobody.hears.this", Headers::new())
            },
            1 => Message {
                exchange: "no.such.exchange".into(),
                ..request(&n.to_string())
            },
            _ => request(&n.to_string()),
        })
        .collect();
    let outcomes = in_time("all outcomes", outlet.publish_all(messages)).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        match n % 3 {
            0 => assert_eq!(*outcome, PublishOutcome::Unroutable, "{n}"),
            1 => assert!(
                matches!(outcome, PublishOutcome::Refused(why) if why.contains("no.such.exchange")),
                "{n}: {outcome:?}"
            ),
            _ => assert_eq!(*outcome, PublishOutcome::Confirmed, "{n}"),
        }
    }
    until_ready(&broker, REQUESTS_QUEUE, 100).await;
}

#[tokio::test]
async fn a_message_that_amqp_cannot_carry_is_refused_alone() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let long_key = Message {
        routing_key: "k".repeat(256),
        ..request("long")
    };
    let heavy = Headers::from([("h".into(), Value::Text("x".repeat(200_000)))]);
    let outcomes = outlet
        .publish_all(vec![
            request("a"),
            long_key,
            Message {
                headers: heavy,
                ..request("heavy")
            },
            request("b"),
        ])
        .await;
    assert_eq!([&outcomes[0], &outcomes[3]], [&PublishOutcome::Confirmed; 2]);
    assert!(
        outcomes[1..3]
            .iter()
            .all(|o| matches!(o, PublishOutcome::Refused(_))),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn an_exchange_that_may_not_be_written_to_is_learned_and_costs_the_others_nothing_more() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    let foreign = foreign(&world.amqp_url).await;
    let options = lapin::options::ExchangeDeclareOptions::default();
    foreign
        .exchange_declare(
            "secret".into(),
            lapin::ExchangeKind::Fanout,
            options,
            FieldTable::default(),
        )
        .await
        .expect("an exchange");
    forbid_writing_to_secret(&world).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let round = || {
        let mut messages: Vec<Message> = (0..20).map(|n| request(&n.to_string())).collect();
        messages.insert(
            10,
            Message {
                exchange: "secret".into(),
                ..request("s")
            },
        );
        messages
    };
    // The first batch may be lost to the lesson, and the connection with it.
    in_time("the lesson", async {
        while outlet.publish_all(round()).await[10] == PublishOutcome::Lost {
            outlet.ready().await;
        }
    })
    .await;
    let mut outcomes = outlet.publish_all(round()).await;
    let secret = outcomes.remove(10);
    assert!(
        matches!(&secret, PublishOutcome::Refused(why) if why.contains("'secret'")),
        "{secret:?}"
    );
    assert_eq!(outcomes, vec![PublishOutcome::Confirmed; 20]);
}

/// The rights of this vhost only; the user is everybody's.
async fn forbid_writing_to_secret(world: &World) {
    let amqp = reqwest::Url::parse(&world.amqp_url).unwrap();
    let user = if amqp.username().is_empty() {
        "guest"
    } else {
        amqp.username()
    };
    let path = format!("api/permissions{}/{user}", amqp.path());
    let url = reqwest::Url::parse(&world.urls.management_url)
        .unwrap()
        .join(&path)
        .unwrap();
    let rights = r#"{"configure": ".*", "write": "^(?!secret).*$", "read": ".*"}"#;
    let answer = reqwest::Client::new()
        .put(url)
        .body(rights)
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

#[tokio::test]
async fn what_a_consumer_refuses_for_good_lands_among_the_rejected() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1"]).await;
    let foreign = foreign(&world.amqp_url).await;
    let got = in_time("a message", async {
        loop {
            let options = lapin::options::BasicGetOptions { no_ack: false };
            if let Some(got) = foreign
                .basic_get(REQUESTS_QUEUE.into(), options)
                .await
                .expect("an answer")
            {
                return got;
            }
        }
    })
    .await;
    // The same way out as for a message that is over the delivery limit.
    let refusal = lapin::options::BasicRejectOptions { requeue: false };
    assert!(got.reject(refusal).await.expect("sent"));
    until_ready(&broker, REJECTED_QUEUE, 1).await;
    let seen = broker
        .desk()
        .await
        .expect("a desk")
        .peek(REJECTED_QUEUE, 1)
        .await
        .expect("a look");
    assert_eq!(seen[0].message_id.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let silent = BrokerSettings {
        connect_timeout: Duration::from_millis(100),
        ..settings(&format!("amqp://127.0.0.1:{port}/%2f"))
    };
    let opening = Broker::open(silent, CancellationToken::new());
    let error = in_time("an answer", opening).await.err().expect("nobody answers");
    assert_eq!(
        error.to_string(),
        format!("the broker at 127.0.0.1:{port} did not finish the handshake within 100 ms")
    );
}

#[tokio::test]
async fn a_delivery_carries_what_was_sent() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let headers = Headers::from([
        ("traceparent".into(), Value::from("00-1-2-01")),
        ("n".into(), Value::Int(7)),
    ]);
    let big = Bytes::from(vec![b'x'; 3 * 1024 * 1024]);
    let sent = Message {
        headers: headers.clone(),
        body: big.clone(),
        ..request("m1")
    };
    assert_eq!(outlet.publish(sent).await, PublishOutcome::Confirmed);
    let mut inlet = broker.inlet(CancellationToken::new());
    let batch = in_time("a batch", inlet.next_batch(10, AT_ONCE))
        .await
        .expect("not drained");
    let got = &batch.deliveries()[0];
    assert_eq!((&got.body, &got.headers), (&big, &headers));
    assert_eq!(got.message_id.as_deref(), Some("m1"));
    assert_eq!(got.correlation_id.as_deref(), Some("about m1"));
    assert_eq!(got.content_type.as_deref(), Some("application/json"));
    assert_eq!(
        (got.routing_key.as_str(), got.redelivered, got.delivery_count),
        ("org_1.factory-computer", false, 0)
    );
    assert_eq!(batch.ack().await, Acked::Sent);
}

#[tokio::test]
async fn acknowledged_batches_are_gone_and_only_these() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1", "2", "3", "4", "5"]).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (batches, _) = gather(&mut inlet, 3).await;
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::Sent);
    }
    let (undecided, _) = gather(&mut inlet, 2).await;
    inlet.close().await;
    until_ready(&broker, REQUESTS_QUEUE, 2).await;
    for batch in undecided {
        assert_eq!(batch.ack().await, Acked::NotSent);
    }
    assert_eq!(broker.tally().now().delivered, 5);
}

#[tokio::test]
async fn a_later_acknowledgement_never_settles_an_earlier_undecided_batch() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1", "2"]).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (mut first, _) = gather(&mut inlet, 1).await;
    let (mut second, _) = gather(&mut inlet, 1).await;
    assert_eq!(second.remove(0).ack().await, Acked::Waits);
    inlet.hold().await;
    until_ready(&broker, REQUESTS_QUEUE, 2).await;
    assert_eq!(first.remove(0).ack().await, Acked::NotSent);

    let (mut first, _) = gather(&mut inlet, 1).await;
    let (mut second, _) = gather(&mut inlet, 1).await;
    assert_eq!(second.remove(0).ack().await, Acked::Waits);
    assert_eq!(first.remove(0).ack().await, Acked::Sent);
    inlet.close().await;
    until_ready(&broker, REQUESTS_QUEUE, 0).await;
}

#[tokio::test]
async fn a_batch_dropped_undecided_comes_again() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1", "2"]).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (batches, _) = gather(&mut inlet, 2).await;
    drop(batches);
    let (again, mut ids) = gather(&mut inlet, 2).await;
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
    for batch in again {
        let seen = batch.deliveries();
        assert!(
            seen.iter().all(|d| d.redelivered && d.delivery_count == 1),
            "{seen:?}"
        );
        assert_eq!(batch.ack().await, Acked::Sent);
    }
}

#[tokio::test]
async fn a_hold_gives_back_once_and_the_next_batch_resumes() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1", "2", "3"]).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (in_hand, _) = gather(&mut inlet, 1).await;
    inlet.hold().await;
    inlet.hold().await;
    let held = broker.tally().now();
    assert_eq!((held.held, held.consuming), (true, false));
    until_ready(&broker, REQUESTS_QUEUE, 3).await;
    drop(in_hand);
    let (batches, ids) = gather(&mut inlet, 3).await;
    assert_eq!(ids.len(), 3);
    assert!(
        batches
            .iter()
            .flat_map(|b| b.deliveries())
            .all(|d| d.delivery_count == 1)
    );
    assert!(!broker.tally().now().held);
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::Sent);
    }
}

#[tokio::test]
async fn a_caller_that_stops_waiting_loses_no_delivery() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1"]).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    {
        let mut waiting = std::pin::pin!(inlet.next_batch(2, LONG));
        // It has the first delivery and lingers for a second one when the queue shows none any more.
        tokio::select! {
            batch = &mut waiting => panic!("a batch of {:?}", batch.map(|b| b.deliveries().len())),
            () = until_ready(&broker, REQUESTS_QUEUE, 0) => {}
        }
    }
    send(&broker, &["2"]).await;
    let batch = in_time("both", inlet.next_batch(2, LONG))
        .await
        .expect("not drained");
    let ids: Vec<_> = batch
        .deliveries()
        .iter()
        .flat_map(|d| d.message_id.as_deref())
        .collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(batch.ack().await, Acked::Sent);
    inlet.close().await;
    until_ready(&broker, REQUESTS_QUEUE, 0).await;
}

#[tokio::test]
async fn a_drain_takes_nothing_new_and_can_still_acknowledge() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1"]).await;
    let drain = CancellationToken::new();
    let mut inlet = broker.inlet(drain.clone());
    let (mut batches, _) = gather(&mut inlet, 1).await;
    drain.cancel();
    assert!(in_time("the end", inlet.next_batch(1, LONG)).await.is_none());
    send(&broker, &["2"]).await;
    assert!(inlet.next_batch(1, LONG).await.is_none());
    assert_eq!(batches.remove(0).ack().await, Acked::Sent);
    inlet.close().await;
    until_ready(&broker, REQUESTS_QUEUE, 1).await;
}

#[tokio::test]
async fn a_consumer_that_the_server_cancels_is_built_anew() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    send(&broker, &["1"]).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (mut batches, _) = gather(&mut inlet, 1).await;
    assert_eq!(batches.remove(0).ack().await, Acked::Sent);
    let foreign = foreign(&world.amqp_url).await;
    foreign
        .queue_delete(REQUESTS_QUEUE.into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    let outlet = broker.outlet();
    outlet.ready().await;
    let publish = async {
        // Until the inlet has declared the queue again, nobody has this message, and says so.
        while outlet.publish(request("2")).await != PublishOutcome::Confirmed {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        (_, ids) = gather(&mut inlet, 1) => assert_eq!(ids, ["2"]),
        () = publish => {}
    }
    assert_eq!(broker.tally().now().consumer_rebuilds, 1);
}

#[tokio::test]
async fn a_channel_that_the_server_closes_is_built_anew() {
    let world = World::new().await;
    let wire = Wire::to(&world.amqp_url).await;
    let direct = broker(&world.amqp_url).await;
    send(&direct, &["1", "2"]).await;
    let broker = broker(&wire.url).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (batches, _) = gather(&mut inlet, 2).await;
    let connections = wire.connections.load(std::sync::atomic::Ordering::SeqCst);
    wire.acknowledge_nonsense();
    let (again, mut ids) = gather(&mut inlet, 2).await;
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::NotSent);
    }
    for batch in again {
        assert_eq!(batch.ack().await, Acked::Sent);
    }
    assert_eq!(
        connections,
        wire.connections.load(std::sync::atomic::Ordering::SeqCst),
        "the connection stood"
    );
    assert_eq!(broker.tally().now().outages, 0);
}

#[tokio::test]
async fn a_cut_connection_is_said_once_and_everything_comes_back() {
    let said = Said::listen();
    let world = World::new().await;
    let wire = Wire::to(&world.amqp_url).await;
    let direct = broker(&world.amqp_url).await;
    send(&direct, &["1", "2"]).await;
    let broker = broker(&wire.url).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let outlet = broker.outlet();
    outlet.ready().await;
    let (batches, _) = gather(&mut inlet, 2).await;
    assert!(broker.reach().connected && broker.reach().consuming);

    wire.cut();
    in_time("the loss", async {
        while broker.tally().now().outages < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!broker.reach().connected);
    assert_eq!(
        in_time("an answer", outlet.publish(request("x"))).await,
        PublishOutcome::Lost
    );
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::NotSent);
    }
    wire.mend();

    assert!(in_time("the return", outlet.ready()).await);
    assert_eq!(outlet.publish(request("3")).await, PublishOutcome::Confirmed);
    let (again, mut ids) = gather(&mut inlet, 3).await;
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
    for batch in again {
        assert_eq!(batch.ack().await, Acked::Sent);
    }
    assert!(broker.reach().connected);
    assert_eq!(
        said.lines(),
        [
            "WARN lost the broker, reconnecting until it is back",
            "INFO the broker is back"
        ]
    );
}

#[tokio::test]
async fn a_broker_outage_loses_nothing_that_was_confirmed() {
    let said = Said::listen();
    // Only the broker is wanted; the other is given, and never asked.
    let options = Options {
        database_url: Some("postgres://nobody@127.0.0.1:1/none".into()),
        ..Options::private()
    };
    let mut services = Services::start(options).await.expect("a broker of one's own");
    let broker = broker(&services.urls.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let ids: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    send(&broker, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (batches, _) = gather(&mut inlet, 40).await;
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::Sent);
    }

    services.stop_broker(Ending::Kill).await.expect("stopped");
    assert_eq!(
        in_time("an answer", outlet.publish(request("x"))).await,
        PublishOutcome::Lost
    );
    let back = tokio::spawn({
        let outlet = outlet.clone();
        async move { outlet.ready().await }
    });
    services.start_broker().await.expect("started");
    assert!(in_time("the return", back).await.expect("no panic"));
    // A quorum queue elects its leader after the listener is open.
    in_time("a confirm", async {
        while outlet.publish(request("last")).await != PublishOutcome::Confirmed {}
    })
    .await;

    // What was acknowledged in the last moment may come again; nothing else may be missing.
    let mut missing: std::collections::BTreeSet<String> =
        ids[40..].iter().cloned().chain(["last".into()]).collect();
    while !missing.is_empty() {
        let (batches, got) = gather(&mut inlet, 1).await;
        for id in got {
            missing.remove(&id);
        }
        for batch in batches {
            assert_eq!(batch.ack().await, Acked::Sent);
        }
    }
    let lines = said.lines();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("WARN lost the broker"))
            .count(),
        1,
        "{lines:?}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| *line == "INFO the broker is back")
            .count(),
        1,
        "{lines:?}"
    );
    services.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_desk_looks_without_taking_and_moves_without_losing() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let rejected = |id: &str| Message {
        exchange: String::new(),
        routing_key: REJECTED_QUEUE.into(),
        ..request(id)
    };
    let sent = outlet
        .publish_all(vec![rejected("1"), rejected("2"), rejected("3")])
        .await;
    assert_eq!(sent, vec![PublishOutcome::Confirmed; 3]);

    let mut desk = broker.desk().await.expect("a desk");
    let seen = desk.peek(REJECTED_QUEUE, 2).await.expect("a look");
    assert_eq!(
        seen.iter()
            .flat_map(|d| d.message_id.as_deref())
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
    until_ready(&broker, REJECTED_QUEUE, 3).await;

    let mut moved = 0;
    while let Some(taken) = desk.take(REJECTED_QUEUE).await.expect("a message") {
        if taken.delivery.message_id.as_deref() == Some("2") {
            // Nobody can take this one: it must stay where it is.
            let nowhere = Message {
                routing_key: "no.such.queue".into(),
                ..rejected("2")
            };
            assert_eq!(
                desk.move_on(taken, &nowhere).await.expect("an answer"),
                PublishOutcome::Unroutable
            );
        } else {
            let again = request(taken.delivery.message_id.as_deref().expect("an id"));
            assert_eq!(
                desk.move_on(taken, &again).await.expect("an answer"),
                PublishOutcome::Confirmed
            );
            moved += 1;
        }
    }
    assert_eq!(moved, 2);
    desk.close().await;
    until_ready(&broker, REJECTED_QUEUE, 1).await;
    until_ready(&broker, REQUESTS_QUEUE, 2).await;

    let desk = broker.desk().await.expect("a desk");
    let missing = desk.depth("no.such.queue").await.expect_err("not there");
    assert_eq!(missing.to_string(), "there is no queue \"no.such.queue\"");
}

#[tokio::test]
async fn ten_thousand_from_many_senders_are_each_confirmed() {
    let world = World::new().await;
    let broker = broker(&world.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let senders = (0..10).map(|sender| {
        let outlet = outlet.clone();
        async move {
            let messages = (0..1_000).map(|n| request(&format!("{sender}-{n}"))).collect();
            outlet.publish_all(messages).await
        }
    });
    let outcomes: Vec<_> = futures::future::join_all(senders).await.concat();
    assert!(outcomes.iter().all(|o| *o == PublishOutcome::Confirmed));
    assert_eq!(broker.tally().now().confirmed, 10_000);
    until_ready(&broker, REQUESTS_QUEUE, 10_000).await;

    // And back in again: full batches, each acknowledged before the next.
    let mut inlet = broker.inlet(CancellationToken::new());
    let mut seen = 0;
    while seen < 10_000 {
        let batch = in_time("a batch", inlet.next_batch(500, AT_ONCE))
            .await
            .expect("not drained");
        seen += batch.deliveries().len();
        assert_eq!(batch.ack().await, Acked::Sent);
    }
    inlet.close().await;
    assert_eq!((seen, broker.tally().now().redelivered), (10_000, 0));
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

/// What the broker folder says on the log of this thread, on which all of a test's tasks run.
struct Said {
    lines: Arc<Mutex<Vec<String>>>,
    _until_dropped: tracing::subscriber::DefaultGuard,
}

impl Said {
    fn listen() -> Said {
        use tracing_subscriber::layer::SubscriberExt;
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let subscriber = tracing_subscriber::registry().with(Ear(lines.clone()));
        Said {
            lines,
            _until_dropped: tracing::subscriber::set_default(subscriber),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

struct Ear(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Ear {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target().starts_with("sexton::broker") {
            let mut message = Sentence(String::new());
            event.record(&mut message);
            self.0
                .lock()
                .unwrap()
                .push(format!("{} {}", event.metadata().level(), message.0));
        }
    }
}

struct Sentence(String);

impl tracing::field::Visit for Sentence {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
