//! What a person may do by hand.

use super::*;

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
