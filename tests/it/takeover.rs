//! Workers that fall silent, come back, and are told to stop: who has a deletion, and who does not any more.

use rustix::process::Signal;
use serde_json::json;
use sexton::deletion::SignalKind;
use sexton::store::{Said, Settings as StoreSettings, Store};

use crate::house::House;
use crate::shop::{THING, delete, with};

/// A store of the test's own: what an operator's tool would open.
fn store(house: &House) -> Store {
    let settings = StoreSettings {
        url: house.world.database_url.clone().into(),
        ..StoreSettings::default()
    };
    Store::new(&settings).expect("a usable URL")
}

async fn say(house: &House, kind: SignalKind) {
    let id: uuid::Uuid = sqlx::query_scalar("select id from sexton.open_deletions")
        .fetch_one(&house.db)
        .await
        .expect("the one open deletion");
    let said = store(house)
        .signal(sexton::deletion::DeletionId(id), kind, "a test", None)
        .await;
    assert_eq!(said.expect("an answer"), Said::Heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_worker_that_was_frozen_past_its_lease_writes_nothing_and_begins_again() {
    let house = House::with_short_leases().await;
    house.things(&["a", "b"]).await;
    let frozen = house.process(&[]);
    // The step waits for this lock, so the worker has the deletion while it is stopped.
    let mut lock = house.db.begin().await.expect("a transaction");
    sqlx::query("select from shop.things where id = 'a' for update")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    house.publish(delete("a")).await;
    house
        .until(
            "the first worker is in the middle of a step",
            "select exists (select from sexton.open_deletions where lane is not null and effect_ms is not null)",
        )
        .await;
    frozen.signal(Signal::STOP);

    let second = house.worker();
    house
        .until(
            "the second takes over",
            "select exists (select from sexton.lanes where taken_over_at is not null)",
        )
        .await;
    lock.rollback().await.expect("free");
    house.heard.end("k-a").await;
    assert!(
        house
            .is("select count(distinct tenure) >= 2 from sexton.journal")
            .await
    );

    frozen.signal(Signal::CONT);
    house
        .until(
            "the first is there again under a new name",
            "select exists (select from sexton.workers gone join sexton.workers back using (pid)
                where gone.lost_at is not null and back.lost_at is null)",
        )
        .await;
    second.stop().await;
    // And it works under that name.
    house.publish(delete("b")).await;
    assert_eq!(house.heard.end("k-b").await.detail("result"), Some("deleted"));
    house.everything_is_over().await;
    assert!(
        house
            .is(
                "select not exists (select from sexton.journal j join sexton.lanes l on l.lane = j.lane
                where j.at > l.taken_over_at)"
            )
            .await,
        "the lost lane wrote after it was taken over"
    );
    frozen.signal(Signal::TERM);
    let (status, log) = frozen.ended().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("begins again under a new name"), "{log}");
    assert_eq!(house.runs("mark", "a").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_stop_hands_everything_back_and_spends_no_attempt() {
    let mut house = House::new().await;
    // Shorter than the step that is in the middle of it.
    house.change_settings("drain = \"5s\"", "drain = \"50ms\"");
    house.things(&["a", "b", "c"]).await;
    house
        .sql("update shop.things set ready = false where id = 'c'")
        .await;
    let process = house.process(&[]);
    let mut lock = house.db.begin().await.expect("a transaction");
    sqlx::query("select from shop.things where id in ('a', 'b') for update")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    for id in ["a", "b", "c"] {
        house.publish(delete(id)).await;
    }
    house
        .until(
            "two are in the middle of a step, one waits",
            "select count(*) = 2 from sexton.open_deletions where target_id in ('a', 'b') and effect_ms is not null
             and exists (select from shop.runs where step = 'wait' and id = 'c')",
        )
        .await;
    process.signal(Signal::TERM);
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        house
            .is(
                "select count(*) = 3 and bool_and(lane is null and due_at < now() + interval '2 seconds')
                from sexton.open_deletions"
            )
            .await,
        "everything is handed back at once, not when the lease runs out"
    );
    assert!(
        house
            .is(
                "select count(*) = 2 from sexton.journal where entries::jsonb @> '[{\"e\": \"interrupted\"}]'"
            )
            .await
    );
    lock.rollback().await.expect("free");

    house.sql("update shop.things set ready = true").await;
    let second = house.worker();
    for id in ["a", "b", "c"] {
        assert_eq!(
            house.heard.end(&format!("k-{id}")).await.detail("result"),
            Some("deleted")
        );
    }
    second.stop().await;
    house.everything_is_over().await;
    // Cut off by a stop: looked into and repeated, and never counted as lost with its worker.
    let journal = house.state_of("a").await;
    assert_eq!(journal.tracks[1].lost, 0, "{journal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_deletion_hears_a_cancel_and_a_parked_one_a_retry() {
    let house = House::new().await;
    let strict = THING
        .replace("attempts = 100", "attempts = 2")
        .replace("\"shop.thing\"", "\"shop.strict\"");
    house.plan("strict", &strict);
    house.things(&["parks", "waits"]).await;
    house.sql("update shop.things set ready = false").await;
    let worker = house.worker();
    let strict = json!({"target": {"type": "shop.strict", "id": "parks"}});
    house.publish(with(delete("parks"), strict)).await;
    let parked = house.heard.kind("parked", "k-parks").await;
    assert_eq!(
        (parked.detail("because"), parked.detail("step")),
        (Some("exhausted"), Some("wait"))
    );
    assert!(house.heard.ends("k-parks").is_empty(), "parked is no end");
    house
        .sql("update shop.things set ready = true where id = 'parks'")
        .await;
    say(&house, SignalKind::Retry).await;
    house.heard.kind("resumed", "k-parks").await;
    assert_eq!(house.heard.end("k-parks").await.detail("result"), Some("deleted"));

    house.publish(delete("waits")).await;
    house
        .until(
            "it waits",
            "select exists (select from shop.runs where step = 'wait' and id = 'waits')",
        )
        .await;
    say(&house, SignalKind::Cancel).await;
    assert_eq!(house.heard.end("k-waits").await.kind(), "cancelled");
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(
        (
            house.runs("unfence", "waits").await,
            house.runs("mark", "waits").await
        ),
        (1, 0)
    );
    assert_eq!(
        house
            .count("select count(*) from sexton.audit where said_by = 'a test'")
            .await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_holds_what_runs_until_it_is_lifted() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let worker = house.worker();
    house.publish(delete("a")).await;
    house
        .until(
            "it waits",
            "select exists (select from shop.runs where step = 'wait')",
        )
        .await;
    say(&house, SignalKind::Halt).await;
    house
        .until(
            "it was heard",
            "select lane is null and due_at > now() + interval '1 year' from sexton.open_deletions",
        )
        .await;
    house.sql("update shop.things set ready = true").await;
    assert_eq!(house.runs("mark", "a").await, 0);
    say(&house, SignalKind::Resume).await;
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    worker.stop().await;
    house.everything_is_over().await;
}
