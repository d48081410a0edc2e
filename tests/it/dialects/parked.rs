//! What a person must look at is not gone, and no dialect says that it is.

use reqwest::Method;
use serde_json::json;

use super::{bearer, delete};
use crate::front::Said;
use crate::house::House;

/// A step that fails for good, whatever it is asked about.
fn hopeless(target: &str, params: &str) -> String {
    format!(
        "target = {target:?}\non = \"shop\"\ntimeout = \"1s\"\nparams = {{ {params} }}\n[[step]]\nname = \"row\"\n\
         sql = \"delete from shop.things where id = :id and 1 / (length(:id) - length(:id)) = 0\""
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_never_said_to_be_gone() {
    let mut house = House::new().await;
    house.things(&["x"]).await;
    for (target, params) in [
        ("factory.session", "computer_id = \"text?\""),
        ("factory.computer", ""),
        ("powerdrill.session", "user_id = \"text\""),
        ("pave.session", "token_sha256 = \"text?\""),
        (
            "agno.session",
            "db_id = \"text?\", table = \"text?\", user_id = \"text?\"",
        ),
    ] {
        house.plan(target, &hopeless(target, params));
    }
    let front = house.front("wait = \"2s\"");
    let everywhere = ["native", "factory", "powerdrill", "pave", "agno"];
    let dialects: Vec<&str> = everywhere
        .iter()
        .flat_map(|dialect| ["--dialect", dialect])
        .collect();
    let key = house.key("t", &dialects);
    let worker = house.worker();
    front.is_open().await;
    let auth = bearer(&key);
    let auth = [("authorization", auth.as_str())];
    let session = delete(&front, "/api/v0/sessions/x", &auth).await;
    assert_eq!(
        (session.status, session.header("retry-after")),
        (503, Some("5")),
        "{}",
        session.text
    );
    let computer = delete(&front, "/api/v0/computers/x", &auth).await;
    assert_eq!(computer.status, 500);
    let parked = computer.json()["metadata"]["deletionId"]
        .as_str()
        .expect("the deletion")
        .to_owned();
    let powerdrill = delete(
        &front,
        "/v1/team/sessions/x?userId=u",
        &[("x-pd-api-key", key.as_str())],
    )
    .await;
    assert_eq!(
        (powerdrill.status, powerdrill.json()["code"].as_i64()),
        (200, Some(9999))
    );
    let now = super::pave::at(0);
    let headers = [
        ("API-Key", key.as_str()),
        ("API-Token", "tok"),
        ("API-Timestamp", now.as_str()),
    ];
    assert_eq!(delete(&front, "/v1/sessions/x", &headers).await.status, 500);
    let body = json!({"session_ids": ["x"], "session_types": ["agent"]});
    let request = front.ask(Method::DELETE, "/sessions", &key).json(&body);
    assert_eq!(
        Said::of(request.send().await.expect("an answer")).await.status,
        500
    );

    // Whoever asks over the native API is told why, and what would help.
    let seen = front.get(&format!("/v1/deletions/{parked}"), &key).await.json();
    assert_eq!(
        (&seen["state"], &seen["why"]["word"]),
        (&json!("parked"), &json!("parked")),
        "{seen}"
    );
    assert!(seen["why"]["unblock"].is_string(), "{seen}");
    let asked = front
        .post(
            "/v1/deletions",
            &key,
            &json!({"target": {"type": "factory.computer", "id": "x"}}),
        )
        .await;
    assert_eq!(
        (asked.status, asked.json()["state"].as_str()),
        (202, Some("parked")),
        "{}",
        asked.text
    );
    assert_eq!(house.count("select count(*) from shop.things").await, 1);
    worker.stop().await;
}
