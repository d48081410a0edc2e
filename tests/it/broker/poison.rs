//! A message that no client can read: its message id is no UTF-8, and lapin ends the connection at it.

use super::*;

/// The queue's own limit is thousands; the lower of the two counts.
const LIMIT: &str =
    r#"{"pattern": "^deletion.requests$", "definition": {"delivery-limit": 5}, "apply-to": "queues"}"#;
const PREFETCH: u16 = 8;

#[tokio::test]
async fn one_that_cannot_be_read_goes_to_the_rejected_and_takes_no_neighbour_along() {
    let world = World::new().await;
    manage(&world, "policies", "limit", LIMIT).await;
    let settings = BrokerSettings {
        prefetch: PREFETCH,
        ..settings(&world.amqp_url)
    };
    let broker = Broker::open(settings, CancellationToken::new())
        .await
        .expect("a broker");
    let ids = |numbers: std::ops::Range<u32>| numbers.map(|n| n.to_string()).collect::<Vec<_>>();
    let send_all =
        async |ids: &[String]| send(&broker, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    send_all(&ids(0..4)).await;
    let wire = Wire::to(&world.amqp_url).await;
    let unreadable = self::broker(&wire.url).await.outlet();
    assert!(unreadable.ready().await);
    assert_eq!(
        unreadable.publish(request(GARBLED)).await,
        PublishOutcome::Confirmed
    );
    send_all(&ids(4..30)).await;

    let mut inlet = broker.inlet(CancellationToken::new());
    let mut got = Vec::new();
    while got.len() < 30 {
        let (batches, ids) = gather(&mut inlet, 1).await;
        for batch in batches {
            for delivery in batch.deliveries() {
                assert!(
                    delivery.delivery_count <= 1,
                    "a neighbour was taken along: {delivery:?}"
                );
            }
            // What was in hand when the connection ended comes again.
            if batch.ack().await == Acked::Sent {
                got.extend(ids.clone());
            }
        }
    }
    got.sort_by_key(|id| id.parse::<u32>().expect("one of ours"));
    assert_eq!(got, ids(0..30));
    until_ready(&broker, REJECTED_QUEUE, 1).await;
    until_ready(&broker, REQUESTS_QUEUE, 0).await;
    let now = broker.tally().now();
    // Five more than the first; the broker was well all the time.
    assert_eq!((now.unreadable, now.outages), (6, 0));

    // And it is over: as many as may be are in hand at once.
    send_all(&ids(30..30 + u32::from(PREFETCH))).await;
    let (batches, _) = gather(&mut inlet, usize::from(PREFETCH)).await;
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::Sent);
    }
}
