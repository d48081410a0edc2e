//! A provider that is down for an hour, on a clock set by hand: others' deletions go on, no place in flight is held for
//! it, tries against it are few, and when it is back everything goes on by itself.

use std::time::Duration;

use serde_json::{Value, json};
use sexton::clock;

use crate::batches::note;
use crate::house::House;
use crate::scraped::Page;
use crate::shop::{delete, with};
use crate::shut::MACHINE;
use crate::vendor::{Answer, Vendor};

const WAITING: usize = 100;
/// So many calls fail before the breaker opens, with at most so many more on their way; then one try a pause, and pauses
/// grow from ten seconds to a minute.
const TRIES_MAX: usize = 10 + 8 + 4 + 60;

fn machine(id: &str) -> Value {
    with(delete(id), json!({"target": {"type": "shop.machine", "id": id}}))
}

/// A minute passes: for the pauses of this process, and for what waits in the tables.
async fn a_minute(house: &House) {
    clock::skip_pauses(Duration::from_secs(60));
    house
        .sql(
            "update sexton.open_deletions set due_at = greatest(due_at - interval '60 s', now())
             where lane is null and due_at < '9999-01-01' and due_at > now()",
        )
        .await;
    house
        .until(
            "nobody is in flight, and nothing is due",
            "select not exists (select from sexton.open_deletions where lane is not null or due_at <= now())",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_for_an_hour_costs_others_nothing_and_is_left_alone() {
    let vendor = Vendor::open().await;
    vendor.answers_all(Answer::Status(503));
    let mut house = House::new().await;
    vendor.known_to(&mut house, "limit = 8");
    house.change_settings("[engine]\n", "[engine]\nin_flight_max = 20\n");
    house.change_settings("sexton=debug", "sexton=info");
    house.plan("machine", &MACHINE.replace("attempts = 1,", "attempts = 30,"));
    let page = Page::of(&mut house);
    let names: Vec<String> = (0..WAITING).map(|n| format!("n{n:05}")).collect();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    house.things(&ids).await;
    let worker = house.worker();
    futures::future::join_all(ids.iter().map(|id| house.publish(machine(id)))).await;
    house
        .until(
            "all are at its door",
            "select count(*) = 100 from sexton.open_deletions where lane is null and due_at > now()",
        )
        .await;
    page.shows("sexton_breaker_open{system=\"cloud\"}", 1).await;

    for minute in 0..60 {
        a_minute(&house).await;
        if minute % 20 == 0 {
            page.shows("sexton_deletions_in_flight", 0).await;
            let others: Vec<String> = (0..10).map(|n| format!("o{minute}-{n}")).collect();
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            house.things(&others).await;
            futures::future::join_all(others.iter().map(|id| house.publish(delete(id)))).await;
            for id in others {
                let end = house.heard.end(&format!("k-{id}")).await;
                assert_eq!(end.detail("result"), Some("deleted"));
                let state = house.state_of(id).await;
                assert!(state.tracks.iter().all(|track| track.spent == 0), "{state:?}");
            }
        }
    }
    let tries = vendor.asked("").len();
    assert!((20..=TRIES_MAX).contains(&tries), "{tries} tries");
    note(&format!(
        "outages: {tries} tries in an hour against a provider that is down, for {WAITING} deletions"
    ));
    assert_eq!(house.count("select count(*) from sexton.deletions").await, 30);

    vendor.answers_all(Answer::Status(204));
    a_minute(&house).await;
    house.everything_is_over().await;
    page.shows("sexton_breaker_open{system=\"cloud\"}", 0).await;
    assert!(house.heard.all().iter().all(|event| event.kind() != "parked"));
    worker.stop().await;
}
