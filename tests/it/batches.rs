//! Batches on real servers: one outcome for each request and one for the whole, whoever is killed and whatever is wrong
//! with a part of it; and nobody else has to wait for it.

use serde_json::{Value, json};
use sexton::crash::CrashPoint;

use crate::heard::Event;
use crate::house::House;
use crate::shop::{THING, delete, with};

const SETTINGS: &str = "[retention]\nevery = \"20ms\"\nbatch_quiet = \"400ms\"\n";

fn bulk(key: &str, ids: impl IntoIterator<Item = String>) -> Value {
    let targets: Vec<Value> = ids
        .into_iter()
        .map(|id| json!({"type": "shop.thing", "id": id}))
        .collect();
    json!({"targets": targets, "tenant": "t", "key": key})
}

async fn house() -> House {
    let mut house = House::new().await;
    house.also_settings(SETTINGS);
    house
}

impl House {
    /// The nth time that the batch is said to be over.
    async fn over(&self, batch: &str, nth: u64) -> Event {
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

    fn said_over(&self, batch: &str) -> usize {
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

fn counts(event: &Event) -> (&Value, &Value) {
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

#[tokio::test(flavor = "multi_thread")]
async fn invariant_01_a_bulk_whose_admission_is_cut_short_comes_again_and_is_the_same_requests() {
    let mut house = House::with_short_leases().await;
    house.also_settings(SETTINGS);
    house.also_settings("[intake]\nbatch_max = 10\n");
    let ids: Vec<String> = (0..35).map(|n| format!("i{n}")).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    house.things(&names).await;
    house.publish(bulk("cut", ids.clone())).await;
    let armed = format!("{}#2", CrashPoint::AdmissionAfterCommit.name());
    house.process(&[("SEXTON_CRASH_AT", &armed)]).ended().await;
    assert_eq!(
        house.count("select count(*) from sexton.requests").await,
        20,
        "two parts are in, two are not, and nothing is acknowledged"
    );
    // Nobody waits for the term of the one that is gone.
    house
        .sql("update sexton.terms set until = now() - interval '1 second'")
        .await;
    let (one, two) = (house.worker(), house.worker());
    let event = house.over("cut", 1).await;
    assert_eq!(counts(&event), (&json!(35), &json!({"deleted": 35})));
    house.everything_is_over().await;
    one.stop().await;
    two.stop().await;
    assert_eq!(house.count("select count(*) from sexton.requests").await, 35);
    for nth in 0..35 {
        assert_eq!(house.heard.ends(&format!("cut#{nth}")).len(), 1, "{nth}");
    }
    assert_eq!(house.said_over("cut"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_many_at_once_let_others_pass() {
    const MANY: usize = 5_000;
    const SINGLE: usize = 10;
    let mut house = house().await;
    house.change_settings("lanes = 1", "lanes = 2");
    house
        .sql("insert into shop.things (id) select 'x' || n from generate_series(0, 5009) n")
        .await;
    let worker = house.worker();
    house
        .publish(bulk("many", (0..MANY).map(|n| format!("x{n}"))))
        .await;
    house
        .until(
            "the batch is under way",
            "select count(*) > 500 from sexton.deletions",
        )
        .await;
    let began = tokio::time::Instant::now();
    let mut outbox = 0;
    let mut waits = Vec::new();
    for n in 0..SINGLE {
        house
            .publish(with(
                delete(&format!("x{}", MANY + n)),
                json!({"key": format!("one-{n}")}),
            ))
            .await;
    }
    for n in 0..SINGLE {
        let end = house.heard.end(&format!("one-{n}")).await;
        assert_eq!(end.detail("result"), Some("deleted"));
        waits.push(began.elapsed());
        outbox = outbox.max(house.count("select count(*) from sexton.outbox").await);
    }
    let singles = began.elapsed();
    let open = house.count("select count(*) from sexton.open_deletions").await;
    let event = house.over("many", 1).await;
    let whole = began.elapsed();
    assert_eq!(counts(&event), (&json!(MANY), &json!({"deleted": MANY})));
    waits.sort_unstable();
    let median = waits[SINGLE / 2];
    note(&format!(
        "{SINGLE} others in {singles:?}, median wait {median:?}; then {open} of the batch were open; \
         the batch took {whole:?} from there; at most {outbox} rows in the outbox"
    ));
    assert!(open > 0, "the batch was over before the others were");
    assert!(
        median < whole / 4,
        "an other waited {median:?} beside a batch of {whole:?}"
    );
    assert!(outbox < 5_000, "{outbox} rows in the outbox");
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(
        house
            .count("select count(*) from shop.things where gone_at is null")
            .await,
        0
    );
}

/// For whoever runs it with `--no-capture`.
pub(crate) fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
