//! Access over HTTP: keys, roles, tenants, rates.

use serde_json::{Value, json};

use super::{ASYNC, thing};
use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_until_it_is_revoked_or_expired_and_is_shown_once() {
    let mut house = House::new().await;
    let front = house.front("");
    let made: Value = serde_json::from_str(&house.keys(&["make", "--tenant", "t", "--name", "ci", "--json"]))
        .expect("JSON");
    let (id, key) = (
        made["id"].as_str().expect("an id"),
        made["key"].as_str().expect("a key"),
    );
    let soon = house.key("t", &["--expires", "1s"]);
    let worker = house.worker();
    front.is_open().await;
    assert_eq!(front.get("/v1/deletions", key).await.status, 200);

    let listed: Value = serde_json::from_str(&house.keys(&["list", "--json"])).expect("JSON");
    assert!(
        !listed.to_string().contains(&key[37..]),
        "the secret is not listed"
    );
    let stored =
        "select count(*) from sexton.api_keys where digest = convert_to('', 'utf8') or name like 'sxt_%'";
    assert_eq!(house.count(stored).await, 0);

    let mut other = key.to_owned();
    let last = other.pop().expect("a letter");
    other.push(if last == 'A' { 'E' } else { 'A' });
    let unknown = format!("sxt_{}{}", "0".repeat(32), &key[36..]);
    for wrong in [
        other.as_str(),
        unknown.as_str(),
        "x",
        &key[4..],
        "sxt_",
        &format!("{key}x"),
    ] {
        let said = front.get("/v1/deletions", wrong).await;
        assert_eq!(
            (said.status, said.header("www-authenticate")),
            (401, Some("Bearer")),
            "{wrong}"
        );
    }
    let bare = front
        .client
        .get(format!("{}/v1/deletions", front.url))
        .send()
        .await
        .expect("an answer");
    assert_eq!(bare.status(), 401);

    house.keys(&["revoke", id, "--by", "anna"]);
    assert_eq!(front.get("/v1/deletions", key).await.status, 401, "at once");
    house
        .until(
            "its time is over",
            "select expires_at < now() from sexton.api_keys where expires_at is not null",
        )
        .await;
    assert_eq!(front.get("/v1/deletions", &soon).await.status, 401);
    let audit = "select count(*) from sexton.audit where action in ('make_key', 'revoke_key')";
    assert_eq!(house.count(audit).await, 3);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_dialects_and_rates_hold() {
    let mut house = House::new().await;
    let front = house.front("");
    let viewer = house.key("t", &["--role", "viewer"]);
    let elsewhere = house.key("t", &["--dialect", "pave"]);
    let slow = house.key("t", &["--rate", "1", "--burst", "2"]);
    let worker = house.worker();
    front.is_open().await;
    assert_eq!(front.get("/v1/deletions", &viewer).await.status, 200);
    let asked = front.post("/v1/deletions", &viewer, &thing("a")).await;
    assert_eq!(
        (asked.status, asked.json()["type"].as_str()),
        (403, Some("urn:sexton:problem:forbidden"))
    );
    assert_eq!(front.post("/v1/batches", &viewer, &json!({})).await.status, 403);
    assert_eq!(front.get("/v1/deletions", &elsewhere).await.status, 403);
    let statuses = [
        front.get("/v1/deletions", &slow).await,
        front.get("/v1/deletions", &slow).await,
        front.get("/v1/deletions", &slow).await,
    ];
    assert_eq!(statuses.each_ref().map(|said| said.status), [200, 200, 429]);
    assert_eq!(statuses[2].header("retry-after"), Some("1"));
    assert_eq!(house.count("select count(*) from sexton.calls").await, 0);
    worker.stop().await;
}

/// One tenant's credentials can neither delete, see, list, restore, cancel nor follow what is another's; and what is
/// another's is answered like what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_no_tenant_reaches_what_is_anothers() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let front = house.front("");
    let (ours, theirs) = (house.key("t", &[]), house.key("other", &[]));
    let worker = house.worker();
    front.is_open().await;
    let said = front.post_with("/v1/deletions", &ours, &thing("a"), &ASYNC).await;
    let call = said.header("location").expect("a place").to_owned();
    let batch = front
        .post_with(
            "/v1/batches",
            &ours,
            &json!({"targets": [{"type": "shop.thing", "id": "a"}]}),
            &ASYNC,
        )
        .await;
    let batch = batch.header("location").expect("a place").to_owned();
    house
        .until("it is open", "select count(*) = 2 from sexton.requests")
        .await;
    let seen = front.get(&call, &ours).await.json();
    let place = |id: &Value| format!("/v1/deletions/{}", id.as_str().expect("an id"));
    let (request, deletion) = (place(&seen["request_id"]), place(&seen["deletion_id"]));
    let nobodys = "/v1/deletions/0190a0d0-5d6e-7c3a-9d52-6a1f6f1f2b11".to_owned();

    let not_there = front.get(&nobodys, &theirs).await;
    assert_eq!(not_there.status, 404);
    for place in [&call, &request, &deletion] {
        let said = front.get(place, &theirs).await;
        assert_eq!((said.status, &said.text), (404, &not_there.text), "{place}");
        assert_eq!(front.get(place, &ours).await.status, 200, "{place}");
        for what in ["cancel", "restore"] {
            let path = format!("{place}/{what}");
            let said = front.post(&path, &theirs, &json!({})).await;
            assert_eq!((said.status, &said.text), (404, &not_there.text), "{path}");
        }
        let said = front.get(&format!("{place}/events"), &theirs).await;
        assert_eq!((said.status, &said.text), (404, &not_there.text), "{place}");
    }
    assert_eq!(front.get(&batch, &theirs).await.status, 404);
    assert_eq!(front.get(&batch, &ours).await.status, 200);
    let listed = front.get("/v1/deletions?state=all", &theirs).await.json();
    assert_eq!(listed, json!({"items": []}));
    // By naming the tenant, or the same target in their own.
    let mut as_ours = thing("a");
    as_ours["tenant"] = json!("t");
    assert_eq!(front.post("/v1/deletions", &theirs, &as_ours).await.status, 403);
    let own = front.post("/v1/deletions", &theirs, &thing("a")).await.json();
    assert_eq!(own["result"], "absent", "it is none of theirs: {own}");
    assert!(
        house
            .is("select gone_at is null from shop.things where id = 'a'")
            .await
    );
    assert_eq!(house.count("select count(*) from sexton.signals").await, 0);
    house.sql("update shop.things set ready = true").await;
    house.everything_is_over().await;
    worker.stop().await;
}

