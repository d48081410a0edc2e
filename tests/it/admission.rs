//! Admission on real servers: which requests are one, which wait for their time or their turn, which are taken back.

use bytes::Bytes;
use serde_json::{Value, json};
use sexton::broker::Message;

use crate::heard::Event;
use crate::house::House;
use crate::shop::{THING, delete, message, with};

/// Without a key; told apart by its `correlation_id`, which is no part of what a request is.
fn keyless(id: &str, correlation: &str, more: Value) -> Message {
    let mut request = with(delete(id), more);
    request.as_object_mut().expect("an object").remove("key");
    Message {
        correlation_id: Some(correlation.into()),
        ..message(Bytes::from(request.to_string()))
    }
}

pub(crate) fn cancel(id: &str, key: &str) -> Value {
    with(delete(id), json!({"action": "cancel", "key": key}))
}

/// How the request with this `correlation_id` ended.
pub(crate) async fn end_of(house: &House, correlation: &str) -> Event {
    let is = |event: &&Event| event.is_end() && event.body["data"]["correlation_id"] == correlation;
    let found = |all: &[Event]| all.iter().find(is).cloned();
    house.heard.until(correlation, found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_copies_in_one_batch_and_later_ones_are_one_request() {
    let house = House::new().await;
    house.things(&["a", "b"]).await;
    // All of them stand in the queue before anybody reads it: one batch.
    for _ in 0..5 {
        house.publish(delete("a")).await;
    }
    let worker = house.worker();
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));

    // The queue keeps its order: once the other request has ended, the copy before it has been decided.
    house.publish(delete("a")).await;
    house.publish(delete("b")).await;
    house.heard.end("k-b").await;
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(house.heard.ends("k-a").len(), 1);
    assert_eq!(house.count("select count(*) from sexton.requests").await, 2);
    assert_eq!(house.count("select count(*) from sexton.deletions").await, 2);
    assert_eq!(house.runs("mark", "a").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_copies_on_two_workers_at_once_are_one_request() {
    let mut house = House::new().await;
    // Small bites, so that both have something of everything.
    house.also_settings("[intake]\nbatch_max = 3\n");
    house.change_settings("[broker]", "[broker]\nprefetch = 3");
    let ids: Vec<String> = (0..20).map(|n| format!("t{n:02}")).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    house.things(&names).await;
    let (one, two) = (house.worker(), house.worker());
    for _ in 0..4 {
        futures::future::join_all(names.iter().map(|id| house.publish(delete(id)))).await;
    }
    for id in &names {
        assert_eq!(
            house.heard.end(&format!("k-{id}")).await.detail("result"),
            Some("deleted")
        );
    }
    one.stop().await;
    two.stop().await;
    house.everything_is_over().await;
    assert_eq!(house.count("select count(*) from sexton.requests").await, 20);
    assert_eq!(house.count("select count(*) from sexton.deletions").await, 20);
    assert_eq!(
        house
            .count("select count(*) from shop.runs where step = 'mark'")
            .await,
        20
    );
    for id in &names {
        assert_eq!(house.heard.ends(&format!("k-{id}")).len(), 1, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_equal_requests_fold_one_differing_waits_and_the_third_is_turned_away() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let worker = house.worker();
    let depth = |depth: &str| json!({"params": {"depth": depth}});
    // Each meets what an earlier admission has left, and not only its neighbours in a batch.
    for (correlation, more, admitted) in [
        ("first", json!({}), "select count(*) = 1 from sexton.requests"),
        ("equal", json!({}), "select count(*) = 2 from sexton.requests"),
        (
            "differs",
            depth("all"),
            "select count(*) = 3 from sexton.requests",
        ),
        (
            "differs-too",
            depth("all"),
            "select count(*) = 4 from sexton.requests",
        ),
        (
            "third",
            depth("none"),
            "select count(*) = 1 from sexton.rejections",
        ),
    ] {
        house.publish_as(keyless("a", correlation, more)).await;
        house.until(correlation, admitted).await;
    }
    let third = end_of(&house, "third").await;
    assert_eq!(
        (third.kind(), third.detail("reason")),
        ("rejected", Some("slot_taken"))
    );
    assert_eq!(house.count("select count(*) from sexton.requests").await, 4);
    assert_eq!(house.count("select count(*) from sexton.open_deletions").await, 1);
    assert_eq!(house.count("select count(*) from sexton.successors").await, 1);

    house.sql("update shop.things set ready = true").await;
    let mut deletions = Vec::new();
    for (correlation, result) in [
        ("first", "deleted"),
        ("equal", "deleted"),
        ("differs", "already_gone"),
        ("differs-too", "already_gone"),
    ] {
        let end = end_of(&house, correlation).await;
        assert_eq!(end.detail("result"), Some(result), "{correlation}");
        deletions.push(end.body["data"]["deletion_id"].clone());
    }
    assert_eq!((&deletions[0], &deletions[2]), (&deletions[1], &deletions[3]));
    assert_ne!(deletions[0], deletions[2]);

    // After its end a request without a key begins anew.
    house.publish_as(keyless("a", "after", json!({}))).await;
    let after = end_of(&house, "after").await;
    assert_eq!(after.detail("result"), Some("already_gone"));
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(house.count("select count(*) from sexton.deletions").await, 3);
    assert_eq!(house.runs("mark", "a").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_every_folded_request_has_an_outcome_of_its_own() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let worker = house.worker();
    for key in ["one", "two", "three"] {
        house.publish(with(delete("a"), json!({"key": key}))).await;
    }
    house
        .until("all are admitted", "select count(*) = 3 from sexton.requests")
        .await;
    house.sql("update shop.things set ready = true").await;
    let mut requests = Vec::new();
    for key in ["one", "two", "three"] {
        let end = house.heard.end(key).await;
        assert_eq!((end.kind(), end.detail("result")), ("completed", Some("deleted")));
        requests.push(end.request().to_owned());
    }
    requests.dedup();
    assert_eq!(requests.len(), 3, "each about its own request");
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(house.count("select count(*) from sexton.deletions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_before_its_time() {
    let house = House::new().await;
    house.things(&["later", "now", "soon"]).await;
    let worker = house.worker();
    let at = |offset: time::Duration| {
        let at = sexton::clock::now() + offset;
        let at = at.format(&time::format_description::well_known::Rfc3339);
        json!({"not_before": at.expect("a time")})
    };
    house
        .publish(with(delete("later"), at(time::Duration::hours(5))))
        .await;
    house
        .publish(with(delete("soon"), at(time::Duration::milliseconds(1500))))
        .await;
    house.publish(delete("now")).await;
    house.heard.end("k-now").await;
    house.heard.end("k-soon").await;
    assert!(
        house
            .is(
                "select gone_at >= (select not_before from sexton.requests where target_id = 'soon')
                from shop.things where id = 'soon'"
            )
            .await
    );
    assert!(
        house
            .is("select lane is null and seq = 0 and due_at > now() + interval '4 hours' from sexton.open_deletions
                where target_id = 'later'")
            .await
    );

    // What has not begun is cancelled without a trace.
    house.publish(cancel("later", "stop")).await;
    assert_eq!(house.heard.end("k-later").await.kind(), "cancelled");
    assert_eq!(house.heard.end("stop").await.kind(), "cancelled");
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(
        house
            .count("select count(*) from shop.runs where id = 'later'")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_wins_before_the_pivot_and_is_too_late_after_it() {
    let house = House::new().await;
    // It waits after its pivot, not before it.
    let late = THING
        .replace("shop.thing\"", "shop.late\"")
        .replace("where id = :id and ready", "where id = :id")
        .replace("name  = \"finish\"", "name = \"finish\"\nnone = \"again\"")
        .replace(
            "and gone_at is null\"\"\"\n",
            "and gone_at is null and ready\"\"\"\n",
        );
    house.plan("late", &late);
    house.things(&["early", "late"]).await;
    house.sql("update shop.things set ready = false").await;
    let worker = house.worker();
    house.publish(delete("early")).await;
    let of_late = json!({"target": {"type": "shop.late", "id": "late"}});
    house.publish(with(delete("late"), of_late.clone())).await;
    house
        .until(
            "one waits before its pivot, one after it",
            "select (select count(*) from shop.runs where step = 'fence' and id = 'early') = 1
                    and (select count(*) from shop.runs where step = 'finish' and id = 'late') >= 1",
        )
        .await;

    house.publish(cancel("early", "in-time")).await;
    house.publish(with(cancel("late", "too-late"), of_late)).await;
    assert_eq!(house.heard.end("k-early").await.kind(), "cancelled");
    assert_eq!(house.heard.end("in-time").await.kind(), "cancelled");
    house
        .until(
            "the other cancel was heard and not heeded",
            "select exists (select from sexton.journal where entries::jsonb @> '[{\"e\": \"signalled\", \"heeded\": false}]')",
        )
        .await;
    house.sql("update shop.things set ready = true").await;
    for key in ["k-late", "too-late"] {
        let end = house.heard.end(key).await;
        assert_eq!(
            (end.kind(), end.detail("result")),
            ("completed", Some("deleted")),
            "{key}"
        );
    }
    worker.stop().await;
    house.everything_is_over().await;
    assert!(
        house
            .is("select not fenced and gone_at is null from shop.things where id = 'early'")
            .await
    );
    assert_eq!(
        (
            house.runs("unfence", "early").await,
            house.runs("mark", "early").await
        ),
        (1, 0)
    );
    assert_eq!(house.runs("unfence", "late").await, 0);
}
