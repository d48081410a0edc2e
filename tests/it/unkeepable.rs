//! One record that Postgres cannot take does not hold up its batch: its neighbours go on at once, and it is said of it
//! alone what is wrong.

use bytes::Bytes;
use serde_json::json;
use sexton::broker::{Broker, BrokerSettings, Message, PublishOutcome};

use crate::house::House;
use crate::shop::{delete, message, with};

/// As many as one batch holds.
const BATCH: usize = 500;

/// A text that no index takes: no shorter when compressed, and of more bytes than an entry may have.
fn incompressible(chars: u32) -> String {
    let mut last = 7_u32;
    let mut letter = |_| {
        last = last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_u32(0x1_0000 + (last >> 8) % 0xF_0000).expect("beyond the surrogates all are characters")
    };
    (0..chars).map(&mut letter).collect()
}

/// Many at once, each confirmed.
pub(crate) async fn publish_all(house: &House, messages: Vec<Message>) {
    let settings = BrokerSettings {
        url: house.world.amqp_url.as_str().into(),
        ..BrokerSettings::default()
    };
    let broker = Broker::open(settings, Default::default())
        .await
        .expect("a broker");
    let outlet = broker.outlet();
    assert!(outlet.ready().await, "a connection to publish on");
    for (nth, outcome) in outlet.publish_all(messages).await.into_iter().enumerate() {
        assert_eq!(outcome, PublishOutcome::Confirmed, "message {nth}");
    }
}

async fn publish(house: &House, requests: Vec<serde_json::Value>) {
    let bytes = requests.iter().map(|request| Bytes::from(request.to_string()));
    publish_all(house, bytes.map(message).collect()).await;
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|nth| format!("{prefix}{nth}")).collect()
}

async fn things(house: &House, ids: &[String]) {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    house.things(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_record_that_postgres_cannot_keep_is_parked_alone_and_its_batch_goes_on() {
    let mut house = House::new().await;
    // All of them are one admission, and so set going at once.
    house.also_settings("[intake]\nlinger = \"1s\"\n");
    house.worker_once().await;
    // What a lookup finds becomes part of a record: a NUL, and more than an index of the records takes.
    house
        .sql("create index on sexton.open_deletions (left(records, 3000))")
        .await;
    let fine = ids("n", BATCH - 2);
    things(&house, &fine).await;
    house.things(&["nul", "large"]).await;
    house
        .sql(r#"update shop.things set note = '{"said": "a\u0000b"}' where id = 'nul'"#)
        .await;
    sqlx::query("update shop.things set note = json_build_object('said', $1::text) where id = 'large'")
        .bind(incompressible(2_900))
        .execute(&house.db)
        .await
        .expect("a note");
    // In the middle: both halves of the batch have neighbours that must go on.
    let mut all: Vec<_> = fine.iter().map(|id| delete(id)).collect();
    all.insert(BATCH / 3, delete("nul"));
    all.insert(BATCH / 2, delete("large"));
    publish(&house, all).await;
    // While the first record waits, the others look; then their records are one batch.
    house
        .sql(
            "create function record_waits() returns trigger language plpgsql as $$
                 begin perform pg_advisory_xact_lock_shared(1); return null; end $$;
             create trigger record_waits before update on sexton.open_deletions execute function record_waits()",
        )
        .await;
    let mut held = house.db.begin().await.expect("a transaction");
    sqlx::query("select pg_advisory_xact_lock(1)")
        .execute(&mut *held)
        .await
        .expect("nobody writes a record now");
    let worker = house.worker();
    house
        .until(
            "all are admitted, and the first record waits",
            "select (select count(*) = 500 from sexton.open_deletions)
                and exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
        )
        .await;
    held.commit().await.expect("they may write");
    house
        .until(
            "all but the two have ended",
            "select (select count(*) = 498 from sexton.deletions)
                and (select count(*) = 2 from sexton.open_deletions where parked is not null)",
        )
        .await;
    for id in ["nul", "large"] {
        let event = house.heard.kind("parked", &format!("k-{id}")).await;
        assert_eq!(
            event.detail("because"),
            Some("unreadable"),
            "{id}: {}",
            event.body
        );
        let why = event.detail("why").expect("a sentence");
        assert!(why.contains("Postgres cannot keep"), "{id}: {why}");
        assert!(!why.contains('\0') && why.len() < 1_000, "{id}: {why}");
        assert_eq!(
            house.runs("fence", id).await,
            0,
            "nothing is done about what cannot be read"
        );
    }
    assert!(
        house
            .is("select bool_and(result = 'deleted') from sexton.deletions")
            .await,
        "each neighbour is carried to its end"
    );
    house.journals_are_sound().await;
    // They were in one batch with the others: one transaction holds the records of many.
    let most = "select max(n) from (select count(*) n from sexton.deletions group by xmin::text) one";
    let together = house.count(most).await;
    assert!(together > 20, "at most {together} records in one transaction");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_request_that_postgres_cannot_keep_is_turned_away_alone_and_its_batch_goes_on() {
    let house = House::new().await;
    house.worker_once().await;
    // No request that is read as one holds a NUL or is too large for our indexes. Here the tables take even less, as they
    // might after a mistake of ours.
    house
        .sql(
            "create index on sexton.requests (reason);
             create function shop.poison() returns trigger language plpgsql as $$
             begin
                 if new.target_id = 'nul' then raise exception 'as of a NUL' using errcode = '22P05'; end if;
                 return new;
             end $$;
             create trigger poison before insert on sexton.requests for each row execute function shop.poison();",
        )
        .await;
    let fine = ids("n", BATCH - 2);
    things(&house, &fine).await;
    let mut all: Vec<_> = fine.iter().map(|id| delete(id)).collect();
    all.insert(BATCH / 3, delete("nul"));
    all.insert(
        BATCH / 2,
        with(delete("large"), json!({"reason": incompressible(1_000)})),
    );
    publish(&house, all).await;
    let worker = house.worker();
    house
        .until(
            "all but the two are admitted and have ended",
            "select (select count(*) = 498 from sexton.deletions) and (select count(*) = 2 from sexton.rejections)",
        )
        .await;
    for id in ["nul", "large"] {
        let event = house.heard.kind("rejected", &format!("k-{id}")).await;
        assert_eq!(event.detail("reason"), Some("wrong_shape"), "{id}");
        let why = event.detail("why").expect("a sentence");
        assert!(why.contains("Postgres cannot keep"), "{id}: {why}");
    }
    let most = "select max(n) from (select count(*) n from sexton.requests group by xmin::text) one";
    let together = house.count(most).await;
    assert!(together > 20, "at most {together} requests in one transaction");
    house.everything_is_over().await;
    worker.stop().await;
}