/// What is another's is looked for as what is not there is: by the same statements, and with the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn not_yours_and_not_there_are_one_path() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    house.change_settings("sexton=debug", "sexton=info,sqlx::query=debug");
    let front = house.front("");
    let (ours, theirs) = (house.key("t", &[]), house.key("other", &[]));
    let process = house.process(&[]);
    front.is_open().await;
    let said = front.post_with("/v1/deletions", &ours, &thing("a"), &ASYNC).await;
    let call = said.header("location").expect("a place").to_owned();
    house
        .until("it is open", "select exists (select from sexton.open_deletions)")
        .await;
    let seen = front.get(&call, &ours).await.json();
    let deletion = format!("/v1/deletions/{}", seen["deletion_id"].as_str().expect("an id"));
    let nobodys = "/v1/deletions/0190a0d0-5d6e-7c3a-9d52-6a1f6f1f2b11";
    let mut answers = Vec::new();
    for place in [nobodys, &call, &deletion] {
        answers.push(front.get(place, &theirs).await.text);
        answers.push(front.get(&format!("{place}/events"), &theirs).await.text);
        for what in ["cancel", "restore"] {
            answers.push(
                front
                    .post(&format!("{place}/{what}"), &theirs, &json!({}))
                    .await
                    .text,
            );
        }
    }
    assert_eq!((&answers[..4], &answers[..4]), (&answers[4..8], &answers[8..]));
    process.signal(rustix::process::Signal::TERM);
    let (_, log) = process.ended().await;
    // By their names, of those that a call may cause; the last twelve calls are those above.
    let names = [
        "standing_key",
        "known_as",
        "sheet",
        "rejected_request",
        "keep_call",
        "kept_call",
        "look_at_calls",
        "pulses",
    ];
    let mut statements: Vec<&str> = log
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("/* ")?;
            let name = rest.split(" */").next()?;
            names.into_iter().find(|one| *one == name)
        })
        .collect();
    let twelve = statements.split_off(statements.len() - 24);
    assert_eq!(
        twelve,
        ["standing_key", "known_as"].repeat(12),
        "each call asks the same, whosever it is"
    );
    assert!(statements.contains(&"sheet"), "what is one's own is read whole");
}
