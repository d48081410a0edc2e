//! What is promised about sending: one true outcome for each message, whatever its neighbours are.

use super::*;

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
    let rights = r#"{"configure": ".*", "write": "^(?!secret).*$", "read": ".*"}"#;
    manage(world, "permissions", user, rights).await;
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
