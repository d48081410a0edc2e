//! Who leads: one at a time, and nobody for longer than the term.

use std::time::Duration;

use sexton::store::{Settings, Store};
use uuid::Uuid;

use crate::house::House;
use crate::windows::draft;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_leader_whose_term_was_taken_asks_for_nothing() {
    let mut house = House::drafts("1h", &["a"]).await;
    house.change_settings("every = \"20ms\"", "every = \"1h\"");
    let worker = house.worker();
    assert_eq!(house.ended(draft("a", "1")).await.kind(), "soft_deleted");
    worker.stop().await;
    house
        .sql("update sexton.windows set until = now() - interval '1 second', due_at = now()")
        .await;

    let settings = Settings {
        url: house.world.database_url.clone().into(),
        ..Settings::default()
    };
    let store = Store::new(&settings).expect("a usable URL");
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let old = store
        .lead("test", first, LONG)
        .await
        .expect("an answer")
        .expect("nobody led");
    assert_eq!(store.lead("test", second, LONG).await.expect("an answer"), None);
    let renewed = store.lead("test", first, LONG).await.expect("an answer");
    assert_eq!(renewed, Some(old), "a renewal is the same term");

    // It slept past its end, and nobody took over yet: nothing may be written under it all the same.
    house
        .sql("update sexton.terms set until = now() - interval '1 second'")
        .await;
    let asked = |term| {
        let store = &store;
        async move { store.ask_for_purges(&term, 10, LONG).await.expect("an answer") }
    };
    assert_eq!(asked(old).await, None);
    let new = store
        .lead("test", second, LONG)
        .await
        .expect("an answer")
        .expect("it has run out");
    assert_eq!(new.number, old.number + 1);
    assert_eq!(asked(old).await, None, "another leads");
    assert_eq!(
        store
            .due_watches(&old, 10)
            .await
            .expect("an answer")
            .map(|due| due.len()),
        None
    );
    assert_eq!(house.count("select count(*) from sexton.outbox").await, 0);

    assert_eq!(asked(new).await, Some(1));
    assert_eq!(asked(new).await, Some(0), "asked for already");
    // What was lost on the way is asked for again, as the same request.
    house.sql("update sexton.windows set due_at = now()").await;
    assert_eq!(asked(new).await, Some(1));
    let keys: i64 = house
        .count("select count(distinct detail->>'key') from sexton.outbox where destination = 'requests'")
        .await;
    assert_eq!(keys, 1);
    assert_eq!(house.count("select count(*) from sexton.outbox").await, 2);
    let worker = house.worker();
    house
        .until(
            "the window is gone",
            "select not exists (select from sexton.windows)",
        )
        .await;
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(house.runs("erase", "a").await, 1, "a second tick is harmless");
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_ended_page_by_page() {
    let ids: Vec<String> = (0..25).map(|n| format!("d{n:02}")).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut house = House::drafts("1h", &names).await;
    house.change_settings("every = \"20ms\"", "every = \"20ms\"\npage_max = 4");
    let (one, two) = (house.worker(), house.worker());
    for id in &ids {
        house.publish(draft(id, id)).await;
    }
    for id in &ids {
        assert_eq!(house.heard.end(id).await.kind(), "soft_deleted");
    }
    house
        .sql("update sexton.windows set until = now() - interval '1 second', due_at = now()")
        .await;
    house
        .until("all are erased", "select not exists (select from shop.things)")
        .await;
    house.everything_is_over().await;
    one.stop().await;
    two.stop().await;
    assert_eq!(
        house
            .count("select count(*) from shop.runs where step = 'erase'")
            .await,
        25
    );
}
