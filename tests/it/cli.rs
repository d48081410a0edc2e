//! The command line against a house at work: every command as a process of its own, as a person runs it.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{House, THING, delete};

/// No command here takes a tenth of this on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// As long as any command may wait for an outcome that is sure to come.
pub(crate) const WAIT: &str = "50s";

pub(crate) struct Said {
    code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }

    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

pub(crate) async fn sexton(house: &House, arguments: &[&str]) -> Said {
    let asked = tokio::process::Command::new(env!("CARGO_BIN_EXE_sexton"))
        .arg("--config")
        .arg(house.settings_file())
        .args(arguments)
        .current_dir(house.folder())
        .env_clear()
        .env("USER", "anna")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("in time")
        .expect("the binary");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The plan as it should be, and as it was written in a hurry: its last step names a table that is not there.
pub(crate) fn hasty() -> String {
    let (head, last) = THING
        .rsplit_once("update shop.things set gone_at")
        .expect("the last step");
    format!("{head}update shop.thingz set gone_at{last}")
}

pub(crate) async fn one_parked(house: &House, id: &str) -> Value {
    let said = sexton(
        house,
        &[
            "request",
            "shop.thing",
            id,
            "--tenant",
            "t",
            "--key",
            &format!("k-{id}"),
            "--wait",
            "--timeout",
            WAIT,
            "--json",
        ],
    )
    .await
    .ended_with(14);
    let outcome = said.json()["outcome"].clone();
    assert_eq!(outcome["event"], "parked", "{outcome}");
    outcome
}

#[tokio::test]
async fn a_request_is_published_and_its_outcome_is_the_exit_code() {
    let house = House::new().await;
    house.things(&["a"]).await;
    let worker = house.worker();
    let ask = [
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
    ];
    let said = sexton(&house, &ask).await.ended_with(0);
    assert!(
        said.out.contains("published, key k\n") && said.out.contains("completed; result: deleted"),
        "{}",
        said.out
    );
    // A repeat hears no event; what the key means is looked up.
    let again = sexton(&house, &ask).await.ended_with(0);
    assert!(again.out.contains("completed; result: deleted"), "{}", again.out);
    // The same key with other content.
    let conflict = [
        "request",
        "shop.thing",
        "b",
        "--tenant",
        "t",
        "--key",
        "k",
        "--wait",
        "--timeout",
        WAIT,
        "--json",
    ];
    let conflict = sexton(&house, &conflict).await.ended_with(13).json();
    assert_eq!(
        conflict["outcome"]["detail"]["reason"], "key_conflict",
        "{conflict}"
    );
    // Nobody has such a thing.
    let absent = sexton(
        &house,
        &[
            "request",
            "shop.thing",
            "x",
            "--tenant",
            "t",
            "--wait",
            "--timeout",
            WAIT,
            "--json",
        ],
    );
    let absent = absent.await.ended_with(0).json();
    assert_eq!(absent["outcome"]["detail"]["result"], "absent", "{absent}");
    // One that waits for a shop that is not ready is not done in time.
    house
        .sql("insert into shop.things (id, ready) values ('slow', false)")
        .await;
    let slow = [
        "request",
        "shop.thing",
        "slow",
        "--tenant",
        "t",
        "--key",
        "s",
        "--wait",
        "--timeout",
        "1s",
    ];
    let said = sexton(&house, &slow).await.ended_with(15);
    assert!(
        said.err.contains("no outcome within 1s; the request goes on"),
        "{}",
        said.err
    );
    // Cancelled before the pivot: what the first asked for did not come about, what the second asked for did.
    let cancel = [
        "request",
        "shop.thing",
        "slow",
        "--tenant",
        "t",
        "--action",
        "cancel",
        "--wait",
        "--timeout",
        WAIT,
    ];
    sexton(&house, &cancel).await.ended_with(0);
    let said = sexton(
        &house,
        &[
            "request",
            "shop.thing",
            "slow",
            "--tenant",
            "t",
            "--key",
            "s",
            "--wait",
        ],
    )
    .await;
    said.ended_with(10);
    worker.stop().await;
    house.everything_is_over().await;
}

#[tokio::test]
async fn a_parked_deletion_says_why_and_goes_on_when_it_is_retried() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.plan("thing", &hasty());
    let worker = house.worker();
    let outcome = one_parked(&house, "a").await;
    let id = outcome["deletion_id"].as_str().expect("an id").to_owned();

    let shown = sexton(&house, &["deletions", "show", &id, "--json"])
        .await
        .ended_with(0)
        .json();
    let account = &shown["deletions"][0];
    assert_eq!(
        (&account["state"], &account["why"]["word"]),
        (&json!("parked"), &json!("parked")),
        "{account:#}"
    );
    assert!(
        account["why"]["because"]
            .as_str()
            .is_some_and(|why| why.starts_with("step 4 \"finish\" at shop ")),
        "{account:#}"
    );
    assert!(
        account["why"]["unblock"].is_string() && account["why"]["can_cancel"] == false,
        "{account:#}"
    );
    assert_eq!(account["steps"][1]["state"], "done", "{account:#}");
    let text = sexton(&house, &["deletions", "show", "--tenant", "t", "--key", "k-a"])
        .await
        .ended_with(0)
        .out;
    for part in [
        "state     parked\n",
        "unblock   ",
        "cancel    no longer possible\n",
        "key k-a",
        "Journal:\n",
        "parked: step 4",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let by_target = [
        "deletions",
        "show",
        "--tenant",
        "t",
        "--type",
        "shop.thing",
        "--id",
        "a",
        "--json",
    ];
    assert_eq!(
        sexton(&house, &by_target).await.ended_with(0).json()["deletions"][0]["id"],
        json!(id)
    );
    let request = account["requests"][0]["id"].as_str().expect("a request");
    let by_request = sexton(&house, &["deletions", "show", request, "--json"])
        .await
        .ended_with(0)
        .json();
    assert_eq!(by_request["deletions"][0]["id"], json!(id));

    let listed = sexton(&house, &["deletions", "list", "--state", "parked", "--json"])
        .await
        .ended_with(0)
        .json();
    assert_eq!(listed["deletions"][0]["id"], json!(id), "{listed}");
    assert_eq!(listed["deletions"][0]["parked"]["step"], "finish", "{listed}");
    let waiting = sexton(&house, &["deletions", "list", "--state", "waiting"])
        .await
        .ended_with(0);
    assert_eq!(waiting.out, "none\n");

    house
        .sql("create view shop.thingz as select * from shop.things")
        .await;
    sexton(&house, &["deletions", "retry", &id, "--reason", "table is there"])
        .await
        .ended_with(0);
    house.everything_is_over().await;
    assert!(
        house
            .is(
                "select exists (select from sexton.audit where said_by = 'cli:anna' and action = 'retry'
                 and detail->>'reason' = 'table is there')"
            )
            .await
    );
    let ended = sexton(
        &house,
        &["deletions", "list", "--state", "ended", "--type", "shop.thing"],
    )
    .await
    .ended_with(0);
    assert!(
        ended.out.contains("ended") && ended.out.contains("deleted "),
        "{}",
        ended.out
    );
    let said = sexton(&house, &["deletions", "cancel", &id]).await.ended_with(65);
    assert!(said.err.contains("has ended"), "{}", said.err);
    let said = sexton(
        &house,
        &["deletions", "show", "018f0000-0000-7000-8000-000000000000"],
    )
    .await
    .ended_with(65);
    assert!(
        said.err.contains("no deletion is known as 018f0000"),
        "{}",
        said.err
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_list_comes_in_pages_that_miss_nothing() {
    let house = House::new().await;
    house.things(&["a", "b", "c", "d", "e"]).await;
    let worker = house.worker();
    for id in ["a", "b", "c", "d", "e"] {
        house.publish(delete(id)).await;
    }
    house.everything_is_over().await;
    house
        .until("all five", "select count(*) = 5 from sexton.deletions")
        .await;
    let mut seen = Vec::new();
    let mut before: Option<String> = None;
    for rows in [2, 2, 1] {
        let mut ask = vec!["deletions", "list", "--state", "all", "--limit", "2", "--json"];
        if let Some(before) = &before {
            ask.extend(["--before", before]);
        }
        let page = sexton(&house, &ask).await.ended_with(0).json();
        let found = page["deletions"].as_array().expect("a page").clone();
        assert_eq!(found.len(), rows, "{page}");
        seen.extend(
            found
                .iter()
                .map(|one| one["target"].as_str().expect("a target").to_owned()),
        );
        before = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(before, None);
    seen.sort();
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    worker.stop().await;
}
