//! What a person repairs from the command line: a plan that was wrong, and requests that were turned away.

use serde_json::json;
use sexton::clock;
use sexton::deletion::{DeletionId, EventId};
use sexton::store::{Asked, BatchOutcome, Settings, Store};
use uuid::Uuid;

use crate::cli::{WAIT, hasty, one_parked, sexton};
use crate::house::{House, THING};

#[tokio::test]
async fn invariant_03_an_adoption_goes_through_the_fence_and_is_audited() {
    let house = House::new().await;
    house.things(&["a", "b"]).await;
    house.plan("thing", &hasty());
    let worker = house.worker();
    one_parked(&house, "a").await;
    one_parked(&house, "b").await;

    // One that does not fit: the second step, which has begun, has another name there.
    let other = house.folder().join("other.toml");
    let renamed = THING.replace("name  = \"wait\"", "name  = \"rest\"");
    assert_ne!(renamed, THING);
    std::fs::write(&other, renamed).expect("a plan");
    let before: i64 = house
        .count("select sum(seq + tenure)::bigint from sexton.open_deletions")
        .await;
    let other = other.display().to_string();
    let said = sexton(&house, &["plan", "adopt", &other, "--all", "--json"])
        .await
        .ended_with(65)
        .json();
    assert_eq!(
        said["deletions"][0]["why"], "step 2 \"wait\" has begun, and the plan has \"rest\" in its place",
        "{said}"
    );
    assert_eq!(
        house
            .count("select sum(seq + tenure)::bigint from sexton.open_deletions")
            .await,
        before
    );
    assert_eq!(house.count("select count(*) from sexton.audit").await, 0);

    let right = house.folder().join("right.toml");
    std::fs::write(&right, THING).expect("a plan");
    let right = right.display().to_string();
    let adopt = [
        "plan",
        "adopt",
        &right,
        "--all",
        "--reason",
        "a table was misspelt",
        "--by",
        "bert",
    ];
    let said = sexton(&house, &adopt).await.ended_with(0);
    assert_eq!(said.out.matches("and goes on").count(), 2, "{}", said.out);
    // The workers learn the new version by themselves, and what was done is not done again.
    house.everything_is_over().await;
    assert!(
        house
            .is("select count(*) = 2 from shop.things where gone_at is not null")
            .await
    );
    for id in ["a", "b"] {
        assert_eq!(
            (house.runs("fence", id).await, house.runs("mark", id).await),
            (1, 1)
        );
    }
    assert!(
        house
            .is(
                "select count(*) = 2 from sexton.audit where said_by = 'cli:bert' and action = 'adopt'
                 and detail->>'reason' = 'a table was misspelt' and detail->>'from' <> detail->>'to'"
            )
            .await
    );
    assert!(
        house
            .is(
                "select count(*) = 2 from sexton.deletions d join sexton.plans p on p.id = d.plan
                 where d.result = 'deleted' and p.canonical not like '%thingz%'"
            )
            .await
    );
    let none = sexton(&house, &["plan", "adopt", &right, "--all"])
        .await
        .ended_with(0);
    assert_eq!(none.out, "none is parked\n");
    worker.stop().await;
}

