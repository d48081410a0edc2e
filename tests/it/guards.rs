//! The guarded write itself, without an engine around it: who may write, and what a write that may not changes.

use sexton::clock;
use sexton::deletion::{Aim, DeletionId, Entry, Envelope, EventId, RequestId, read_request};
use sexton::plan::parse_plan;
use sexton::store::{
    Admission, BatchOutcome, Candidate, LaneWriter, Opened, Passed, Record, Settings, Store, StoreError,
    Written,
};
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::world::World;

const PLAN: &str = "target = \"shop.thing\"\non = \"shop\"\nsql = \"delete from things where id = :id\"";

pub(crate) struct Desk {
    // Its database goes with it.
    world: World,
    pub(crate) db: PgPool,
    pub(crate) store: Store,
    pub(crate) writer: LaneWriter,
    pub(crate) opened: Opened,
}

/// Not one record of a batch.
fn none() -> Written {
    Written::Of([].into())
}

/// One deletion, admitted and kept by one lane.
pub(crate) async fn one_kept() -> Desk {
    let world = World::new().await;
    let settings = Settings {
        url: world.database_url.clone().into(),
        ..Settings::default()
    };
    let store = Store::new(&settings).expect("a usable URL");
    let plan = parse_plan(PLAN, "p.toml").expect("a plan");
    let plan = store.introduce_plan(&plan).await.expect("a stored plan").id;
    let worker = store.register(1, settings.lease).await.expect("a worker");
    let mut writer = store.open_lane(worker.lanes[0]).await.expect("a lane");
    let candidate = candidate("a", "k", plan);
    let mut fates = writer
        .admit(clock::now(), false, &[candidate], &[None])
        .await
        .expect("admitted");
    let Some(Admission::Kept(opened)) = fates.pop() else {
        panic!("{fates:?}")
    };
    let db = PgPool::connect(&world.database_url).await.expect("a pool");
    Desk {
        world,
        db,
        store,
        writer,
        opened: *opened,
    }
}

pub(crate) fn candidate(id: &str, key: &str, plan: i32) -> Candidate {
    let body =
        format!(r#"{{"target": {{"type": "shop.thing", "id": "{id}"}}, "tenant": "t", "key": "{key}"}}"#);
    Candidate {
        request: read_request(body.as_bytes(), &Envelope::default()).expect("well formed"),
        request_id: RequestId(Uuid::now_v7()),
        deletion_id: DeletionId(Uuid::now_v7()),
        plan,
        restorable: false,
        deadline: None,
        keep: true,
    }
}

pub(crate) fn intent(opened: &Opened) -> Record {
    Record {
        deletion: opened.id,
        tenure: opened.tenure,
        seq: opened.seq,
        entries: vec![Entry::Intent {
            step: 1,
            aim: Aim::Do,
            attempt: 1,
        }],
        due: None,
        effect: None,
        unwinding: false,
        parked: None,
        result: None,
        until: None,
        look_every: None,
        detail: serde_json::json!({}),
        announce: Some(("parked", EventId(Uuid::now_v7()))),
    }
}

impl Desk {
    /// All that a write could change.
    async fn rows(&self) -> String {
        sqlx::query_scalar(
            "select json_build_array((select json_agg(d) from sexton.open_deletions d),
                 (select json_agg(j) from sexton.journal j), (select json_agg(o) from sexton.outbox o))::text",
        )
        .fetch_one(&self.db)
        .await
        .expect("rows")
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.world.database_url
    }

    pub(crate) async fn run(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.db).await.expect(sql);
    }
}

