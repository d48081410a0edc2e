//! What is promised about batches: nothing is settled that nobody decided, and what is not settled comes again.

use super::*;

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
