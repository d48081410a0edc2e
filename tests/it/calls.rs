//! A step that calls a foreign service, carried out by the engine: what waits, what it holds while it waits, and what
//! it does not spend.

use std::time::Duration;

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::house::House;
use crate::shop::{delete, with};
use crate::vendor::{Answer, Vendor};

/// A machine at a vendor whose id comes to light late, and the row that stands for it.
const MACHINE: &str = r#"
target  = "shop.machine"
on      = "shop"
timeout = "1s"
retry   = { attempts = ATTEMPTS, base = "20ms", max = "200ms" }

[lookup]
sql     = "select kind from shop.things where id = :id and tenant = :tenant and gone_at is null"
none    = "absent"

[[step]]
name  = "end"
pivot = true
read  = "select note->>'machine' as machine from shop.things where id = :id"
call  = "cloud.end"

[[step]]
name  = "finish"
sql   = "update shop.things set gone_at = now() where id = :id and gone_at is null"
"#;

async fn house(vendor: &Vendor, attempts: u32, ids: &[&str]) -> House {
    let mut house = House::new().await;
    vendor.known_to(&mut house, "limit = 1");
    house.plan("machine", &MACHINE.replace("ATTEMPTS", &attempts.to_string()));
    house.things(ids).await;
    house
        .sql("update shop.things set note = json_build_object('machine', id)")
        .await;
    house
}

fn machine(id: &str) -> Value {
    with(delete(id), json!({"target": {"type": "shop.machine", "id": id}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_at_a_service_holds_no_place_and_spends_no_attempt() {
    let vendor = Vendor::open().await;
    let mut house = house(&vendor, 1, &["slow", "swift", "thing"]).await;
    // Room for one deletion in this worker, and for one call of this service.
    house.change_settings("[engine]\n", "[engine]\nin_flight_max = 1\n");
    vendor.answers("DELETE /machines/slow", &[Answer::Status(202)]);
    vendor.answers("GET /machines/slow", &[Answer::Is("ending")]);
    vendor.answers("DELETE /machines/swift", &[Answer::Status(204)]);
    let worker = house.worker();
    house.publish(machine("slow")).await;
    vendor.was_asked("GET /machines/slow", 3).await;

    house.publish(delete("thing")).await;
    house.publish(machine("swift")).await;
    for key in ["k-thing", "k-swift"] {
        assert_eq!(
            house.heard.end(key).await.detail("result"),
            Some("deleted"),
            "{key}"
        );
    }
    assert!(house.heard.ends("k-slow").is_empty());
    // Now and then it is looked at; in between nobody has it.
    house
        .until(
            "it waits and nobody has it",
            "select parked is null and effect_ms is null and lane is null from sexton.open_deletions
             where target_id = 'slow'",
        )
        .await;
    vendor.answers("GET /machines/slow", &[Answer::Status(404)]);
    assert_eq!(house.heard.end("k-slow").await.detail("result"), Some("deleted"));
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(
        vendor.asked("DELETE /machines/slow").len(),
        1,
        "asked for once, then looked at"
    );
    assert_eq!(house.state_of("slow").await.tracks[1].spent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_for_patience_gets_it_and_no_attempt_is_spent() {
    let vendor = Vendor::open().await;
    // One attempt: if patience spent one, it would be parked.
    let house = house(&vendor, 1, &["a"]).await;
    let patience = Answer::Throttled { seconds: 1 };
    vendor.answers("DELETE /machines/a", &[patience, patience, Answer::Status(204)]);
    let worker = house.worker();
    house.publish(machine("a")).await;
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    worker.stop().await;
    house.everything_is_over().await;
    let asked = vendor.asked("DELETE /machines/a");
    assert_eq!(asked.len(), 3, "{asked:?}");
    for pair in asked.windows(2) {
        let waited = pair[1].at - pair[0].at;
        assert!(
            waited >= Duration::from_secs(1),
            "{waited:?} is not what it asked for"
        );
        assert_eq!(pair[0].key, pair[1].key, "the vendor can tell a repeat");
    }
    assert_eq!(house.state_of("a").await.tracks[1].spent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_value_is_not_there_yet_waits_and_asks_nobody() {
    let vendor = Vendor::open().await;
    let house = house(&vendor, 100, &["a"]).await;
    house.sql("update shop.things set note = null").await;
    vendor.answers("DELETE /machines/m-1", &[Answer::Status(204)]);
    let worker = house.worker();
    house.publish(machine("a")).await;
    house
        .until(
            "it has looked for the value more than once",
            "select count(*) >= 2 from sexton.journal, jsonb_array_elements(entries::jsonb) e
             where e->>'e' = 'verdict' and e->'verdict'->>'is' = 'again'",
        )
        .await;
    assert_eq!(vendor.words("/machines"), Vec::<String>::new());
    house
        .sql(r#"update shop.things set note = '{"machine": "m-1"}'"#)
        .await;
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(vendor.words("/machines"), ["DELETE /machines/m-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_unknown_is_looked_at_before_anything_is_repeated() {
    let vendor = Vendor::open().await;
    let house = house(&vendor, 5, &["took", "lost"]).await;
    // It heard, and the answer never came: once it had acted, once it had not.
    vendor.answers("DELETE /machines/took", &[Answer::Silence]);
    vendor.answers("GET /machines/took", &[Answer::Status(404)]);
    vendor.answers("DELETE /machines/lost", &[Answer::Silence, Answer::Status(204)]);
    vendor.answers("GET /machines/lost", &[Answer::Is("running")]);
    let worker = house.worker();
    for id in ["took", "lost"] {
        house.publish(machine(id)).await;
    }
    for key in ["k-took", "k-lost"] {
        assert_eq!(
            house.heard.end(key).await.detail("result"),
            Some("deleted"),
            "{key}"
        );
    }
    worker.stop().await;
    house.everything_is_over().await;
    assert_eq!(
        vendor.words("/machines/took"),
        ["DELETE /machines/took", "GET /machines/took"]
    );
    assert_eq!(
        vendor.words("/machines/lost"),
        [
            "DELETE /machines/lost",
            "GET /machines/lost",
            "DELETE /machines/lost"
        ]
    );
    let keys: Vec<_> = vendor
        .asked("DELETE /machines/lost")
        .into_iter()
        .map(|asked| asked.key)
        .collect();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
    assert_eq!(vendor.asked("GET /whoami").len(), 1, "gone only with evidence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_while_a_service_is_at_work_is_noted() {
    let vendor = Vendor::open().await;
    let house = house(&vendor, 1, &["a"]).await;
    vendor.answers("DELETE /machines/a", &[Answer::Status(202)]);
    vendor.answers("GET /machines/a", &[Answer::Is("ending")]);
    let worker = house.worker();
    // Late enough that the request is admitted before.
    let deadline = sexton::clock::now() + Duration::from_millis(700);
    let deadline = deadline.format(&Rfc3339).expect("a time");
    house
        .publish(with(machine("a"), json!({"deadline": deadline})))
        .await;
    house
        .until(
            "the deadline is noted",
            "select exists (select from sexton.journal where entries::jsonb @> '[{\"e\": \"overdue\"}]')",
        )
        .await;
    vendor.answers("GET /machines/a", &[Answer::Status(404)]);
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    worker.stop().await;
    house.everything_is_over().await;
}
