//! Restore windows on real servers: soft deletions, what takes them back, and what ends them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::heard::Event;
use crate::house::House;
use crate::shop::{delete, with};

/// A thing that is hidden, can be shown again for a while, and is erased then. Erasing asks nothing but the generation:
/// what must not be erased is for Sexton to know.
pub(crate) const DRAFT: &str = r#"
target    = "shop.draft"
on        = "shop"
timeout   = "1s"
retry     = { attempts = 100, base = "20ms", max = "1s" }
tombstone = "0s"

[lookup]
sql  = "select gone_at is not null as is_hidden from shop.things where id = :id and tenant = :tenant"
none = "absent"

[[step]]
name = "hide"
sql  = """
  with seen as (insert into shop.runs (step, id, intended) select 'hide', :id, true)
  update shop.things set gone_at = now(), generation = :generation
  where id = :id and gone_at is null and generation < :generation"""

[restore]
window = "1h"
sql    = """
  with seen as (insert into shop.runs (step, id, intended) select 'show', :id, true)
  update shop.things set gone_at = null, generation = :generation
  where id = :id and gone_at is not null and generation < :generation"""

[purge]
sql = """
  with seen as (insert into shop.runs (step, id, intended) select 'erase', :id, true)
  delete from shop.things where id = :id and generation < :generation"""
"#;

pub(crate) fn draft(id: &str, key: &str) -> Value {
    with(
        delete(id),
        json!({"target": {"type": "shop.draft", "id": id}, "key": key}),
    )
}

pub(crate) fn restore(id: &str, key: &str) -> Value {
    with(draft(id, key), json!({"action": "restore"}))
}

fn told(event: &Event) -> (&str, Option<&str>) {
    let detail = event.detail("result").or_else(|| event.detail("reason"));
    (event.kind(), detail)
}

impl House {
    pub(crate) async fn drafts(window: &str, ids: &[&str]) -> Self {
        let mut house = House::new().await;
        house.plan("draft", &DRAFT.replace("\"1h\"", &format!("{window:?}")));
        house.also_settings("[retention]\nevery = \"20ms\"\n");
        house.things(ids).await;
        house
    }

    /// The window of every draft ends now.
    pub(crate) async fn windows_end(&self) {
        self.sql("update sexton.windows set until = now() - interval '1 second', due_at = now()")
            .await;
    }

    pub(crate) async fn ended(&self, request: Value) -> Event {
        let key = request["key"].as_str().expect("a key").to_owned();
        self.publish(request).await;
        self.heard.end(&key).await
    }

