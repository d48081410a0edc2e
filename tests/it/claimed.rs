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

    /// How many ids each claim names.
    async fn claims(&self) -> Vec<i32> {
        sqlx::query_scalar("select cardinality(ids) from sexton.claims order by id")
            .fetch_all(&self.db)
            .await
            .expect("sizes")
    }

    async fn admit_with_announcement(&mut self, id: &str) -> DeletionId {
        let candidate = candidate(id, &format!("k-{id}"), self.opened.plan);
        let deletion = candidate.deletion_id;
        let fates = self.writer.admit(clock::now(), true, &[candidate], &[None]).await;
        assert!(matches!(fates.as_deref(), Ok([Admission::Kept(_)])), "{fates:?}");
        deletion
    }

    async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what)
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
    let second = desk.admit_with_announcement("b").await;
    assert_eq!(desk.held().await, [first, second].into());
    // By a claim of what is due.
    desk.hand_back(first, 1).await;
    desk.writer.forget_claims(0).await.expect("an answer");
    assert_eq!(desk.held().await, [second].into());
    assert_eq!(desk.claim().await, 1);
    assert_eq!(desk.held().await, [first, second].into());

    desk.run("update sexton.workers set expires_at = now() - interval '1 second'")
        .await;
    assert_eq!(desk.store.take_over().await.expect("an answer"), (1, 2));
    let held = desk
        .count("select count(*) from sexton.open_deletions where lane is not null")
        .await;
    assert_eq!(held, 0);
}

/// Nobody who looks for what is due has to step over it, or over what is left of it under a long-held snapshot.
#[tokio::test]
async fn what_is_kept_from_its_admission_on_stands_where_no_claim_looks() {
    let mut desk = one_kept().await;
    desk.admit_with_announcement("b").await;
    let far = "select count(*) from sexton.open_deletions where due_at > now() + interval '1 year'";
    assert_eq!(desk.count(far).await, 2);
    desk.hand_back(desk.opened.id, 1).await;
    assert_eq!(desk.count(far).await, 1, "it is due again");
}

#[tokio::test]
async fn invariant_03_claims_are_forgotten_once_nothing_of_them_is_held_and_not_before() {
    let mut desk = one_kept().await;
    let second = desk.admit_with_announcement("b").await;
    let third = desk.admit_with_announcement("c").await;
    desk.hand_back(desk.opened.id, 1).await;
    desk.hand_back(second, 1).await;
    desk.hand_back(third, 1).await;
    assert_eq!(desk.claim().await, 3);
    assert_eq!(desk.claims().await, [1, 1, 1, 3]);
    // The admissions name what was claimed again, and stay for as long as it is held; of the claim a third is left.
    desk.hand_back(second, 2).await;
    desk.hand_back(third, 2).await;
    let (since, is_more) = desk.writer.forget_claims(0).await.expect("an answer");
    assert!(is_more);
    assert_eq!(
        desk.claims().await,
        [1, 1],
        "the first's admission, and what is left of the claim"
    );
    assert_eq!(desk.held().await, [desk.opened.id].into());
    desk.hand_back(desk.opened.id, 2).await;
    let (next, is_more) = desk.writer.forget_claims(since).await.expect("an answer");
    assert!(!is_more && next > since, "{next} after {since}");
    assert_eq!(desk.claims().await, [0; 0]);
    assert_eq!(
        desk.writer.forget_claims(next).await.expect("an answer"),
        (next, false)
    );
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
