//! The guarded write itself, without an engine around it: who may write, and what a write that may not changes.

use sexton::clock;
use sexton::deletion::{Aim, DeletionId, Entry, Envelope, EventId, RequestId, read_request};
use sexton::plan::parse_plan;
use sexton::store::{
    Admission, BatchOutcome, Candidate, LaneWriter, Opened, Record, Settings, Store, StoreError,
};
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::world::World;

const PLAN: &str = "target = \"shop.thing\"\non = \"shop\"\nsql = \"delete from things where id = :id\"";

struct Desk {
    // Its database goes with it.
    _world: World,
    db: PgPool,
    store: Store,
    writer: LaneWriter,
    opened: Opened,
}

/// One deletion, admitted and kept by one lane.
async fn one_kept() -> Desk {
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
    let body = br#"{"target": {"type": "shop.thing", "id": "a"}, "tenant": "t", "key": "k"}"#;
    let candidate = Candidate {
        request: read_request(body, &Envelope::default()).expect("well formed"),
        request_id: RequestId(Uuid::now_v7()),
        deletion_id: DeletionId(Uuid::now_v7()),
        plan,
        deadline: None,
        keep: true,
    };
    let mut fates = writer
        .admit(clock::now(), false, &[candidate])
        .await
        .expect("admitted");
    let Some(Admission::Kept(opened)) = fates.pop() else {
        panic!("{fates:?}")
    };
    let db = PgPool::connect(&world.database_url).await.expect("a pool");
    Desk {
        _world: world,
        db,
        store,
        writer,
        opened: *opened,
    }
}

fn intent(opened: &Opened) -> Record {
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

    async fn run(&self, sql: &'static str) {
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
            matches!(outcome, BatchOutcome::Applied { ref written, .. } if written.is_empty()),
            "{outcome:?}"
        );
        assert_eq!(desk.rows().await, before);
    }
    // What was right all along is written once, and not a second time.
    for times in [1, 0] {
        let outcome = desk
            .writer
            .write(0, clock::now(), std::slice::from_ref(&right))
            .await;
        let BatchOutcome::Applied { written, .. } = outcome.expect("an answer") else {
            panic!("the lane is ours")
        };
        assert_eq!(written.len(), times);
    }
    let mine = desk.writer.already_mine(&[right]).await.expect("an answer");
    assert_eq!(mine.len(), 1, "after a lost answer it is known as ours");
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
    let claimed = desk.writer.claim(&[desk.opened.plan], None, 10).await;
    assert!(matches!(claimed, Err(StoreError::Lost)), "{claimed:?}");
    let admitted = desk.writer.admit(clock::now(), false, &[]).await;
    assert!(matches!(admitted, Err(StoreError::Lost)), "{admitted:?}");
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
    assert!(matches!(outcome, Ok(BatchOutcome::Applied { ref written, .. }) if written.len() == 1));
}