    /// The purge of a draft has ended, whatever its key.
    pub(crate) async fn purged(&self, id: &str) -> Event {
        let is = |event: &&Event| {
            let data = &event.body["data"];
            data["action"] == "purge" && data["target"]["id"] == id && event.is_end()
        };
        self.heard
            .until(&format!("the purge of {id}"), |all| all.iter().find(is).cloned())
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_deletion_says_until_when_and_is_erased_after_that_and_not_before() {
    let house = House::drafts("1500ms", &["a"]).await;
    let worker = house.worker();
    let first = house.ended(draft("a", "first")).await;
    assert_eq!(first.kind(), "soft_deleted");
    let until = first.detail("restorable_until").expect("a time");
    assert!(
        house
            .is("select gone_at is not null from shop.things where id = 'a'")
            .await
    );
    let again = house.ended(draft("a", "again")).await;
    assert_eq!(told(&again), ("completed", Some("already_gone")));

    let purged = house.purged("a").await;
    assert_eq!(told(&purged), ("completed", Some("deleted")));
    let ended_at = purged.body["time"].as_str().expect("a time");
    assert!(ended_at > until, "erased at {ended_at}, restorable until {until}");
    assert_eq!(house.count("select count(*) from shop.things").await, 0);
    // Its tombstone has no age: the target is as if it had never been.
    let later = house.ended(draft("a", "later")).await;
    assert_eq!(told(&later), ("completed", Some("absent")));
    let too_late = house.ended(restore("a", "too-late")).await;
    assert_eq!(told(&too_late), ("rejected", Some("nothing_to_do")));
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(house.runs("erase", "a").await, 1);
    assert_eq!(house.count("select count(*) from sexton.windows").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_what_is_restored_stays_and_may_be_deleted_again() {
    let house = House::drafts("1h", &["a"]).await;
    let worker = house.worker();
    assert_eq!(house.ended(draft("a", "1")).await.kind(), "soft_deleted");
    assert_eq!(house.ended(restore("a", "2")).await.kind(), "restored");
    assert!(house.is("select gone_at is null from shop.things").await);
    assert_eq!(house.count("select count(*) from sexton.windows").await, 0);
    let twice = house.ended(restore("a", "3")).await;
    assert_eq!(told(&twice), ("rejected", Some("nothing_to_do")));
    // A late redelivery of the first request is the first request.
    house.publish(draft("a", "1")).await;
    assert_eq!(house.ended(draft("a", "4")).await.kind(), "soft_deleted");
    house.windows_end().await;
    assert_eq!(told(&house.purged("a").await), ("completed", Some("deleted")));
    house.everything_is_over().await;
    worker.stop().await;
    assert_eq!(house.runs("hide", "a").await, 2);
    assert_eq!(house.heard.ends("1").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_comes_while_the_deletion_is_under_way_takes_it_back_once_it_has_ended() {
    let house = House::drafts("1h", &["a"]).await;
    let worker = house.worker();
    let mut lock = house.db.begin().await.expect("a transaction");
    sqlx::query("select from shop.things where id = 'a' for update")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    house.publish(draft("a", "1")).await;
    house
        .until(
            "it is under way",
            "select exists (select from sexton.open_deletions)",
        )
        .await;
    house.publish(restore("a", "2")).await;
    house
        .until("it waits", "select exists (select from sexton.successors)")
        .await;
    lock.rollback().await.expect("free");
    assert_eq!(house.heard.end("1").await.kind(), "soft_deleted");
    assert_eq!(house.heard.end("2").await.kind(), "restored");
    assert!(house.is("select gone_at is null from shop.things").await);
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_behind_a_deletion_that_hid_nothing_is_refused() {
    let house = House::drafts("1h", &["a"]).await;
    let worker = house.worker();
    let mut lock = house.db.begin().await.expect("a transaction");
    sqlx::query("delete from shop.things where id = 'a'")
        .execute(&mut *lock)
        .await
        .expect("gone");
    house.publish(draft("a", "1")).await;
    house
        .until(
            "it has found its target, and waits for it",
            "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
        )
        .await;
    house.publish(restore("a", "2")).await;
    house
        .until("it waits", "select exists (select from sexton.successors)")
        .await;
    lock.commit().await.expect("gone");
    assert_eq!(
        told(&house.heard.end("1").await),
        ("completed", Some("already_gone"))
    );
    assert_eq!(house.heard.end("2").await.kind(), "refused");
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_over_cannot_be_used_and_nobody_else_can_end_it() {
    let mut house = House::drafts("1h", &["a"]).await;
    // The scheduler does not come in between.
    house.change_settings("every = \"20ms\"", "every = \"1h\"");
    let worker = house.worker();
    let first = house.ended(draft("a", "1")).await;
    let window = json!({"deletion": first.body["data"]["deletion_id"], "ticket": uuid::Uuid::now_v7()});
    let purge =
        |key: &str, window: &Value| with(draft("a", key), json!({"action": "purge", "window": window}));
    let own: uuid::Uuid = sqlx::query_scalar("select ticket from sexton.windows")
        .fetch_one(&house.db)
        .await
        .expect("a window");
    let early = with(window.clone(), json!({"ticket": own}));
    for (key, window) in [("too-early", &early), ("guessed", &window)] {
        let event = house.ended(purge(key, window)).await;
        assert_eq!(told(&event), ("rejected", Some("not_allowed")), "{key}");
    }
    house
        .sql("update sexton.windows set until = now() - interval '1 second'")
        .await;
    let late = house.ended(restore("a", "late")).await;
    assert_eq!(told(&late), ("rejected", Some("window_over")));
    let guessed = house.ended(purge("guessed-again", &window)).await;
    assert_eq!(told(&guessed), ("rejected", Some("not_allowed")));
    let keyless = with(draft("a", "x"), json!({"key": null}));
    house.publish(keyless).await;
    house
        .heard
        .until("a rejection without a key", |all| {
            let is = |event: &&Event| event.key().is_none() && event.detail("reason") == Some("key_missing");
            all.iter().find(is).cloned()
        })
        .await;
    assert_eq!(
        house.count("select count(*) from shop.things").await,
        1,
        "it is still there"
    );
    assert_eq!(told(&house.ended(purge("own", &early)).await).0, "completed");
    house.everything_is_over().await;
    worker.stop().await;
}

/// Restores and purges of the same drafts, at the moment when the windows end: each draft has one winner, and the other
/// side is told.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_of_a_restore_and_a_purge_that_race_one_wins_and_the_loser_is_told() {
    let ids: Vec<String> = (0..60).map(|n| format!("d{n:02}")).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let house = House::drafts("1h", &names).await;
    let (one, two) = (house.worker(), house.worker());
    for id in &ids {
        house.publish(draft(id, &format!("hide-{id}"))).await;
    }
    for id in &ids {
        assert_eq!(
            house.heard.end(&format!("hide-{id}")).await.kind(),
            "soft_deleted"
        );
    }
    // A third has its window for long, a third no more; of the rest each restore is sent around the end of its window.
    house
        .sql(
            "update sexton.windows w set until = at, due_at = at
             from (select deletion_id, now() + case n % 3 when 0 then interval '1 hour' when 1 then interval '-1 ms'
                       else interval '1 ms' * (300 + 25 * n + n % 5 * 5 - 5) end as at
                   from (select deletion_id, substr(target_id, 2)::integer as n from sexton.windows) x) x
             where x.deletion_id = w.deletion_id",
        )
        .await;
    let soon = tokio::time::Instant::now() + Duration::from_millis(300);
    let mut every = tokio::time::interval_at(soon, Duration::from_millis(25));
    for id in &ids {
        every.tick().await;
        house.publish(restore(id, &format!("show-{id}"))).await;
    }
    let mut winners = (0, 0);
    for id in &ids {
        let shown = house.heard.end(&format!("show-{id}")).await;
        let there: bool =
            sqlx::query_scalar("select exists (select from shop.things where id = $1 and gone_at is null)")
                .bind(id)
                .fetch_one(&house.db)
                .await
                .expect("an answer");
        match told(&shown) {
            ("restored", _) => {
                winners.0 += 1;
                assert!(there, "{id} was said restored");
            }
            ("rejected", Some("window_over" | "nothing_to_do")) => {
                winners.1 += 1;
                assert_eq!(
                    told(&house.purged(id).await),
                    ("completed", Some("deleted")),
                    "{id}"
                );
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    assert!(winners.0 >= 20 && winners.1 >= 20, "{winners:?}");
    house
        .until(
            "no window is left",
            "select not exists (select from sexton.windows)",
        )
        .await;
    house.everything_is_over().await;
    one.stop().await;
    two.stop().await;
    let erased_and_shown = house
        .count("select count(*) from (select id from shop.runs where step in ('show', 'erase') group by id having count(distinct step) > 1) x")
        .await;
    assert_eq!(erased_and_shown, 0, "nothing was both");
}

/// A plan that is no longer in force has deleted this; what it promised is kept all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_outlives_its_plan() {
    let house = House::drafts("1h", &["a", "b"]).await;
    let worker = house.worker();
    for id in ["a", "b"] {
        assert_eq!(house.ended(draft(id, id)).await.kind(), "soft_deleted");
    }
    worker.stop().await;
    house.no_plan("draft");
    let worker = house.worker();
    assert_eq!(house.ended(restore("a", "back")).await.kind(), "restored");
    house.windows_end().await;
    assert_eq!(told(&house.purged("b").await), ("completed", Some("deleted")));
    assert_eq!(
        told(&house.ended(draft("a", "more")).await),
        ("rejected", Some("no_plan"))
    );
    house.everything_is_over().await;
    worker.stop().await;
}
