//! What a scrape of a worker's `/metrics` shows of trouble: deadlines that passed, and requests that were turned away.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sexton::deletion::{REQUEST_BODY_MAX_BYTES, RejectionReason};
use time::format_description::well_known::Rfc3339;

use crate::house::{House, patience};
use crate::shop::{THING, delete, message, with};
use crate::windows::{draft, restore};

const LOOK_EVERY: Duration = Duration::from_millis(15);

/// The page of the worker that starts next.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn of(house: &mut House) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        house.change_settings("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        Self(format!("http://127.0.0.1:{port}/metrics"))
    }

    pub(crate) async fn number(&self, name: &str) -> Option<u64> {
        let page = reqwest::get(&self.0).await.ok()?.text().await.ok()?;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.parse().ok()
    }

    /// What `/readyz` answers: whether it is ready, and what is not.
    pub(crate) async fn ready(&self) -> Option<(bool, String)> {
        let answer = reqwest::get(self.0.replace("/metrics", "/readyz")).await.ok()?;
        Some((answer.status().is_success(), answer.text().await.ok()?))
    }

    /// Asks again until it is ready, or is not, and this word is said of it.
    pub(crate) async fn is_ready(&self, wanted: bool, word: &str) {
        let mut last = None;
        let mut every = tokio::time::interval(LOOK_EVERY);
        let waited = tokio::time::timeout(patience(), async {
            while last
                .as_ref()
                .is_none_or(|(ready, said): &(bool, String)| *ready != wanted || !said.contains(word))
            {
                every.tick().await;
                last = self.ready().await;
            }
        });
        if waited.await.is_err() {
            panic!("readyz: wanted {wanted} with {word}, found {last:?}");
        }
    }

    /// Asks again until it shows this; a page sends no event.
    pub(crate) async fn shows(&self, name: &str, wanted: u64) {
        let mut last = None;
        let mut every = tokio::time::interval(LOOK_EVERY);
        let waited = tokio::time::timeout(patience(), async {
            while last != Some(wanted) {
                every.tick().await;
                last = self.number(name).await;
            }
        });
        if waited.await.is_err() {
            panic!("{name}: wanted {wanted}, found {last:?}");
        }
    }
}

/// Late enough that the request is admitted before.
fn soon() -> String {
    let at = sexton::clock::now() + Duration::from_millis(700);
    at.format(&Rfc3339).expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_is_counted_and_parks_only_where_the_plan_says_so() {
    let mut house = House::new().await;
    let page = Page::of(&mut house);
    for then in ["park", "alert"] {
        let deadline = format!("\ndeadline = {{ after = \"1h\", then = \"{then}\" }}\n\n[params]");
        let plan = THING
            .replace("\"shop.thing\"", &format!("\"shop.{then}s\""))
            .replacen("\n[params]", &deadline, 1);
        house.plan(then, &plan);
    }
    house.things(&["parks", "alerts", "plain"]).await;
    house.sql("update shop.things set ready = false").await;
    let worker = house.worker();
    page.shows("sexton_deletions_overdue_total", 0).await;
    let of = |kind: &str, id: &str| {
        let more = json!({"target": {"type": kind, "id": id}, "deadline": soon()});
        with(delete(id), more)
    };
    house.publish(of("shop.parks", "parks")).await;
    house.publish(of("shop.alerts", "alerts")).await;
    // A plan without a word on deadlines: the request's own is an alert.
    house.publish(of("shop.thing", "plain")).await;

    let parked = house.heard.kind("parked", "k-parks").await;
    assert_eq!(parked.detail("because"), Some("deadline"));
    page.shows("sexton_deletions_overdue_total", 3).await;
    page.shows("sexton_deletions_parked_total", 1).await;
    assert!(
        house
            .is("select count(*) = 2 from sexton.open_deletions where target_id in ('alerts', 'plain') and parked is null")
            .await,
        "an alert parks nobody"
    );
    house.sql("update shop.things set ready = true").await;
    for key in ["k-alerts", "k-plain"] {
        assert_eq!(house.heard.end(key).await.detail("result"), Some("deleted"));
    }
    assert!(house.heard.ends("k-parks").is_empty());
    assert_eq!(
        house
            .count("select count(*) from sexton.journal where entries::jsonb @> '[{\"e\": \"overdue\"}]'")
            .await,
        3,
        "each once"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_for_a_rejection_is_counted_under_its_name() {
    let mut house = House::drafts("1s", &["soft"]).await;
    // Nobody comes to end its window.
    house.change_settings("every = \"20ms\"", "every = \"1h\"");
    house.plan("old", &THING.replace("\"shop.thing\"", "\"shop.retired\""));
    house.worker_once().await;
    house.no_plan("old");
    let page = Page::of(&mut house);
    house.things(&["a", "waits"]).await;
    house
        .sql("update shop.things set ready = false where id = 'waits'")
        .await;
    let worker = house.worker();
    house.publish(delete("a")).await;
    house.heard.end("k-a").await;
    house.ended(draft("soft", "soft")).await;
    house.sql("update sexton.windows set until = now()").await;
    // An open deletion and one successor: a third that differs from both finds no place.
    for (key, depth) in [("k-waits", "1"), ("second", "2")] {
        let more = json!({"key": key, "params": {"depth": depth}});
        house.publish(with(delete("waits"), more)).await;
    }
    house
        .until(
            "one is open, one waits behind it",
            "select exists (select from sexton.successors)",
        )
        .await;

    let of_type = |kind: &str| with(delete("x"), json!({"target": {"type": kind, "id": "x"}}));
    let changed = |more: Value| with(delete("x"), more);
    let cases = [
        (RejectionReason::NotJson, "{\"target\": ".to_owned()),
        (
            RejectionReason::WrongShape,
            changed(json!({"tenant": 1})).to_string(),
        ),
        (RejectionReason::UnknownType, of_type("shop.nowhere").to_string()),
        (RejectionReason::NoPlan, of_type("shop.retired").to_string()),
        (RejectionReason::TooLarge, " ".repeat(REQUEST_BODY_MAX_BYTES + 1)),
        (
            RejectionReason::UnknownVersion,
            changed(json!({"version": 99})).to_string(),
        ),
        (
            RejectionReason::KeyConflict,
            changed(json!({"key": "k-a"})).to_string(),
        ),
        (
            RejectionReason::SlotTaken,
            with(delete("waits"), json!({"key": "third", "params": {"depth": "3"}})).to_string(),
        ),
        (
            RejectionReason::NothingToDo,
            changed(json!({"action": "cancel", "key": "c"})).to_string(),
        ),
        (
            RejectionReason::NotAllowed,
            changed(json!({"action": "purge"})).to_string(),
        ),
        (
            RejectionReason::KeyMissing,
            with(draft("x", "x"), json!({"key": null})).to_string(),
        ),
        (
            RejectionReason::WindowOver,
            restore("soft", "too late").to_string(),
        ),
    ];
    for reason in RejectionReason::ALL {
        let here = cases.iter().any(|(produced, _)| *produced == reason);
        assert!(here, "{}", reason.word());
    }
    let counter =
        |reason: RejectionReason| format!("sexton_requests_rejected_total{{reason=\"{}\"}}", reason.word());
    for (reason, body) in &cases {
        page.shows(&counter(*reason), 0).await;
        house.publish_as(message(Bytes::from(body.clone()))).await;
        page.shows(&counter(*reason), 1).await;
    }
    let mut all = 0;
    for reason in RejectionReason::ALL {
        all += page.number(&counter(reason)).await.expect("a number");
    }
    assert_eq!(all, cases.len() as u64, "each under its own name and no other");
    worker.stop().await;
}