#[tokio::test]
async fn invariant_03_a_write_under_a_wrong_tenure_or_sequence_changes_no_row() {
    let mut desk = one_kept().await;
    let before = desk.rows().await;
    let right = intent(&desk.opened);
    let wrong = [
        Record {
            tenure: right.tenure + 1,
            ..right.clone()
        },
        Record {
            seq: right.seq + 1,
            ..right.clone()
        },
        Record {
            deletion: DeletionId(Uuid::now_v7()),
            ..right.clone()
        },
    ];
    for record in wrong {
        let outcome = desk
            .writer
            .write(0, clock::now(), &[record])
            .await
            .expect("an answer");
        assert!(
            matches!(outcome, BatchOutcome::Applied { ref written, .. } if *written == none()),
            "{outcome:?}"
        );
        assert_eq!(desk.rows().await, before);
    }
    // What was right all along is written once, and not a second time.
    for wanted in [Written::All, none()] {
        let outcome = desk
            .writer
            .write(0, clock::now(), std::slice::from_ref(&right))
            .await;
        let BatchOutcome::Applied { written, .. } = outcome.expect("an answer") else {
            panic!("the lane is ours")
        };
        assert_eq!(written, wanted);
    }
    let mine = desk.writer.already_mine(std::slice::from_ref(&right)).await;
    assert_eq!(
        mine.expect("an answer").len(),
        1,
        "after a lost answer it is known as ours"
    );
    // Decided anew, at the same place in the journal: that one was not written.
    let other = Record {
        entries: vec![Entry::Overdue],
        ..right
    };
    let mine = desk.writer.already_mine(&[other]).await.expect("an answer");
    assert!(mine.is_empty());
}

#[tokio::test]
async fn invariant_03_what_is_given_up_with_an_open_intent_waits_for_its_hard_timeout() {
    let mut desk = one_kept().await;
    let record = Record {
        effect: Some(std::time::Duration::from_secs(3600)),
        ..intent(&desk.opened)
    };
    desk.writer
        .write(0, clock::now(), &[record])
        .await
        .expect("written");
    let release = sexton::store::Release {
        deletion: desk.opened.id,
        tenure: desk.opened.tenure,
        due: clock::now(),
        fault: true,
    };
    let outcome = desk.writer.release(0, &[release]).await.expect("an answer");
    assert!(matches!(outcome, BatchOutcome::Applied { .. }), "{outcome:?}");
    let waits: bool = sqlx::query_scalar(
        "select lane is null and due_at > now() + interval '59 minutes' from sexton.open_deletions",
    )
    .fetch_one(&desk.db)
    .await
    .expect("a row");
    assert!(waits, "the effect may still be under way");
}

#[tokio::test]
async fn invariant_08_a_nearer_deadline_that_was_folded_in_is_not_slept_through() {
    let mut desk = one_kept().await;
    let until = |hours: i64| clock::now() + time::Duration::hours(hours);
    desk.run("update sexton.open_deletions set deadline = now() + interval '2 hours'")
        .await;
    // Whoever has it knows of no deadline, and wants to sleep for longer.
    let record = Record {
        due: Some(until(9)),
        announce: None,
        ..intent(&desk.opened)
    };
    desk.writer
        .write(0, clock::now(), &[record])
        .await
        .expect("written");
    let due = "select due_at = deadline from sexton.open_deletions";
    let on_time: bool = sqlx::query_scalar(due).fetch_one(&desk.db).await.expect("a row");
    assert!(on_time);

    // And one that comes while it sleeps wakes it earlier.
    desk.run("update sexton.open_deletions set effect_ms = null")
        .await;
    let folded = Candidate {
        deadline: Some(until(1)),
        ..candidate("a", "k2", desk.opened.plan)
    };
    let fates = desk.writer.admit(clock::now(), false, &[folded], &[None]).await;
    assert!(matches!(fates.expect("admitted").as_slice(), [Admission::Folded]));
    let on_time: bool = sqlx::query_scalar(
        "select due_at = deadline and due_at < now() + interval '61 minutes' from sexton.open_deletions",
    )
    .fetch_one(&desk.db)
    .await
    .expect("a row");
    assert!(on_time);
}

