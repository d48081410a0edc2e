//! Batches on real servers: one outcome for each request and one for the whole, whoever is killed and whatever is wrong
//! with a part of it; and nobody else has to wait for it.

use serde_json::{Value, json};

use crate::heard::Event;
use crate::house::House;
use crate::shop::{THING, delete, with};

pub(crate) const SETTINGS: &str = "[retention]\nevery = \"20ms\"\nbatch_quiet = \"400ms\"\n";

pub(crate) fn bulk(key: &str, ids: impl IntoIterator<Item = String>) -> Value {
    let targets: Vec<Value> = ids
        .into_iter()
        .map(|id| json!({"type": "shop.thing", "id": id}))
        .collect();
    json!({"targets": targets, "tenant": "t", "key": key})
}

pub(crate) async fn house() -> House {
    let mut house = House::new().await;
    house.also_settings(SETTINGS);
    house
}

impl House {
    /// The nth time that the batch is said to be over.
    pub(crate) async fn over(&self, batch: &str, nth: u64) -> Event {
        let is = |event: &&Event| {
            let data = &event.body["data"];
            event.kind() == "batch.completed" && data["batch"] == batch && data["sequence"] == nth
        };
        self.heard
            .until(&format!("{batch} is over for time {nth}"), |all| {
                all.iter().find(is).cloned()
            })
            .await
    }

