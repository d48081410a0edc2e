//! What begins as soon as it is admitted: its first intent is in the same commit, wherever its system has room for it.

use serde_json::json;
use sexton::crash::CrashPoint;

use crate::crashes::crashes;
use crate::house::House;
use crate::shop::{THING, delete, with};

/// The usual plan without its look, so that its first step is the first that happens.
fn without_a_look() -> String {
    let (head, rest) = THING.split_once("[lookup]").expect("it looks");
    let (_, steps) = rest.split_once("[[step]]").expect("it has steps");
    format!("{head}[[step]]{steps}")
}

async fn house() -> House {
    let house = House::with_short_leases().await;
    house.plan("thing", &without_a_look());
    house
}

/// The intent stood in the journal when its effect took place, and in the first record.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_02_a_deletion_that_begins_at_once_is_admitted_with_its_intent() {
    let house = house().await;
    house.things(&["a"]).await;
    house.publish(delete("a")).await;
    let armed = format!("{}#1", CrashPoint::AdmissionAfterCommit.name());
    crashes(&armed, house.process(&[("SEXTON_CRASH_AT", armed.as_str())])).await;
    assert!(
        house
            .is("select seq = 1 and tenure = 1 and effect_ms = 1000 and lane is not null from sexton.open_deletions")
            .await
    );
    assert!(
        house
            .is("select entries::jsonb @> '[{\"e\": \"intent\", \"step\": 1}]' and seq = 1 from sexton.journal")
            .await
    );
    assert_eq!(
        house.count("select count(*) from shop.runs").await,
        0,
        "nothing was done"
    );

    // Whoever takes over looks first, and does it then.
    let second = house.worker();
    let end = house.heard.end("k-a").await;
    assert_eq!(end.detail("result"), Some("deleted"));
    house.everything_is_over().await;
    second.stop().await;
    for step in ["fence", "mark", "finish"] {
        assert_eq!(house.runs(step, "a").await, 1, "{step}");
    }
    house.journals_are_sound().await;
}

/// A batch of which only a few find room at their system: those begin at once, the others after them, and all of them once.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_what_finds_no_room_is_admitted_without_an_intent_and_waits_for_its_turn() {
    let mut house = house().await;
    house.also_settings("limit = 2\n");
    let ids: Vec<String> = (0..60).map(|n| format!("n{n:02}")).collect();
    house
        .things(&ids.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    for id in &ids {
        house.publish(delete(id)).await;
    }
    let worker = house.worker();
    for id in &ids {
        let end = house.heard.end(&format!("k-{id}")).await;
        assert_eq!(end.detail("result"), Some("deleted"), "{id}");
    }
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(
        house
            .count("select count(*) from shop.runs where step = 'fence' and intended")
            .await,
        60,
        "each once, behind its intent"
    );
    let with_its_intent = "select count(*) from sexton.journal j where seq = 1 and tenure = 1
        and entries::jsonb @> '[{\"e\": \"intent\", \"step\": 1}]'";
    assert_eq!(house.count(with_its_intent).await, 60);
    house.journals_are_sound().await;
}

/// What goes the long way of an admission, here beside a copy, has its intent in a record of its own.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_a_copy_in_the_same_batch_begins_nothing_a_second_time() {
    let house = house().await;
    house.things(&["a", "b"]).await;
    for id in ["a", "a", "b"] {
        house.publish(delete(id)).await;
    }
    house.publish(with(delete("b"), json!({"key": "again"}))).await;
    let worker = house.worker();
    for key in ["k-a", "k-b", "again"] {
        house.heard.end(key).await;
    }
    house.everything_is_over().await;
    worker.stop().await;
    for id in ["a", "b"] {
        for step in ["fence", "mark", "finish"] {
            assert_eq!(house.runs(step, id).await, 1, "{step} of {id}");
        }
    }
    house.journals_are_sound().await;
}
