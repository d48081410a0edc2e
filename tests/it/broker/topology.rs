//! What stands at the broker: declared by anybody, twice, over something else; and who hears an event.

use super::*;

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
