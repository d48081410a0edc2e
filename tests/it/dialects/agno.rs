//! Agno's AgentOS, served: many sessions in one call, answered as a whole.

use reqwest::Method;
use serde_json::{Value, json};

use crate::front::{Front, Said};
use crate::house::House;
use crate::worlds::agno::{Release, fill, from_seed};

async fn ask(front: &Front, key: &str, query: &str, body: &Value) -> Said {
    let request = front
        .ask(Method::DELETE, &format!("/sessions{query}"), key)
        .json(body);
    Said::of(request.send().await.expect("an answer")).await
}

fn of(ids: &[&str]) -> Value {
    json!({"session_ids": ids, "session_types": vec!["agent"; ids.len()]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_as_a_whole_and_owners_are_respected() {
    let mut house = House::new().await;
    let store = house.store("agno-main").await;
    let sessions = from_seed(3, 12);
    fill(&store, Release::Three, &sessions)
        .await
        .expect("the store's rows");
    house.shipped("agno.session", &[]);
    let front = house.front("wait = \"3s\"");
    let key = house.key("t", &["--dialect", "agno"]);
    let worker = house.worker();
    front.is_open().await;
    let left = async || -> Vec<String> {
        sqlx::query_scalar("select session_id from ai.agno_sessions order by 1")
            .fetch_all(&store)
            .await
            .expect("ids")
    };
    let all = left().await;
    let [first, second, third, ..] = all.as_slice() else {
        panic!("{all:?}")
    };
    let done = ask(&front, &key, "", &of(&[first, second, "nobody", first])).await;
    assert_eq!(
        (done.status, done.text.as_str()),
        (204, ""),
        "unknown ids and repeats are fine"
    );
    assert_eq!(left().await, all[2..]);
    assert_eq!(
        ask(
            &front,
            &key,
            "?type=team&db_id=main&table=agno_sessions",
            &of(&[first])
        )
        .await
        .status,
        204
    );
    // Another user's is left as it is, and nobody is told that it is there.
    let stranger = ask(&front, &key, "?user_id=u_mallory", &of(&[third])).await;
    assert_eq!(stranger.status, 204);
    assert_eq!(left().await, all[2..]);

    for (query, body, status, detail) in [
        ("?type=robot", of(&[third]), 422, None),
        ("", json!({"session_ids": [], "session_types": []}), 422, None),
        ("", of(&["a\u{0}"]), 422, None),
        (
            "",
            json!({"session_ids": ["a", "b"], "session_types": ["agent"]}),
            400,
            Some("Session IDs and session types must have the same length"),
        ),
        (
            "?table=x",
            of(&["a"]),
            400,
            Some("The db_id query parameter is required when passing a table"),
        ),
        (
            "?db_id=nope",
            of(&["a"]),
            404,
            Some("No database found with id 'nope'"),
        ),
        (
            "?db_id=main&table=y",
            of(&["a"]),
            404,
            Some("No database with id 'main' has table 'y'"),
        ),
    ] {
        let said = ask(&front, &key, query, &body).await;
        assert_eq!(said.status, status, "{query} {body}: {}", said.text);
        match detail {
            Some(detail) => assert_eq!(said.json(), json!({"detail": detail})),
            None => assert!(said.json()["detail"].is_array(), "{}", said.text),
        }
    }
    let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let said = ask(&front, &key, "", &of(&many)).await;
    assert_eq!(said.status, 422);
    assert!(said.text.contains("at most 10000"), "{}", &said.text[..200]);

    // One of them cannot be removed in time: no success for the whole.
    let mut tx = store.begin().await.expect("a transaction");
    sqlx::query("select from ai.agno_sessions where session_id = $1 for update")
        .bind(third)
        .execute(&mut *tx)
        .await
        .expect("a lock");
    let fourth = all[3].as_str();
    assert_eq!(ask(&front, &key, "", &of(&[third, fourth])).await.status, 500);
    tx.rollback().await.expect("let go");
    assert_eq!(
        ask(&front, &key, "", &of(&[third, fourth])).await.status,
        204,
        "asking again joins it"
    );
    assert_eq!(left().await, all[4..]);
    for (headers, detail) in [
        (None, "Authorization header required"),
        (Some("Bearer x"), "Invalid authentication token"),
    ] {
        let mut request = front
            .client
            .request(Method::DELETE, format!("{}/sessions", front.url));
        if let Some(value) = headers {
            request = request.header("authorization", value);
        }
        let said = Said::of(request.send().await.expect("an answer")).await;
        assert_eq!((said.status, said.json()), (401, json!({"detail": detail})));
    }
    house.everything_is_over().await;
    worker.stop().await;
}

/// Ten thousand ids in one call are one batch and one answer.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_ids_are_fine() {
    let mut house = House::new().await;
    house.store("agno-main").await;
    let store = sqlx::PgPool::connect(&house.store_url("agno-main"))
        .await
        .expect("the store");
    fill(&store, Release::Three, &[]).await.expect("the tables");
    house.shipped("agno.session", &[]);
    let front = house.front("wait = \"60s\"");
    let key = house.key("t", &["--dialect", "agno"]);
    let worker = house.worker();
    front.is_open().await;
    let ids: Vec<String> = (0..10_000).map(|n| format!("s{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let said = ask(&front, &key, "", &of(&ids)).await;
    assert_eq!(said.status, 204, "{}", said.text);
    assert_eq!(house.count("select count(*) from sexton.requests").await, 10_000);
    worker.stop().await;
}
