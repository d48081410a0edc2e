//! Who asks too often, and who asks while the database is away, is told so in the shape of their document.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sexton::services::{Ending, Options, Services};

use super::bearer;
use crate::front::{Front, Said};
use crate::house::House;

/// Some of each, at the same moment, with credentials that are good.
async fn calls(front: &Front, key: &str, times: usize) -> Vec<(&'static str, Said)> {
    let (authorization, now) = (bearer(key), super::pave::at(0));
    let body = json!({"session_ids": ["s"], "session_types": ["agent"]});
    let bearer: &[(&str, &str)] = &[("authorization", &authorization)];
    let pave: &[(&str, &str)] = &[("API-Key", key), ("API-Token", "t"), ("API-Timestamp", &now)];
    let powerdrill: &[(&str, &str)] = &[("x-pd-api-key", key)];
    let each = [
        ("factory session", "/api/v0/sessions/s", bearer),
        ("factory computer", "/api/v0/computers/c", bearer),
        ("powerdrill", "/v1/team/sessions/s?userId=u", powerdrill),
        ("pave", "/v1/sessions/s", pave),
        ("agno", "/sessions", bearer),
        ("native", "/v1/deletions", bearer),
    ];
    let calls = each.iter().flat_map(|call| std::iter::repeat_n(call, times));
    let asked = calls.map(async |(dialect, path, headers)| {
        let method = if *dialect == "native" {
            Method::GET
        } else {
            Method::DELETE
        };
        let mut request = front.client.request(method, format!("{}{path}", front.url));
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        if *dialect == "agno" {
            request = request.json(&body);
        }
        (*dialect, Said::of(request.send().await.expect("an answer")).await)
    });
    futures::future::join_all(asked).await
}

fn keys_of(body: &Value) -> Vec<&str> {
    body.as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

/// Each has its document's keys, and a time to come back where it has a status of HTTP.
fn each_is(all: &[(&str, Said)], status: impl Fn(&str) -> u16, code: i64) {
    for (dialect, said) in all {
        assert_eq!(said.status, status(dialect), "{dialect}: {}", said.text);
        let body = said.json();
        let after = said.header("retry-after").is_some();
        match *dialect {
            "powerdrill" => {
                assert_eq!(body, json!({"code": code, "data": null}));
                assert!(said.header("x-pd-trace-id").is_some());
                continue;
            }
            "pave" => assert_eq!(keys_of(&body), ["message"]),
            "agno" => assert_eq!(keys_of(&body), ["detail"]),
            "native" => assert_eq!(said.header("content-type"), Some("application/problem+json")),
            _ => assert_eq!(super::sessions::error(said), body),
        }
        assert!(after, "{dialect}: {:?}", said.headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_in_their_own_shape() {
    let mut house = House::new().await;
    let front = house.front("");
    let worker = house.worker();
    front.is_open().await;
    // Whose key has one call a second is turned back from most of these, in whichever order they come.
    let key = house.key("t", &["--rate", "1", "--burst", "1"]);
    let mut all = calls(&front, &key, 5).await;
    all.retain(|(dialect, said)| match *dialect {
        "powerdrill" => said.json()["code"] == 201,
        _ => said.status == 429,
    });
    let turned_back: BTreeSet<&str> = all.iter().map(|(dialect, _)| *dialect).collect();
    assert_eq!(turned_back.len(), 6, "{turned_back:?}");
    let status = |dialect: &str| if dialect == "powerdrill" { 200 } else { 429 };
    each_is(&all, status, 201);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_is_told_in_each_ones_shape() {
    let options = Options {
        database_url: None,
        durable: false,
        ..Options::from_env()
    };
    let mut services = Services::start(options).await.expect("a server of one's own");
    let mut house = House::in_servers(services.urls.clone()).await;
    let front = house.front("");
    let worker = house.worker();
    front.is_open().await;
    let key = house.key("t", &[]);
    services.stop_postgres(Ending::Kill).await.expect("stopped");
    let all = calls(&front, &key, 1).await;
    let status = |dialect: &str| match dialect {
        "powerdrill" => 200,
        "factory session" | "native" => 503,
        _ => 500,
    };
    each_is(&all, status, 9999);
    services.start_postgres().await.expect("started");
    worker.stop().await;
    drop(house);
    services.stop().await.expect("a clean end");
}
