//! What is turned away on real servers: told, kept with its body and its reason, and never in the way of others.

use bytes::Bytes;
use serde_json::{Value, json};
use sexton::broker::{Delivery, Message, REJECTED_QUEUE, REQUESTS_QUEUE, Value as Header};
use sexton::deletion::REQUEST_BODY_MAX_BYTES;

use crate::admission::{cancel, end_of};
use crate::house::{House, patience};
use crate::shop::{THING, delete, message, with};

/// What stands in `deletion.rejected`, once there are so many.
async fn rejected(house: &House, wanted: usize) -> Vec<Delivery> {
    let mut desk = house.desk().await;
    let all = tokio::time::timeout(patience(), async {
        loop {
            let all = desk.peek(REJECTED_QUEUE, wanted + 1).await.expect("a look");
            if all.len() >= wanted {
                return all;
            }
        }
    });
    let all = all.await.expect("so many are rejected");
    desk.close().await;
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_each_kind_of_rejection_is_told_with_its_body_and_reason() {
    let house = House::new().await;
    house.plan("old", &THING.replace("\"shop.thing\"", "\"shop.retired\""));
    house.worker_once().await;
    house.no_plan("old");
    house.things(&["a"]).await;
    let worker = house.worker();
    house.publish(delete("a")).await;
    house.heard.end("k-a").await;

    let of_type = |kind: &str| with(delete("x"), json!({"target": {"type": kind, "id": "x"}})).to_string();
    let changed = |more: Value| with(delete("x"), more).to_string();
    let cases = [
        ("not_json", "", "{\"target\": ".to_owned()),
        (
            "wrong_shape",
            "/target/id",
            changed(json!({"target": {"type": "shop.thing"}})),
        ),
        (
            "wrong_shape",
            "/params",
            changed(json!({"params": {"colour": "red"}})),
        ),
        (
            "wrong_shape",
            "/params",
            changed(json!({"params": {"depth": "a\u{0}b"}})),
        ),
        ("unknown_type", "/target/type", of_type("shop.nowhere")),
        ("no_plan", "/target/type", of_type("shop.retired")),
        ("unknown_version", "/version", changed(json!({"version": 99}))),
        ("key_conflict", "/key", changed(json!({"key": "k-a"}))),
        ("nothing_to_do", "/target", cancel("x", "c").to_string()),
        ("nothing_to_do", "/target", changed(json!({"action": "restore"}))),
        ("not_allowed", "/action", changed(json!({"action": "purge"}))),
    ];
    for (nth, (_, _, body)) in cases.iter().enumerate() {
        let correlation_id = Some(format!("case-{nth}"));
        house
            .publish_as(Message {
                correlation_id,
                ..message(Bytes::from(body.clone()))
            })
            .await;
    }
    for (nth, (reason, field, body)) in cases.iter().enumerate() {
        let event = end_of(&house, &format!("case-{nth}")).await;
        let told = (event.kind(), event.detail("reason"), event.detail("field"));
        assert_eq!(told, ("rejected", Some(*reason), Some(*field)), "{body}");
    }
    let kept = rejected(&house, cases.len()).await;
    assert_eq!(kept.len(), cases.len());
    for (nth, (reason, field, body)) in cases.iter().enumerate() {
        let correlation = format!("case-{nth}");
        let found = kept
            .iter()
            .find(|kept| kept.correlation_id.as_deref() == Some(&correlation));
        let found = found.unwrap_or_else(|| panic!("{body} is not kept"));
        assert_eq!(found.body, body.as_bytes(), "as it came");
        for (header, wanted) in [("sexton-reason", *reason), ("sexton-field", *field)] {
            assert_eq!(
                found.headers.get(header).and_then(Header::as_text),
                Some(wanted),
                "{body}"
            );
        }
    }
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(house.count("select count(*) from sexton.requests").await, 1);
    assert_eq!(
        house
            .count("select count(*) from sexton.rejections where body is not null")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_body_over_the_bound_is_turned_away_whole_and_never_enters_the_tables() {
    let house = House::new().await;
    let worker = house.worker();
    let request = |id: &str, size: usize| {
        let bare = with(delete(id), json!({"reason": ""})).to_string();
        // White space between the fields: it counts, and it is the only thing that does not need a bound of its own.
        let padding = " ".repeat(size - bare.len());
        bare.replacen('{', &format!("{{{padding}"), 1)
    };
    house
        .publish_as(message(Bytes::from(request("fits", REQUEST_BODY_MAX_BYTES))))
        .await;
    let over = request("over", REQUEST_BODY_MAX_BYTES + 1);
    let correlation_id = Some("over".to_owned());
    house
        .publish_as(Message {
            correlation_id,
            ..message(Bytes::from(over.clone()))
        })
        .await;
    let event = end_of(&house, "over").await;
    assert_eq!(
        (event.kind(), event.detail("reason")),
        ("rejected", Some("too_large"))
    );
    assert_eq!(house.heard.end("k-fits").await.detail("result"), Some("absent"));
    let kept = rejected(&house, 1).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].body, over.as_bytes());
    worker.stop().await;
    assert_eq!(
        house
            .count("select count(*) from sexton.rejections where body is not null")
            .await,
        0
    );
    let depth = house.desk().await.depth(REQUESTS_QUEUE).await.expect("a queue");
    assert_eq!(depth.ready, 0);
}
