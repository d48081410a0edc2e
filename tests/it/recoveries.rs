//! Recovery that itself meets an error of the database: it says so once, tries again, and nothing is lost.

use rustix::process::Signal;

use crate::house::House;
use crate::shop::delete;

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
