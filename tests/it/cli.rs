//! The command line against a house at work: every command as a process of its own, as a person runs it.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{House, THING, delete};

/// No command here takes a tenth of this on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// As long as any command may wait for an outcome that is sure to come.
const WAIT: &str = "50s";

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }

    #[track_caller]
    fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

async fn sexton(house: &House, arguments: &[&str]) -> Said {
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
fn hasty() -> String {
    let (head, last) = THING
        .rsplit_once("update shop.things set gone_at")
        .expect("the last step");
    format!("{head}update shop.thingz set gone_at{last}")
}

async fn one_parked(house: &House, id: &str) -> Value {
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
        "can be cancelled no longer",
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
