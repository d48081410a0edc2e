//! Asking over HTTP: one way in, whatever is asked.

use serde_json::{Value, json};

use super::{ASYNC, thing};
use crate::front::Said;
use crate::house::House;
use crate::windows::DRAFT;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_its_outcome_and_is_a_request_like_any_other() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let headers = [("idempotency-key", "\"k-a\""), ("x-request-id", "from afar")];
    let said = front
        .post_with("/v1/deletions", &key, &thing("a"), &headers)
        .await;
    let body = said.json();
    assert_eq!(
        (said.status, &body["state"], &body["result"]),
        (200, &json!("ended"), &json!("deleted")),
        "{body}"
    );
    assert_eq!(body["target"], json!({"type": "shop.thing", "id": "a"}));
    assert!(
        body["steps"].as_array().is_some_and(|steps| steps
            .iter()
            .all(|step| step["attempts"] == 1 || step["number"] == 0)),
        "{body}"
    );
    assert!(body["why"].is_null(), "it is done");
    let event = house.heard.end("k-a").await;
    assert_eq!(event.body["data"]["deletion_id"], body["deletion_id"]);
    assert_eq!(event.body["data"]["correlation_id"], "from afar");
    let by: String = sqlx::query_scalar("select requested_by from sexton.requests")
        .fetch_one(&house.db)
        .await
        .expect("one");
    assert_eq!(by, "key:test");

    // The same call again is the same call; the same message over AMQP would be the same request.
    let again = front
        .post_with("/v1/deletions", &key, &thing("a"), &headers)
        .await;
    assert_eq!(again.json(), body);
    let other = front
        .post_with("/v1/deletions", &key, &thing("b"), &headers)
        .await;
    assert_eq!(
        (other.status, other.json()["type"].as_str()),
        (422, Some("urn:sexton:problem:key_conflict"))
    );
    assert_eq!(house.count("select count(*) from sexton.requests").await, 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_a_request_is_turned_away_with_its_place() {
    let mut house = House::new().await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let with = |name: &str, value: Value| {
        let mut body = thing("a");
        body[name] = value;
        body
    };
    for (body, status, field) in [
        (json!({}), 422, "/target"),
        (json!({"target": "a"}), 422, "/target"),
        (json!({"target": {"type": "shop.thing"}}), 422, "/target/id"),
        (with("reason", json!(7)), 422, "/reason"),
        (with("reason", json!("x".repeat(1_001))), 422, "/reason"),
        (with("not_before", json!("tomorrow")), 422, "/not_before"),
        (with("tenant", json!("somebody else")), 403, "/tenant"),
        (with("key", json!("k")), 422, ""),
        (with("requested_by", json!("me")), 422, ""),
        (with("action", json!("purge")), 422, ""),
        (with("window", json!({})), 422, ""),
        (with("params", json!({"a\u{0}": 1})), 422, "/params"),
    ] {
        let said = front.post("/v1/deletions", &key, &body).await;
        assert_eq!(said.status, status, "{body}: {}", said.text);
        assert_eq!(said.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            said.json()["field"].as_str(),
            Some(field),
            "{body}: {}",
            said.text
        );
    }
    let raw = async |kind: &str, body: &str| {
        let request = front
            .ask(reqwest::Method::POST, "/v1/deletions", &key)
            .header("content-type", kind.to_owned());
        Said::of(request.body(body.to_owned()).send().await.expect("an answer")).await
    };
    for (kind, body, status) in [
        ("text/plain", "{}", 415),
        ("application/json", "{", 422),
        ("application/json", "[]", 422),
        (
            "application/json",
            r#"{"target": {"type": "a", "id": "1"}, "target": {"type": "a", "id": "2"}}"#,
            422,
        ),
        ("application/json", &"[".repeat(1_000), 422),
        ("application/json; charset=utf-8", "null", 422),
    ] {
        let said = raw(kind, body).await;
        assert_eq!(said.status, status, "{kind} {body:.40}: {}", said.text);
    }
    // What only admission can know is told all the same.
    let unknown = front
        .post(
            "/v1/deletions",
            &key,
            &json!({"target": {"type": "no.such", "id": "1"}}),
        )
        .await;
    assert_eq!(
        (unknown.status, unknown.json()["reason"].as_str()),
        (409, Some("unknown_type")),
        "{}",
        unknown.text
    );
    assert_eq!(house.count("select count(*) from sexton.requests").await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_known_before_admission_after_folding_and_after_a_rejection() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    worker.stop().await;
    // Only the gateway runs.
    let gateway = house.role(&[sexton::app::Role::Gateway]);
    front.is_open().await;
    let call = async |body: &Value| {
        let said = front.post_with("/v1/deletions", &key, body, &ASYNC).await;
        assert_eq!(
            (said.status, said.header("preference-applied")),
            (202, Some("respond-async")),
            "{}",
            said.text
        );
        said.header("location").expect("a place").to_owned()
    };
    let first = call(&thing("a")).await;
    let folded = call(&thing("a")).await;
    let unknown = call(&json!({"target": {"type": "no.such", "id": "1"}})).await;
    for place in [&first, &folded, &unknown] {
        let said = front.get(place, &key).await.json();
        assert_eq!(
            (&said["state"], &said["why"]["word"]),
            (&json!("published"), &json!("published")),
            "{said}"
        );
    }
    gateway.stop().await;
    let worker = house.worker();
    front.is_open().await;
    house
        .until("both are there", "select count(*) = 2 from sexton.requests")
        .await;
    house
        .until(
            "it was turned away",
            "select exists (select from sexton.rejections)",
        )
        .await;
    let (one, two) = (
        front.get(&first, &key).await.json(),
        front.get(&folded, &key).await.json(),
    );
    assert_eq!(one["deletion_id"], two["deletion_id"]);
    assert_ne!(one["request_id"], two["request_id"]);
    let away = front.get(&unknown, &key).await.json();
    assert_eq!(
        (&away["state"], &away["rejection"]["reason"]),
        (&json!("rejected"), &json!("unknown_type")),
        "{away}"
    );
    house.sql("update shop.things set ready = true").await;
    house
        .until("it has ended", "select exists (select from sexton.deletions)")
        .await;
    for place in [&first, &folded] {
        assert_eq!(front.get(place, &key).await.json()["result"], "deleted");
    }
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_and_a_restore_mean_the_deletion_that_they_name() {
    let mut house = House::new().await;
    house.plan("draft", DRAFT);
    house.things(&["a", "b"]).await;
    house
        .sql("update shop.things set ready = false where id = 'b'")
        .await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;

    let hidden = front
        .post(
            "/v1/deletions",
            &key,
            &json!({"target": {"type": "shop.draft", "id": "a"}}),
        )
        .await
        .json();
    assert_eq!(hidden["result"], "soft_deleted", "{hidden}");
    assert!(hidden["detail"]["restorable_until"].is_string());
    let place = format!("/v1/deletions/{}", hidden["deletion_id"].as_str().expect("an id"));
    let restored = front
        .post(&format!("{place}/restore"), &key, &json!({"reason": "a mistake"}))
        .await
        .json();
    assert_eq!(restored["result"], "restored", "{restored}");
    let late = front.post(&format!("{place}/restore"), &key, &json!({})).await;
    assert_eq!(
        (late.status, late.json()["reason"].as_str()),
        (409, Some("nothing_to_do")),
        "{}",
        late.text
    );

    // It is deleted again: the old one is not meant by that.
    let again = front
        .post(
            "/v1/deletions",
            &key,
            &json!({"target": {"type": "shop.draft", "id": "a"}}),
        )
        .await
        .json();
    assert_eq!(again["result"], "soft_deleted");
    let old = front.post(&format!("{place}/restore"), &key, &json!({})).await;
    assert_eq!(old.status, 409, "{}", old.text);
    assert_eq!(
        house
            .count("select count(*) from shop.things where gone_at is not null")
            .await,
        1
    );

    let open = front.post_with("/v1/deletions", &key, &thing("b"), &ASYNC).await;
    let place = open.header("location").expect("a place").to_owned();
    house
        .until("it is open", "select exists (select from sexton.open_deletions)")
        .await;
    let cancelled = front
        .ask(reqwest::Method::POST, &format!("{place}/cancel"), &key)
        .send()
        .await
        .expect("an answer");
    let cancelled = Said::of(cancelled).await.json();
    assert_eq!(
        (&cancelled["state"], &cancelled["result"]),
        (&json!("ended"), &json!("cancelled")),
        "{cancelled}"
    );
    let late = front.post(&format!("{place}/cancel"), &key, &json!({})).await;
    assert_eq!(
        (late.status, late.json()["reason"].as_str()),
        (409, Some("nothing_to_do")),
        "{}",
        late.text
    );
    for path in [
        "/v1/deletions/nobody/cancel",
        "/v1/deletions/0190a0d0-5d6e-7c3a-9d52-6a1f6f1f2b11/restore",
    ] {
        assert_eq!(front.post(path, &key, &json!({})).await.status, 404, "{path}");
    }
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_call_with_one_answer_for_the_whole() {
    let mut house = House::new().await;
    house.things(&["a", "b"]).await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let targets = json!({"targets": [
        {"type": "shop.thing", "id": "a"}, {"type": "shop.thing", "id": "b"}, {"type": "shop.thing", "id": "nobody"},
        {"type": "no.such", "id": "1"},
    ]});
    let said = front
        .post_with("/v1/batches", &key, &targets, &[("idempotency-key", "b1")])
        .await;
    let body = said.json();
    assert_eq!(
        (said.status, &body["state"], &body["size"]),
        (200, &json!("over"), &json!(4)),
        "{body}"
    );
    assert_eq!(
        body["counts"],
        json!({"deleted": 2, "absent": 1, "rejected": 1}),
        "{body}"
    );
    let place = said.header("content-location").expect("a place").to_owned();
    assert_eq!(front.get(&place, &key).await.json(), body);
    let again = front
        .post_with("/v1/batches", &key, &targets, &[("idempotency-key", "b1")])
        .await;
    assert_eq!(again.json(), body);
    for (body, status) in [
        (json!({"targets": []}), 422),
        (json!({}), 422),
        (
            json!({"targets": (0..10_001).map(|n| json!({"type": "shop.thing", "id": n.to_string()})).collect::<Vec<_>>()}),
            422,
        ),
    ] {
        assert_eq!(front.post("/v1/batches", &key, &body).await.status, status);
    }
    assert_eq!(
        front
            .get("/v1/batches/0190a0d0-5d6e-7c3a-9d52-6a1f6f1f2b11", &key)
            .await
            .status,
        404
    );
    worker.stop().await;
}