#[tokio::test]
async fn a_plan_whose_number_is_lower_than_the_last_known_is_learned_all_the_same() {
    let desk = one_kept().await;
    let known = desk.opened.plan + 1;
    let (plans, unreadable) = desk.store.plans_but(&[known]).await.expect("an answer");
    assert_eq!(
        plans.len(),
        1,
        "it was committed after the one with the higher number"
    );
    assert!(unreadable.is_empty());
    let (plans, _) = desk
        .store
        .plans_but(&[desk.opened.plan])
        .await
        .expect("an answer");
    assert!(plans.is_empty());
}

#[tokio::test]
async fn invariant_03_a_lane_whose_epoch_was_raised_writes_releases_claims_and_admits_nothing() {
    let mut desk = one_kept().await;
    // Taken over, and nothing adopted yet: the rows still name the old epoch.
    desk.run("update sexton.lanes set epoch = epoch + 1").await;
    let before = desk.rows().await;
    let record = intent(&desk.opened);
    let outcome = desk.writer.write(0, clock::now(), &[record]).await;
    assert_eq!(outcome.expect("an answer"), BatchOutcome::Lost);
    let release = sexton::store::Release {
        deletion: desk.opened.id,
        tenure: desk.opened.tenure,
        due: clock::now(),
        fault: false,
    };
    let outcome = desk.writer.release(0, &[release]).await;
    assert_eq!(outcome.expect("an answer"), BatchOutcome::Lost);
    let claimed = desk
        .writer
        .claim(&[desk.opened.plan], Passed::default(), 10, 10)
        .await;
    assert!(matches!(claimed, Err(StoreError::Lost)), "{claimed:?}");
    // The long way, and the short one of what is new.
    for candidates in [vec![], vec![candidate("b", "k3", desk.opened.plan)]] {
        let admitted = desk
            .writer
            .admit(clock::now(), false, &candidates, &vec![None; candidates.len()])
            .await;
        assert!(matches!(admitted, Err(StoreError::Lost)), "{admitted:?}");
    }
    assert_eq!(desk.writer.generation().await.expect("an answer"), None);
    assert_eq!(desk.rows().await, before);
}

#[tokio::test]
async fn invariant_03_a_takeover_raises_the_epoch_once_and_adopts_not_before_the_hard_timeout() {
    let mut desk = one_kept().await;
    let record = Record {
        effect: Some(std::time::Duration::from_secs(3600)),
        ..intent(&desk.opened)
    };
    desk.writer
        .write(0, clock::now(), &[record])
        .await
        .expect("written");
    desk.run("update sexton.workers set expires_at = now() - interval '1 second'")
        .await;
    let (one, two) = tokio::join!(desk.store.take_over(), desk.store.take_over());
    let (one, two) = (one.expect("taken"), two.expect("taken"));
    assert_eq!((one.0 + two.0, one.1 + two.1), (1, 1), "one of the two did it");
    let adopted: bool = sqlx::query_scalar(
        "select lane is null and due_at > now() + interval '59 minutes' from sexton.open_deletions",
    )
    .fetch_one(&desk.db)
    .await
    .expect("a row");
    assert!(
        adopted,
        "a frozen process may still be in the middle of the effect"
    );
}

#[tokio::test]
async fn a_signalled_lane_writes_nothing_before_it_has_read_the_signals() {
    let mut desk = one_kept().await;
    let said = desk
        .store
        .signal(
            desk.opened.id,
            sexton::deletion::SignalKind::Cancel,
            "a test",
            None,
        )
        .await;
    assert_eq!(said.expect("an answer"), sexton::store::Said::Heard);
    let before = desk.rows().await;
    let record = intent(&desk.opened);
    let outcome = desk
        .writer
        .write(0, clock::now(), std::slice::from_ref(&record))
        .await;
    assert_eq!(
        outcome.expect("an answer"),
        BatchOutcome::Signalled { generation: 1 }
    );
    assert_eq!(desk.rows().await, before);
    let outcome = desk.writer.write(1, clock::now(), &[record]).await;
    assert!(matches!(
        outcome,
        Ok(BatchOutcome::Applied {
            written: Written::All,
            ..
        })
    ));
}
