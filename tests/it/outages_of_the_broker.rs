//! A broker that is away for long, or takes nothing from publishers: what ends meanwhile is kept, and told in bounded memory
//! once it can be; and a stop while the database is away.

use rustix::process::Signal;
use sexton::services::{Ending, Options, Services};

use crate::house::House;
use crate::shop::{THING, delete};

async fn servers() -> Services {
    let options = Options {
        amqp_url: None,
        database_url: None,
        durable: false,
        ..Options::from_env()
    };
    Services::start(options).await.expect("servers of one's own")
}

fn names(many: usize) -> Vec<String> {
    (0..many).map(|n| format!("n{n:04}")).collect()
}

/// All are admitted, and wait for the world.
async fn many_that_wait(house: &House, ids: &[String]) {
    house
        .things(&ids.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    house.sql("update shop.things set ready = false").await;
    for some in ids.chunks(100) {
        futures::future::join_all(some.iter().map(|id| house.publish(delete(id)))).await;
    }
    house
        .until(
            "all are admitted and wait",
            "select (select count(distinct id) from shop.runs where step = 'wait') = (select count(*) from shop.things)",
        )
        .await;
}

/// An hour of it, as far as anybody notices: thousands of outcomes that nobody can be told.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_long_outage_of_the_broker_is_caught_up_with_in_bounded_memory() {
    const MANY: usize = 3_000;
    /// Pages of five hundred events, a few at once, and what the allocator keeps of them.
    const MORE_KIB: u64 = 48 * 1024;
    let mut services = servers().await;
    let house = House::in_servers(services.urls.clone()).await;
    // Thousands that ask again and again whether they may go on would leave a small machine no time for anything else.
    let patient = THING.replace("base = \"20ms\", max = \"1s\"", "base = \"20s\", max = \"20s\"");
    assert_ne!(patient, THING);
    house.plan("thing", &patient);
    let worker = house.process(&[]);
    let ids = names(MANY);
    many_that_wait(&house, &ids).await;
    let before = worker.peak_kib();
    services.stop_broker(Ending::Clean).await.expect("stopped");
    worker.says("lost the broker").await;
    house.sql("update shop.things set ready = true").await;
    house
        .until(
            "all end while nobody can be told",
            "select count(*) = 3000 from sexton.deletions",
        )
        .await;
    assert_eq!(
        house.count("select count(*) from sexton.outbox").await,
        MANY as i64
    );
    services.start_broker().await.expect("started");
    house
        .until("all is told", "select not exists (select from sexton.outbox)")
        .await;
    house.everything_is_over().await;
    let peak = worker.peak_kib();
    assert!(
        peak < before + MORE_KIB,
        "{before} KiB before, {peak} KiB at most"
    );
    let log = worker.log();
    assert_eq!(log.matches("lost the broker").count(), 1, "said once:\n{log}");
    assert_eq!(
        house.count("select count(*) from shop.effects").await,
        MANY as i64
    );
    worker.signal(Signal::TERM);
    let (status, log) = worker.ended().await;
    assert!(status.success(), "{log}");
    drop(house);
    services.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_by_a_memory_alarm_is_said_and_waited_out() {
    const MANY: usize = 40;
    let services = servers().await;
    let house = House::in_servers(services.urls.clone()).await;
    let worker = house.process(&[]);
    let ids = names(MANY);
    many_that_wait(&house, &ids).await;
    services.memory_alarm(true).await.expect("an alarm");
    house.sql("update shop.things set ready = true").await;
    worker.says("the broker blocks publishers").await;
    house
        .until(
            "all end while nobody can be told",
            "select count(*) = 40 from sexton.deletions",
        )
        .await;
    services.memory_alarm(false).await.expect("it is over");
    for id in &ids {
        let end = house.heard.end(&format!("k-{id}")).await;
        assert_eq!(end.detail("result"), Some("deleted"), "{id}");
    }
    house.everything_is_over().await;
    for id in &ids {
        assert_eq!(
            house.heard.ends(&format!("k-{id}")).len(),
            1,
            "{id}: one outcome, under one id"
        );
    }
    worker.signal(Signal::TERM);
    let (status, log) = worker.ended().await;
    assert!(status.success(), "{log}");
    drop(house);
    services.stop().await.expect("a clean end");
}

/// Nothing can be handed back to a database that is away: it ends in time all the same, and its lease speaks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_an_outage_of_postgres_ends_in_time_and_loses_nothing() {
    const MANY: usize = 60;
    let mut services = servers().await;
    let mut house = House::in_servers(services.urls.clone()).await;
    house.change_settings("drain = \"5s\"", "drain = \"1s\"");
    let worker = house.process(&[]);
    let ids = names(MANY);
    many_that_wait(&house, &ids).await;
    services.stop_postgres(Ending::Kill).await.expect("stopped");
    worker.says("Postgres is in trouble").await;
    let began = std::time::Instant::now();
    worker.signal(Signal::TERM);
    let (status, log) = worker.ended().await;
    assert!(status.success(), "{log}");
    assert!(
        began.elapsed() < std::time::Duration::from_secs(12),
        "{:?}\n{log}",
        began.elapsed()
    );
    services.start_postgres().await.expect("started");
    house
        .until("it answers", "update shop.things set ready = true returning true")
        .await;
    let second = house.worker();
    for id in &ids {
        let end = house.heard.end(&format!("k-{id}")).await;
        assert_eq!(end.detail("result"), Some("deleted"), "{id}");
    }
    house.everything_is_over().await;
    second.stop().await;
    drop(house);
    services.stop().await.expect("a clean end");
}
