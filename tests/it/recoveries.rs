//! Recovery that itself meets an error of the database: it says so once, tries again, and nothing is lost.

use rustix::process::Signal;

use crate::cli::{hasty, one_parked, sexton};
use crate::house::House;
use crate::shop::{THING, delete};
use crate::windows::draft;

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_and_a_sweep_that_meet_errors_say_so_and_try_again() {
    let house = House::with_short_leases().await;
    house.things(&["a", "b"]).await;
    let first = house.process(&[]);
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
    // Whoever takes over gets as far as the epochs, and no further.
    house
        .sql("alter function sexton.adopt_page(integer) rename to adopt_page_away")
        .await;
    first.signal(Signal::KILL);
    drop(first);
    let second = house.process(&[]);
    second.says("looking for silent workers").await;
    second
        .says("function sexton.adopt_page(integer) does not exist")
        .await;
    house
        .until(
            "its first half is done",
            "select exists (select from sexton.lanes where taken_over_at is not null)",
        )
        .await;
    assert!(
        house
            .is("select lane is not null from sexton.open_deletions")
            .await,
        "and its second is not"
    );
    house
        .sql("alter function sexton.adopt_page_away(integer) rename to adopt_page")
        .await;
    lock.rollback().await.expect("free");
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    second.says("Postgres works again").await;

    // Whoever sweeps the outbox waits for this lock until its statement is cut off.
    let mut lock = house.db.begin().await.expect("a transaction");
    sqlx::query("lock table sexton.outbox in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    let cut_off = |log: &str| {
        log.lines()
            .any(|line| line.contains("sweeping the outbox") && line.contains("timeout"))
    };
    let waited = tokio::time::timeout(crate::house::patience(), async {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
        while !cut_off(&second.log()) {
            every.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{}", second.log()));
    house.publish(delete("b")).await;
    lock.rollback().await.expect("free");
    assert_eq!(house.heard.end("k-b").await.detail("result"), Some("deleted"));
    house.everything_is_over().await;
    assert_eq!(
        second.log().matches("Postgres is in trouble").count(),
        2,
        "each is said once:\n{}",
        second.log()
    );
    second.signal(Signal::TERM);
    let (status, log) = second.ended().await;
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_meets_errors_says_so_and_tries_again() {
    let house = House::drafts("1h", &["a"]).await;
    let process = house.process(&[]);
    assert_eq!(house.ended(draft("a", "1")).await.kind(), "soft_deleted");
    // Nobody can be sure to lead; then nobody can read what is due.
    for (away, back, error) in [
        (
            "alter table sexton.terms rename to terms_away",
            "alter table sexton.terms_away rename to terms",
            "relation \"sexton.terms\" does not exist",
        ),
        (
            "alter table sexton.windows rename to windows_away;
             update sexton.windows_away set until = now() - interval '1 second', due_at = now()",
            "alter table sexton.windows_away rename to windows",
            "relation \"sexton.windows\" does not exist",
        ),
    ] {
        house.sql(away).await;
        process.says(&error.replace('"', "\\\"")).await;
        house.sql(back).await;
    }
    let purged = house.purged("a").await;
    assert_eq!(
        (purged.kind(), purged.detail("result")),
        ("completed", Some("deleted"))
    );
    process.says("Postgres works again").await;
    house.everything_is_over().await;
    assert_eq!(house.runs("erase", "a").await, 1);
    process.signal(Signal::TERM);
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("looking for windows that have ended"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_of_a_plan_that_meets_an_error_changes_nothing_and_can_be_asked_for_again() {
    let house = House::new().await;
    house.plan("thing", &hasty().replace("attempts = 100", "attempts = 2"));
    house.things(&["a"]).await;
    let worker = house.worker();
    one_parked(&house, "a").await;
    house.plan("thing", THING);
    let right = house.folder().join("plans/thing.toml").display().to_string();
    let adopt = ["plan", "adopt", right.as_str(), "--all"];
    house.sql("alter table sexton.audit rename to audit_away").await;
    let said = sexton(&house, &adopt).await;
    let told = format!("{}{}", said.out, said.err);
    assert!(
        told.contains("relation \"sexton.audit\" does not exist"),
        "{told}"
    );
    said.ended_with(69);
    assert!(
        house
            .is("select parked is not null from sexton.open_deletions")
            .await,
        "it is as it was"
    );
    assert_eq!(
        house
            .count("select count(*) from sexton.journal where entries::jsonb @> '[{\"e\": \"adopted\"}]'")
            .await,
        0,
        "nothing without its audit"
    );
    house.sql("alter table sexton.audit_away rename to audit").await;
    // The lane of the one that failed is not waited for: it signed off.
    house
        .until("nobody has it", "select lane is null from sexton.open_deletions")
        .await;
    sexton(&house, &adopt).await.ended_with(0);
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    house.everything_is_over().await;
    worker.stop().await;
}