#[tokio::test]
async fn what_was_rejected_is_listed_and_goes_in_again() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.no_plan("thing");
    house.plan("other", &THING.replace("shop.thing\"", "shop.other\""));
    let worker = house.worker();
    let said = sexton(
        &house,
        &[
            "request",
            "shop.thing",
            "a",
            "--tenant",
            "t",
            "--key",
            "k",
            "--wait",
            "--timeout",
            WAIT,
            "--json",
        ],
    );
    let said = said.await.ended_with(13).json();
    let request = said["outcome"]["request_id"].as_str().expect("an id").to_owned();
    let shown = sexton(&house, &["deletions", "show", &request])
        .await
        .ended_with(65);
    assert!(
        shown.err.contains("it was rejected at ") && shown.err.contains("unknown_type"),
        "{}",
        shown.err
    );
    house
        .until(
            "it is in its queue",
            "select not exists (select from sexton.outbox)",
        )
        .await;

    let listed = sexton(&house, &["rejected", "list", "--json"])
        .await
        .ended_with(0)
        .json();
    assert_eq!(
        (&listed["standing"], &listed["rejected"][0]["reason"]),
        (&json!(1), &json!("unknown_type")),
        "{listed}"
    );
    assert!(
        listed["rejected"][0].get("body").is_none(),
        "a body is shown only if it is asked for: {listed}"
    );
    let with_body = sexton(&house, &["rejected", "list", "--body"])
        .await
        .ended_with(0);
    assert!(with_body.out.contains("\"shop.thing\""), "{}", with_body.out);
    assert_eq!(
        sexton(&house, &["rejected", "list", "--reason", "not_json"])
            .await
            .ended_with(0)
            .out,
        "none\n"
    );
    let said = sexton(&house, &["rejected", "requeue", "no-such"])
        .await
        .ended_with(65);
    assert!(
        said.err.contains("no rejected request is known as no-such"),
        "{}",
        said.err
    );
    worker.stop().await;

    house.plan("thing", THING);
    let worker = house.worker();
    let said = sexton(&house, &["rejected", "requeue", "--all", "--json"])
        .await
        .ended_with(0)
        .json();
    assert_eq!(
        (said["moved"].as_array().map(Vec::len), &said["left"]),
        (Some(1), &json!(0)),
        "{said}"
    );
    house
        .until(
            "it is gone",
            "select exists (select from shop.things where id = 'a' and gone_at is not null)",
        )
        .await;
    house.everything_is_over().await;
    assert!(
        house
            .is("select count(*) = 4 from sexton.audit where said_by = 'cli:anna' and action in ('requeue', 'requeued')")
            .await
    );
    assert_eq!(
        sexton(&house, &["rejected", "list"]).await.ended_with(0).out,
        "none\n"
    );
    worker.stop().await;
}

#[tokio::test]
async fn invariant_03_an_operator_whose_lane_is_lost_adopts_nothing() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.plan("thing", &hasty());
    let worker = house.worker();
    let parked = one_parked(&house, "a").await;
    worker.stop().await;
    let id: Uuid = parked["deletion_id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("an id");

    let settings = Settings {
        url: house.world.database_url.as_str().into(),
        ..Settings::default()
    };
    let store = Store::new(&settings).expect("a store");
    let operator = store.register(1, settings.lease).await.expect("a worker");
    let mut lane = store.open_lane(operator.lanes[0]).await.expect("a lane");
    let claimed = lane
        .claim_one(DeletionId(id))
        .await
        .expect("the tables")
        .expect("it is parked");
    let to = sexton::plan::parse_plan(THING, "right").expect("a plan");
    let to = store.introduce_plan(&to).await.expect("the tables");
    // Held by this lane, it is nobody else's to claim.
    let other = store.register(1, settings.lease).await.expect("a worker");
    let mut others = store.open_lane(other.lanes[0]).await.expect("a lane");
    assert!(
        others
            .claim_one(DeletionId(id))
            .await
            .expect("the tables")
            .is_none()
    );

    house
        .sql("update sexton.workers set expires_at = now() - interval '1 hour'")
        .await;
    store.take_over().await.expect("the tables");
    let asked = Asked {
        by: "anna",
        reason: None,
    };
    let event = EventId(Uuid::now_v7());
    let adopted = lane
        .adopt_plan(0, &claimed.opened, &to, event, clock::now(), asked)
        .await;
    assert_eq!(adopted.expect("an answer"), BatchOutcome::Lost);
    assert!(
        house
            .is(
                "select parked is not null and lane is null and plan <> (select max(id) from sexton.plans)
                from sexton.open_deletions"
            )
            .await
    );
    assert!(house.is("select not exists (select from sexton.audit)").await);
}
