//! Powerdrill, served: always 200, the code tells, and every answer has a trace id.

use serde_json::json;

use super::delete;
use crate::front::{Front, Said};
use crate::house::House;
use crate::worlds::powerdrill::{fill, from_seed};

fn code(said: &Said) -> i64 {
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(said.header("content-type"), Some("application/json"));
    assert!(
        said.header("x-pd-trace-id").is_some_and(|id| !id.is_empty()),
        "{said:?}"
    );
    let body = said.json();
    assert_eq!(body, json!({"code": body["code"], "data": null}));
    body["code"].as_i64().expect("an integer")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_tells_and_every_answer_has_a_trace_id() {
    let mut house = House::new().await;
    let store = house.store("powerdrill").await;
    let sessions = from_seed(5, 4, 20);
    fill(&store, &sessions).await.expect("the store's rows");
    house.shipped("powerdrill.session", &[]);
    let front = house.front("wait = \"2s\"");
    let key = house.key("team_blue", &["--dialect", "powerdrill"]);
    let native = house.key("team_blue", &[]);
    let worker = house.worker();
    front.is_open().await;
    let mine = &sessions[0];
    let path = |session: &str, user: &str| format!("/api/v1/team/sessions/{session}?userId={user}");
    let ask = async |front: &Front, path: &str, key: &str| {
        code(&delete(front, path, &[("x-pd-api-key", key)]).await)
    };

    // 100 comes before anybody is asked who it is.
    let whole = path(&mine.id, &mine.user);
    assert_eq!(code(&delete(&front, &whole, &[]).await), 100, "no key");
    assert_eq!(
        ask(&front, &format!("/api/v1/team/sessions/{}", mine.id), "wrong").await,
        100,
        "no user"
    );
    let long = "é".repeat(129);
    let traced = [
        ("x-pd-api-key", "wrong"),
        ("x-pd-external-trace-id", long.as_str()),
    ];
    assert_eq!(
        code(&delete(&front, &whole, &traced).await),
        100,
        "too long a trace id"
    );
    assert_eq!(ask(&front, &whole, "wrong").await, 100_001, "an unknown key");
    assert_eq!(
        ask(&front, &whole, &native).await,
        100_001,
        "a key for other doors"
    );
    assert_eq!(
        ask(&front, &path("nobody", &mine.user), &key).await,
        100_001,
        "no such session"
    );
    assert_eq!(
        ask(&front, &path(&mine.id, "u_mallory"), &key).await,
        100_001,
        "another user's"
    );
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&store)
        .await
        .expect("a count");
    assert_eq!(left, 4);

    // Its trace id is kept with the deletion.
    let longest = "é".repeat(127);
    let traced = [
        ("x-pd-api-key", key.as_str()),
        ("x-pd-external-trace-id", longest.as_str()),
    ];
    assert_eq!(code(&delete(&front, &whole, &traced).await), 0);
    let kept: i64 = sqlx::query_scalar("select count(*) from sexton.requests where correlation_id = $1")
        .bind(&longest)
        .fetch_one(&house.db)
        .await
        .expect("a count");
    assert_eq!(kept, 1);
    let cut = "é".repeat(128);
    let traced = [
        ("x-pd-api-key", key.as_str()),
        ("x-pd-external-trace-id", cut.as_str()),
    ];
    assert_eq!(
        code(&delete(&front, &whole, &traced).await),
        0,
        "repeated, and of 128 characters"
    );
    let (jobs, left): (i64, i64) = sqlx::query_as(
        "select (select count(*) from jobs where session_id = $1), (select count(*) from sessions where id = $1)",
    )
    .bind(&mine.id)
    .fetch_one(&store)
    .await
    .expect("counts");
    assert_eq!((jobs, left), (0, 0), "the history too");

    // Without `/api`, and what is no route or no method.
    let other = &sessions[1];
    let short = format!("/v1/team/sessions/{}?userId={}", other.id, other.user);
    assert_eq!(ask(&front, &short, &key).await, 0);
    for (method, path) in [
        ("POST", whole.as_str()),
        ("GET", "/api/v1/team/nothing"),
        ("DELETE", "/v1/team/x"),
    ] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let said = front
            .client
            .request(method, format!("{}{path}", front.url))
            .send()
            .await
            .expect("an answer");
        assert_eq!(code(&Said::of(said).await), 100, "{path}");
    }
    house
        .sql("update sexton.deletions set ended_at = ended_at - interval '31 days'")
        .await;
    assert_eq!(ask(&front, &whole, &key).await, 100_001, "after its tombstone");

    // Not known in time: an internal error, and it goes on.
    let last = &sessions[2];
    let mut tx = store.begin().await.expect("a transaction");
    sqlx::query("select from sessions where id = $1 for update")
        .bind(&last.id)
        .execute(&mut *tx)
        .await
        .expect("a lock");
    assert_eq!(ask(&front, &path(&last.id, &last.user), &key).await, 9999);
    tx.rollback().await.expect("let go");
    assert_eq!(ask(&front, &path(&last.id, &last.user), &key).await, 0);
    house.everything_is_over().await;
    worker.stop().await;
}
