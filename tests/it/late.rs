//! Late workers: what is reversed stays reversed, whoever wakes up and repeats what it had begun.

use std::time::Duration;

use serde_json::json;
use sexton::app;
use sexton::connectors::{Attempt, Systems};
use sexton::deletion::{Action, DeletionId, Verdict};
use sexton::settings::{Part, Settings};
use sexton::stopper::Gate;

use crate::house::House;
use crate::windows::{draft, restore};

/// A worker was frozen just before it sent its statement, everything else that would have stopped it is away, and it wakes
/// when the draft was restored, or deleted again, long ago.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_what_was_reversed_stays_so_though_a_worker_wakes_late() {
    let house = House::drafts("1h", &["a"]).await;
    let worker = house.worker();
    let settings = Settings::load(&[house.settings_file()], &[Part::Systems]).expect("settings");
    let systems = Systems::build(&settings.systems, house.folder()).expect("systems");
    let plan = app::plan(&house.folder().join("plans/draft.toml"), None).expect("a plan");
    let late = |action: Action, generation: i64| {
        let step = plan.course(action).steps[0].clone();
        let systems = &systems;
        async move {
            let values = [
                ("id", json!("a")),
                ("tenant", json!("t")),
                ("generation", json!(generation)),
            ];
            let attempt = Attempt {
                deletion: DeletionId(uuid::Uuid::nil()),
                step: step.name.clone(),
                number: 1,
                idempotency_key: "late".into(),
                values: std::sync::Arc::new(values.map(|(name, value)| (name.to_owned(), value)).into()),
                may_have_worked: false,
                handle: None,
                timeout: Duration::from_secs(5),
                gate: Gate::always(),
                trace: Default::default(),
                blame: Default::default(),
            };
            let connector = systems.connector(&step.on, &step.call).expect("a connector");
            connector.run(&step.call, &attempt).await
        }
    };
    let generation = async |key: &str| -> i64 {
        sqlx::query_scalar(
            "select d.generation from sexton.deletions d join sexton.requests r on r.deletion_id = d.id where r.key = $1",
        )
        .bind(key)
        .fetch_one(&house.db)
        .await
        .expect("a generation")
    };

    assert_eq!(house.ended(draft("a", "1")).await.kind(), "soft_deleted");
    assert_eq!(house.ended(restore("a", "2")).await.kind(), "restored");
    let said = late(Action::Delete, generation("1").await).await;
    assert_eq!(said, Verdict::AlreadyGone);
    assert!(
        house.is("select gone_at is null from shop.things").await,
        "hidden again by a deletion that was taken back"
    );
    assert_eq!(house.ended(draft("a", "3")).await.kind(), "soft_deleted");
    let said = late(Action::Restore, generation("2").await).await;
    assert_eq!(said, Verdict::AlreadyGone);
    let said = late(Action::Purge, generation("2").await).await;
    assert_eq!(said, Verdict::AlreadyGone);
    assert!(
        house.is("select gone_at is not null from shop.things").await,
        "shown or erased by what was over before it was hidden"
    );
    worker.stop().await;
}
