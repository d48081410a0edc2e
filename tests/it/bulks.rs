//! Bulks of many targets: cut short, stopped, and beside others that do not wait for them.

use serde_json::json;
use sexton::broker::REQUESTS_QUEUE;
use sexton::crash::CrashPoint;

use crate::batches::{SETTINGS, bulk, counts, house, note};
use crate::cli::sexton;
use crate::house::{House, patience};
use crate::shop::{delete, with};

impl House {
    /// Messages that nobody has acknowledged and nobody holds.
    async fn waits_in_queue(&self, wanted: u32) {
        let desk = self.desk().await;
        let found = async {
            while desk.depth(REQUESTS_QUEUE).await.expect("a queue").ready != wanted {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(patience(), found).await;
        assert!(waited.is_ok(), "{wanted} messages are not back in their queue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_01_a_bulk_whose_admission_is_cut_short_comes_again_and_is_the_same_requests() {
    let mut house = House::with_short_leases().await;
    house.also_settings(SETTINGS);
    house.also_settings("[intake]\nbatch_max = 10\n");
    let ids: Vec<String> = (0..35).map(|n| format!("i{n}")).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    house.things(&names).await;
    house.publish(bulk("cut", ids.clone())).await;
    // One that came after it, and is decided before it.
    house.publish(delete("alone")).await;
    let armed = format!("{}#3", CrashPoint::AdmissionAfterCommit.name());
    house.process(&[("SEXTON_CRASH_AT", &armed)]).ended().await;
    assert_eq!(
        house.count("select count(*) from sexton.requests").await,
        21,
        "the one alone and two parts are in, two parts are not"
    );
    house.waits_in_queue(2).await;
    // Nobody waits for the term of the one that is gone.
    house
        .sql("update sexton.terms set until = now() - interval '1 second'")
        .await;
    let (one, two) = (house.worker(), house.worker());
    let event = house.over("cut", 1).await;
    assert_eq!(counts(&event), (&json!(35), &json!({"deleted": 35})));
    house.everything_is_over().await;
    one.stop().await;
    two.stop().await;
    assert_eq!(house.count("select count(*) from sexton.requests").await, 36);
    for nth in 0..35 {
        assert_eq!(house.heard.ends(&format!("cut#{nth}")).len(), 1, "{nth}");
    }
    assert_eq!(house.heard.ends("k-alone").len(), 1);
    assert_eq!(house.said_over("cut"), 1);
}

/// A stop in the middle: what is not in goes back, what is in is a copy when it comes again, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_01_a_stop_hands_a_bulk_back_that_is_not_wholly_admitted() {
    const BULKS: usize = 3;
    const EACH: usize = 2_000;
    let mut house = house().await;
    house.also_settings("[intake]\nbatch_max = 100\n");
    let ids = |nth: usize| (0..EACH).map(move |n| format!("s{nth}-{n}"));
    for nth in 0..BULKS {
        house.publish(bulk(&format!("stop-{nth}"), ids(nth))).await;
    }
    let worker = house.worker();
    house
        .until("a part is in", "select exists (select from sexton.requests)")
        .await;
    worker.stop().await;
    let all = house.count("select count(*) from sexton.requests").await;
    note(&format!("{all} of 6000 requests were in after the stop"));
    assert!(all < 6_000, "the stop came when all was over");
    assert_eq!(all % 100, 0, "a part is in or it is not");
    let worker = house.worker();
    for nth in 0..BULKS {
        let event = house.over(&format!("stop-{nth}"), 1).await;
        assert_eq!(counts(&event), (&json!(EACH), &json!({"absent": EACH})));
    }
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(house.count("select count(*) from sexton.requests").await, 6_000);
}

/// Nobody's admission waits for that of a whole bulk. Told by the order in which they came in, not by a clock.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_bulk_that_is_being_admitted_lets_others_in() {
    const MANY: usize = 10_000;
    const SINGLE: usize = 5;
    let mut house = house().await;
    house.also_settings("[intake]\nbatch_max = 100\n");
    let worker = house.worker();
    let many: Vec<String> = (0..MANY).map(|n| format!("x{n}")).collect();
    house.publish(bulk("many", many)).await;
    house
        .until(
            "a part of it is in",
            "select exists (select from sexton.requests where batch = 'many')",
        )
        .await;
    for n in 0..SINGLE {
        house.publish(delete(&format!("one-{n}"))).await;
    }
    for n in 0..SINGLE {
        house.heard.end(&format!("k-one-{n}")).await;
    }
    house
        .until(
            "all of it is in",
            "select count(*) = 10000 from sexton.requests where batch = 'many'",
        )
        .await;
    // Ids of requests are made as they are admitted, and sort by time.
    let after = house
        .count(
            "select count(*) from sexton.requests m where m.batch = 'many'
             and m.id > (select id from sexton.requests where batch is null order by id desc limit 1)",
        )
        .await;
    note(&format!(
        "{after} of {MANY} were admitted after the last of {SINGLE} others"
    ));
    assert!(after > 0, "the others were let in after the whole bulk");
    house.over("many", 1).await;
    worker.stop().await;
}

/// A trickle beside ten thousand: each comes when the one before it is done.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_many_at_once_let_others_pass() {
    const MANY: usize = 10_000;
    let mut house = house().await;
    house.change_settings("lanes = 1", "lanes = 2");
    house
        .sql("insert into shop.things (id) select 'x' || n from generate_series(0, 9999) n")
        .await;
    let worker = house.worker();
    let began = tokio::time::Instant::now();
    house
        .publish(bulk("many", (0..MANY).map(|n| format!("x{n}"))))
        .await;
    house
        .until("it is under way", "select exists (select from sexton.requests)")
        .await;
    let mut waits = Vec::new();
    let mut outbox = 0;
    while house.said_over("many") == 0 {
        let key = format!("one-{}", waits.len());
        let sent = tokio::time::Instant::now();
        house.publish(with(delete(&key), json!({"key": key}))).await;
        house.heard.end(&key).await;
        waits.push(sent.elapsed());
        outbox = outbox.max(house.count("select count(*) from sexton.outbox").await);
    }
    let event = house.over("many", 1).await;
    let whole = began.elapsed();
    assert_eq!(counts(&event), (&json!(MANY), &json!({"deleted": MANY})));
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    note(&format!(
        "{MANY} in {whole:?}; beside them {} others, median wait {median:?}, longest {longest:?}; \
         at most {outbox} rows in the outbox",
        waits.len()
    ));
    assert!(waits.len() >= 10, "only {} others passed", waits.len());
    assert!(median < whole / 10, "an other waited {median:?} beside {whole:?}");
    assert!(longest < whole / 2, "one waited {longest:?} beside {whole:?}");
    assert!(outbox < 5_000, "{outbox} rows in the outbox");
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(
        house
            .count("select count(*) from shop.things where gone_at is null")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_can_be_asked_for_from_a_file_of_ids() {
    let house = house().await;
    house.things(&["a", "b"]).await;
    let worker = house.worker();
    std::fs::write(house.folder().join("ids"), "a\nb\n\nnobody\n").expect("a file");
    let ask = ["request", "shop.thing", "--tenant", "t", "--targets"];
    let asked = |more: &[&'static str]| [&ask[..], more].concat();
    let said = sexton(&house, &asked(&["ids", "--key", "f", "--json"])).await;
    assert_eq!(said.ended_with(0).json()["requests"], 3);
    let event = house.over("f", 1).await;
    assert_eq!(counts(&event), (&json!(3), &json!({"deleted": 2, "absent": 1})));
    // What would be rejected is not sent, and what cannot be read is said.
    std::fs::write(house.folder().join("empty"), "\n").expect("a file");
    let said = sexton(&house, &asked(&["empty"])).await.ended_with(64);
    assert!(
        said.err.contains("found 0 targets; wanted 1 to 10000"),
        "{}",
        said.err
    );
    let said = sexton(&house, &asked(&["missing"])).await.ended_with(64);
    assert!(
        said.err.contains("--targets: cannot read missing"),
        "{}",
        said.err
    );
    let both = ["request", "shop.thing", "a", "--tenant", "t", "--targets", "ids"];
    sexton(&house, &both).await.ended_with(64);
    house.everything_is_over().await;
    worker.stop().await;
}
