//! What late writers bring back: found, said, and removed again; and what is remembered of an end, and for how long.

use serde_json::json;

use crate::house::House;
use crate::shop::{THING, delete, with};

/// The usual thing, erased at its last step, and watched for a while.
fn watched(span: &str) -> String {
    let head = format!("retry   = {{ attempts = 100, base = \"20ms\", max = \"1s\" }}\nwatch = {span}");
    THING
        .replace(
            "retry   = { attempts = 100, base = \"20ms\", max = \"1s\" }",
            &head,
        )
        .replace(
            "update shop.things set gone_at = now() where id = :id and gone_at is null",
            "delete from shop.things where id = :id",
        )
}

async fn house(span: &str) -> House {
    let mut house = House::new().await;
    house.also_settings("[retention]\nevery = \"20ms\"\n");
    house.plan("thing", &watched(span));
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_what_a_late_writer_brings_back_is_found_said_and_removed_again() {
    let house = house("{ for = \"1h\", every = \"1s\" }").await;
    house.things(&["a", "b"]).await;
    let worker = house.worker();
    for id in ["a", "b"] {
        house.publish(delete(id)).await;
        assert_eq!(
            house.heard.end(&format!("k-{id}")).await.detail("result"),
            Some("deleted")
        );
    }
    house.things(&["a"]).await;
    let event = house.heard.kind("reappeared", "k-a").await;
    assert_eq!(event.body["data"]["detail"]["times"], 1);
    let removal = event
        .detail("removal")
        .expect("the key of what removes it")
        .to_owned();
    assert_eq!(house.heard.end(&removal).await.detail("result"), Some("deleted"));
    assert_eq!(house.count("select count(*) from shop.things").await, 0);
    // And the new end is watched in its turn.
    house.things(&["a"]).await;
    let again = house.heard.kind("reappeared", &removal).await;
    assert_eq!(again.body["data"]["detail"]["times"], 2);
    let second = again.detail("removal").expect("a key").to_owned();
    assert_eq!(house.heard.end(&second).await.detail("result"), Some("deleted"));
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(house.count("select count(*) from sexton.watches").await, 2);
    let told = house.heard.all();
    assert!(
        !told
            .iter()
            .any(|event| event.kind() == "reappeared" && event.key() == Some("k-b")),
        "nobody brought b back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_for_ever_is_given_up_and_a_watch_ends_with_its_time() {
    let house = house("{ for = \"1h\", every = \"1s\" }").await;
    house.things(&["a", "b"]).await;
    let worker = house.worker();
    for id in ["a", "b"] {
        house.publish(delete(id)).await;
        house.heard.end(&format!("k-{id}")).await;
    }
    house
        .sql("update sexton.watches set reappeared = 9 where target_id = 'a'")
        .await;
    house.things(&["a"]).await;
    let event = house.heard.kind("reappeared", "k-a").await;
    assert_eq!(event.body["data"]["detail"], json!({"times": 10}), "no removal");
    house
        .sql("update sexton.watches set until = now(), look_at = now()")
        .await;
    house
        .until(
            "no watch is left",
            "select not exists (select from sexton.watches)",
        )
        .await;
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(house.count("select count(*) from shop.things").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_within_the_tombstones_age_is_already_gone_and_after_it_absent() {
    let house = House::new().await;
    house.plan(
        "thing",
        &THING.replace("timeout = \"1s\"", "timeout = \"1s\"\ntombstone = \"1h\""),
    );
    house.things(&["a"]).await;
    let worker = house.worker();
    house.publish(delete("a")).await;
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    house.publish(with(delete("a"), json!({"key": "within"}))).await;
    assert_eq!(
        house.heard.end("within").await.detail("result"),
        Some("already_gone")
    );
    house
        .sql("update sexton.deletions set ended_at = ended_at - interval '61 minutes'")
        .await;
    house.publish(with(delete("a"), json!({"key": "after"}))).await;
    assert_eq!(house.heard.end("after").await.detail("result"), Some("absent"));
    house.everything_is_over().await;
    worker.stop().await;
}
