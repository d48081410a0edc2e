//! Who has a deletion stands in its row, and no index leads there: what a lane took is found by its claims.

use std::collections::BTreeSet;

use sexton::clock;
use sexton::deletion::DeletionId;
use sexton::store::{Admission, Passed, Release};

use crate::guards::{Desk, candidate, one_kept};
use crate::house::House;
use crate::shop::{THING, delete};

impl Desk {
    async fn held(&mut self) -> BTreeSet<DeletionId> {
        let held = self.writer.held().await.expect("an answer");
        held.into_iter().map(|(deletion, _)| deletion).collect()
    }

    async fn hand_back(&mut self, deletion: DeletionId, tenure: i32) {
        let release = Release {
            deletion,
            tenure,
            due: clock::now(),
            fault: false,
        };
        self.writer.release(0, &[release]).await.expect("an answer");
    }

    async fn claim(&mut self) -> usize {
        let claimed = self
            .writer
            .claim(&[self.opened.plan], Passed::default(), 10, 10)
            .await;
        claimed.expect("an answer").0.len()
    }

    async fn claims(&self) -> i64 {
        sqlx::query_scalar("select count(*) from sexton.claims")
            .fetch_one(&self.db)
            .await
            .expect("a count")
    }
}

#[tokio::test]
async fn invariant_03_however_a_lane_took_a_deletion_it_is_found_by_whoever_takes_over() {
    let mut desk = one_kept().await;
    let first = desk.opened.id;
    // By the short way of an admission.
    assert_eq!(desk.held().await, [first].into());
    // By the long one, which an announcement takes.
    let second = candidate("b", "k-b", desk.opened.plan);
    let fates = desk
        .writer
        .admit(clock::now(), true, &[second.clone()], &[None])
        .await;
    assert!(matches!(fates.as_deref(), Ok([Admission::Kept(_)])), "{fates:?}");
    assert_eq!(desk.held().await, [first, second.deletion_id].into());
    // By a claim of what is due.
    desk.hand_back(first, 1).await;
    assert_eq!(desk.held().await, [second.deletion_id].into());
    assert_eq!(desk.claim().await, 1);
    assert_eq!(desk.held().await, [first, second.deletion_id].into());

    desk.run("update sexton.workers set expires_at = now() - interval '1 second'")
        .await;
    assert_eq!(desk.store.take_over().await.expect("an answer"), (1, 2));
    let held: i64 = sqlx::query_scalar("select count(*) from sexton.open_deletions where lane is not null")
        .fetch_one(&desk.db)
        .await
        .expect("a count");
    assert_eq!(held, 0);
}

#[tokio::test]
async fn invariant_03_claims_are_forgotten_once_nothing_of_them_is_held_and_not_before() {
    let mut desk = one_kept().await;
    let second = candidate("b", "k-b", desk.opened.plan);
    desk.writer
        .admit(clock::now(), true, &[second.clone()], &[None])
        .await
        .expect("admitted");
    desk.hand_back(desk.opened.id, 1).await;
    desk.hand_back(second.deletion_id, 1).await;
    assert_eq!(desk.claim().await, 2);
    assert_eq!(desk.claims().await, 3);
    // The two admissions have nothing that was not claimed again; they are kept for as long as it is held.
    desk.hand_back(second.deletion_id, 2).await;
    assert!(desk.writer.forget_claims().await.expect("an answer"));
    assert_eq!(desk.claims().await, 2, "the second's admission is forgotten");
    assert_eq!(desk.held().await, [desk.opened.id].into());
    desk.hand_back(desk.opened.id, 2).await;
    assert!(!desk.writer.forget_claims().await.expect("an answer"));
    assert_eq!(desk.claims().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_forgets_its_claims_after_a_moment() {
    let house = House::new().await;
    house.things(&["a", "b"]).await;
    house.plan("thing", THING);
    let worker = house.worker();
    house.publish(delete("a")).await;
    house.publish(delete("b")).await;
    house.heard.end("k-a").await;
    house.heard.end("k-b").await;
    house
        .until("nothing is held", "select not exists (select from sexton.claims)")
        .await;
    worker.stop().await;
}