    pub(crate) fn said_over(&self, batch: &str) -> usize {
        let all = self.heard.all();
        let mut ids: Vec<&str> = all
            .iter()
            .filter(|event| event.kind() == "batch.completed" && event.body["data"]["batch"] == batch)
            .map(Event::id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

pub(crate) fn counts(event: &Event) -> (&Value, &Value) {
    let detail = &event.body["data"]["detail"];
    (&detail["size"], &detail["counts"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_has_an_outcome_for_each_and_one_for_the_whole_also_where_parts_fail() {
    let house = house().await;
    // One kind of thing refuses to go.
    house.plan(
        "thing",
        &THING.replace(
            "none  = \"again\"\nundo  = { nothing = true }",
            "none  = \"refused\"\nundo  = { nothing = true }",
        ),
    );
    house.things(&["a", "b", "c"]).await;
    house
        .sql("update shop.things set ready = false where id = 'b'")
        .await;
    let (one, two) = (house.worker(), house.worker());
    let ids = ["a", "b", "c", "nobody", "a"].map(str::to_owned);
    let mut mixed = bulk("m", ids);
    let unknown = json!({"type": "shop.nowhere", "id": "x"});
    mixed["targets"].as_array_mut().expect("targets").push(unknown);
    house.publish(mixed.clone()).await;
    for (nth, kind) in [
        "completed",
        "refused",
        "completed",
        "completed",
        "completed",
        "rejected",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(house.heard.end(&format!("m#{nth}")).await.kind(), *kind, "{nth}");
    }
    let event = house.over("m", 1).await;
    let (size, told) = counts(&event);
    assert_eq!(size, 6);
    // The second "a" met the first one's deletion, or what it left.
    let (deleted, gone) = (
        told["deleted"].as_u64(),
        told["already_gone"].as_u64().unwrap_or(0),
    );
    assert_eq!(deleted.map(|deleted| deleted + gone), Some(3), "{told}");
    let others = (&told["refused"], &told["absent"], &told["rejected"]);
    assert_eq!(others, (&json!(1), &json!(1), &json!(1)));
    assert_eq!(event.body["data"]["tenant"], "t");
    assert!(event.body["data"].get("request_id").is_none());
    // What was rejected is kept as the request that it would be alone.
    let kept: Value = house
        .desk()
        .await
        .peek(sexton::broker::REJECTED_QUEUE, 2)
        .await
        .expect("a look")
        .iter()
        .map(|kept| serde_json::from_slice(&kept.body).expect("JSON"))
        .next()
        .expect("it is kept");
    assert_eq!(
        (&kept["target"]["id"], &kept["key"]),
        (&json!("x"), &json!("m#5"))
    );
    // The same bulk again is the same requests: nothing is counted twice.
    house.publish(mixed).await;
    house.publish(with(delete("c"), json!({"key": "after"}))).await;
    house.heard.end("after").await;
    house.everything_is_over().await;
    one.stop().await;
    two.stop().await;
    assert_eq!(house.count("select known::bigint from sexton.batches").await, 6);
    assert_eq!(house.said_over("m"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_a_batch_is_over_when_all_that_were_promised_have_ended_and_not_before() {
    let house = house().await;
    house.things(&["a", "b", "c"]).await;
    house
        .sql("update shop.things set ready = false where id = 'b'")
        .await;
    let worker = house.worker();
    let of = |id: &str| with(delete(id), json!({"batch": "night", "batch_size": 3}));
    for id in ["a", "b"] {
        house.publish(of(id)).await;
    }
    house.heard.end("k-a").await;
    house
        .until(
            "both are summed up, one has ended",
            "select exists (select from sexton.batches where known = 2 and done = 1)",
        )
        .await;
    house.publish(of("c")).await;
    house.heard.end("k-c").await;
    house
        .until(
            "one of three is still open",
            "select exists (select from sexton.batches where known = 3 and done = 2 and last_at < now() - interval '500 ms')",
        )
        .await;
    assert_eq!(house.said_over("night"), 0);
    house.sql("update shop.things set ready = true").await;
    let event = house.over("night", 1).await;
    assert_eq!(counts(&event), (&json!(3), &json!({"deleted": 3})));
    assert!(event.body["data"]["detail"].get("missing").is_none());
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_unknown_size_is_over_when_it_is_quiet_and_what_comes_late_opens_it_again() {
    let mut house = house().await;
    house.change_settings(
        "batch_quiet = \"400ms\"",
        "batch_quiet = \"400ms\"\nbatch_patience = \"800ms\"",
    );
    house.things(&["a", "b", "c", "d"]).await;
    let worker = house.worker();
    for id in ["a", "b"] {
        house.publish(with(delete(id), json!({"batch": "open"}))).await;
    }
    assert_eq!(
        counts(&house.over("open", 1).await),
        (&json!(2), &json!({"deleted": 2}))
    );
    house.publish(with(delete("c"), json!({"batch": "open"}))).await;
    assert_eq!(
        counts(&house.over("open", 2).await),
        (&json!(3), &json!({"deleted": 3}))
    );
    // More are promised than ever come: it is said all the same, with what is missing.
    house
        .publish(with(delete("d"), json!({"batch": "short", "batch_size": 5})))
        .await;
    let event = house.over("short", 1).await;
    assert_eq!(event.body["data"]["detail"]["missing"], 4);
    house.everything_is_over().await;
    worker.stop().await;
}

/// A person repairs the cause and sends it again: it is no second request of its batch.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_rejected_and_comes_again_is_counted_as_what_became_of_it() {
    let house = house().await;
    house.things(&["a"]).await;
    let worker = house.worker();
    let mut mixed = bulk("r", ["a".to_owned()]);
    let late = json!({"type": "shop.late", "id": "x"});
    mixed["targets"].as_array_mut().expect("targets").push(late);
    house.publish(mixed).await;
    let counted = json!({"deleted": 1, "rejected": 1});
    assert_eq!(counts(&house.over("r", 1).await), (&json!(2), &counted));
    worker.stop().await;
    house.plan("late", &THING.replace("\"shop.thing\"", "\"shop.late\""));
    let worker = house.worker();
    let kept = house
        .desk()
        .await
        .peek(sexton::broker::REJECTED_QUEUE, 1)
        .await
        .expect("a look");
    let kept: Value = serde_json::from_slice(&kept[0].body).expect("JSON");
    house.publish(kept).await;
    let counted = json!({"deleted": 1, "absent": 1});
    assert_eq!(counts(&house.over("r", 2).await), (&json!(2), &counted));
    house.everything_is_over().await;
    worker.stop().await;
}

/// Told by one while three sum up and say, each as often as they can.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_sum_up_at_once_say_it_once() {
    const MANY: i64 = 400;
    let house = house().await;
    house.worker_once().await;
    let sums_up = |_| {
        let db = house.db.clone();
        tokio::spawn(async move {
            let over = "select exists (select from sexton.batches where completed_at is not null)";
            while !sqlx::query_scalar::<_, bool>(over)
                .fetch_one(&db)
                .await
                .expect("a look")
            {
                let turn = "select sexton.fold_batches(7), sexton.complete_batches('1 hour', '1 hour', 10)";
                sqlx::query(turn).execute(&db).await.expect("a turn");
            }
        })
    };
    let all: Vec<_> = (0..3).map(sums_up).collect();
    for _ in 0..MANY {
        // Its admission, and later its end.
        for (word, size) in [("known", Some(MANY)), ("deleted", None)] {
            sqlx::query(
                "insert into sexton.batch_deltas (tenant, batch, word, n, size) values ('t', 'b', $1, 1, $2::bigint)",
            )
            .bind(word)
            .bind(size)
            .execute(&house.db)
            .await
            .expect("it is told");
        }
    }
    for one in all {
        one.await.expect("it sums up until it is over");
    }
    assert!(
        house
            .is("select known = 400 and done = 400 and deleted = 400 and sequence = 1 from sexton.batches")
            .await
    );
    assert_eq!(
        house
            .count("select count(*) from sexton.outbox where kind = 'batch.completed'")
            .await,
        1
    );
    assert_eq!(house.count("select count(*) from sexton.batch_deltas").await, 0);
}

/// The second comes while the first has said it and not yet committed.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_two_that_find_a_batch_over_at_the_same_moment_say_it_once() {
    const SAY: &str = "select sexton.complete_batches('1 hour', '1 hour', 10)";
    let house = house().await;
    house.worker_once().await;
    house
        .sql(
            "insert into sexton.batch_deltas (tenant, batch, word, n, size)
             values ('t', 'b', 'known', 1, 1), ('t', 'b', 'deleted', 1, null)",
        )
        .await;
    house.sql("select sexton.fold_batches(10)").await;
    let mut first = house.db.begin().await.expect("a transaction");
    let said: i32 = sqlx::query_scalar(SAY)
        .fetch_one(&mut *first)
        .await
        .expect("said");
    assert_eq!(said, 1);
    let db = house.db.clone();
    let second = tokio::spawn(async move { sqlx::query_scalar::<_, i32>(SAY).fetch_one(&db).await });
    // It either passes by, as it should, or waits for the first one's lock.
    let waits = "select exists (select from pg_stat_activity where datname = current_database()
                 and wait_event_type = 'Lock' and query like '%complete_batches%')";
    while !second.is_finished() && !house.is(waits).await {
        tokio::task::yield_now().await;
    }
    first.commit().await.expect("a commit");
    assert_eq!(second.await.expect("no panic").expect("an answer"), 0);
    assert!(house.is("select sequence = 1 from sexton.batches").await);
    let told = "select count(*) from sexton.outbox where kind = 'batch.completed'";
    assert_eq!(house.count(told).await, 1);
}

/// For whoever runs it with `--no-capture`.
pub(crate) fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
