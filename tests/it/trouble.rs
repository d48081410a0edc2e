//! What cannot be kept, asked, or believed: it parks or waits, is told, and never passes for success.

use serde_json::json;

use crate::house::House;
use crate::shop::{THING, delete, with};

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_what_postgres_cannot_keep_is_parked_and_the_rest_of_the_batch_goes_on() {
    let house = House::new().await;
    let ids = ["a", "b", "c", "poison", "e", "f"];
    house.things(&ids).await;
    // A `json` column keeps this as text; the journal's `jsonb` cannot.
    house
        .sql(r#"update shop.things set note = '"\u0000"' where id = 'poison'"#)
        .await;
    for id in ids {
        house.publish(delete(id)).await;
    }
    let worker = house.worker();
    for id in ids.iter().filter(|id| **id != "poison") {
        assert_eq!(
            house.heard.end(&format!("k-{id}")).await.detail("result"),
            Some("deleted")
        );
    }
    let parked = house.heard.kind("parked", "k-poison").await;
    assert_eq!(parked.detail("because"), Some("unreadable"));
    worker.stop().await;
    house.journals_are_sound().await;
    assert_eq!(
        house
            .count("select count(*) from shop.runs where id = 'poison'")
            .await,
        0
    );
    assert_eq!(
        house
            .count("select count(*) from sexton.open_deletions where parked is not null")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_a_lookup_that_fails_is_not_taken_for_absence() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.sql("alter table shop.things rename to hidden").await;
    let worker = house.worker();
    house.publish(delete("a")).await;
    house
        .until(
            "the lookup's trouble is recorded, or it is over",
            "select exists (select from sexton.journal where entries::jsonb @> '[{\"e\": \"verdict\", \"step\": 0}]')
                 or exists (select from sexton.deletions)",
        )
        .await;
    assert_eq!(house.count("select count(*) from sexton.deletions").await, 0);
    assert!(house.heard.ends("k-a").is_empty());
    house.sql("alter table shop.hidden rename to things").await;
    house
        .until(
            "it is parked or over",
            "select parked is not null from sexton.open_deletions union all
               select true from sexton.deletions limit 1",
        )
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_a_step_is_not_believed_while_its_verify_does_not_hold() {
    let house = House::new().await;
    let doubtful = THING
        .replace("\"shop.thing\"", "\"shop.doubtful\"")
        .replace("attempts = 100", "attempts = 2")
        + "verify = \"select kind = 'gone' from shop.things where id = :id\"\n";
    house.plan("doubtful", &doubtful);
    house.things(&["a"]).await;
    let worker = house.worker();
    let of_type = json!({"target": {"type": "shop.doubtful", "id": "a"}});
    house.publish(with(delete("a"), of_type)).await;
    let parked = house.heard.kind("parked", "k-a").await;
    assert_eq!(
        (parked.detail("step"), parked.detail("because")),
        (Some("finish"), Some("exhausted"))
    );
    worker.stop().await;
    assert!(house.heard.ends("k-a").is_empty());
    house.journals_are_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_says_no_undoes_what_was_done() {
    let house = House::new().await;
    let guarded = THING
        .replace("\"shop.thing\"", "\"shop.guarded\"")
        .replace("none  = \"again\"", "none  = \"refused\"");
    house.plan("guarded", &guarded);
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let worker = house.worker();
    let of_type = json!({"target": {"type": "shop.guarded", "id": "a"}});
    house.publish(with(delete("a"), of_type)).await;
    assert_eq!(house.heard.end("k-a").await.kind(), "refused");
    worker.stop().await;
    house.everything_is_over().await;
    assert!(
        house
            .is("select not fenced and gone_at is null from shop.things")
            .await
    );
    assert_eq!(
        (house.runs("unfence", "a").await, house.runs("mark", "a").await),
        (1, 0)
    );
}
