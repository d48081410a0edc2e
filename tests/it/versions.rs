//! Which plan a deletion follows, and which worker carries it out.

use serde_json::json;

use crate::house::House;
use crate::shop::{THING, delete, with};

const WAITS: &str =
    "select exists (select from shop.runs r join sexton.open_deletions o on o.target_id = r.id
    where r.step = 'wait' and o.lane is null)";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_claims_only_what_its_settings_can_run() {
    let mut house = House::new().await;
    let annex = format!(
        "[systems.annex]\nkind = \"postgres\"\nurl = {:?}\n",
        house.world.database_url
    );
    let other = THING
        .replace("\"shop.thing\"", "\"shop.other\"")
        .replace("\"shop\"", "\"annex\"");
    let of_other = json!({"target": {"type": "shop.other", "id": "far"}});
    house.things(&["far", "near"]).await;
    house.sql("update shop.things set ready = false").await;

    house.also_settings(&annex);
    house.plan("other", &other);
    let able = house.worker();
    house.publish(with(delete("far"), of_other)).await;
    house.until("it waits, in nobody's hands", WAITS).await;
    able.stop().await;

    // One that has no such system, and finds it due together with one of its own.
    house.change_settings(&annex, "");
    house.no_plan("other");
    let unable = house.worker();
    house.publish(delete("near")).await;
    house
        .until(
            "its own waits too",
            "select exists (select from shop.runs where step = 'wait' and id = 'near')",
        )
        .await;
    let before: i32 = sqlx::query_scalar("select tenure from sexton.open_deletions where target_id = 'far'")
        .fetch_one(&house.db)
        .await
        .expect("it is open");
    house
        .sql(
            "update shop.things set ready = true;
             update sexton.open_deletions set due_at = now() - interval '1 minute' where target_id = 'far'",
        )
        .await;
    assert_eq!(house.heard.end("k-near").await.detail("result"), Some("deleted"));
    let after: i32 = sqlx::query_scalar(
        "select tenure from sexton.open_deletions where target_id = 'far' and lane is null",
    )
    .fetch_one(&house.db)
    .await
    .expect("it is open, and in nobody's hands");
    assert_eq!(before, after, "nobody claimed it");

    house.also_settings(&annex);
    house.plan("other", &other);
    let able = house.worker();
    assert_eq!(house.heard.end("k-far").await.detail("result"), Some("deleted"));
    assert!(
        house
            .is(
                "select l.worker = (select worker from sexton.workers order by started_at desc limit 1)
                 from sexton.journal j join sexton.lanes l using (lane) join sexton.requests r using (deletion_id)
                 where r.target_id = 'far' order by j.seq desc limit 1"
            )
            .await,
        "the one with the system carried it out"
    );
    able.stop().await;
    unable.stop().await;
    house.everything_is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_deletion_keeps_its_version_when_the_file_changes_and_when_it_is_gone() {
    let house = House::new().await;
    let second = THING.replace("values ('mark', :id)", "values ('mark of the second', :id)");
    assert_ne!(second, THING);
    house.things(&["a", "b", "c"]).await;
    house.sql("update shop.things set ready = false").await;

    let worker = house.worker();
    house.publish(delete("a")).await;
    house.until("the first waits", WAITS).await;
    worker.stop().await;

    house.plan("thing", &second);
    let worker = house.worker();
    house.publish(delete("b")).await;
    house
        .until(
            "the second waits",
            "select exists (select from shop.runs where step = 'wait' and id = 'b')",
        )
        .await;
    worker.stop().await;
    assert_eq!(
        house
            .count("select count(distinct plan) from sexton.open_deletions")
            .await,
        2
    );

    house.no_plan("thing");
    let worker = house.worker();
    house.publish(delete("c")).await;
    let turned_away = house.heard.end("k-c").await;
    assert_eq!(
        (turned_away.kind(), turned_away.detail("reason")),
        ("rejected", Some("no_plan"))
    );
    house.sql("update shop.things set ready = true").await;
    for (key, step) in [("k-a", "mark"), ("k-b", "mark of the second")] {
        assert_eq!(
            house.heard.end(key).await.detail("result"),
            Some("deleted"),
            "{key}"
        );
        let marked: Vec<String> = sqlx::query_scalar("select step from shop.effects where id = $1")
            .bind(key.trim_start_matches("k-"))
            .fetch_all(&house.db)
            .await
            .expect("effects");
        assert_eq!(marked, [step], "{key} followed its own version");
    }
    worker.stop().await;
    house.everything_is_over().await;
}
