//! Looking over HTTP: lists, why something is not done, and what is no resource.

use reqwest::Method;
use serde_json::json;

use super::{ASYNC, thing};
use crate::front::Said;
use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_where_its_page_ended_and_keeps_to_its_filter() {
    let mut house = House::new().await;
    house.things(&["a", "b", "c", "d", "e"]).await;
    house
        .sql("update shop.things set ready = false where id = 'e'")
        .await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    for id in ["a", "b", "c", "d"] {
        assert_eq!(front.post("/v1/deletions", &key, &thing(id)).await.status, 200);
    }
    front.post_with("/v1/deletions", &key, &thing("e"), &ASYNC).await;
    house
        .until(
            "the last is open",
            "select exists (select from sexton.open_deletions)",
        )
        .await;
    let ids = async |query: &str| {
        let page = front.get(&format!("/v1/deletions?{query}"), &key).await.json();
        let ids: Vec<String> = page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["target"]["id"].as_str().expect("an id").to_owned())
            .collect();
        (ids, page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = ids("limit=3").await;
    assert_eq!(first, ["e", "d", "c"]);
    let (rest, none) = ids(&format!("limit=3&cursor={}", next.expect("a next page"))).await;
    assert_eq!((rest, none), (vec!["b".to_owned(), "a".to_owned()], None));
    assert_eq!(ids("state=open").await.0, ["e"]);
    assert_eq!(ids("state=ended&target=b").await.0, ["b"]);
    assert_eq!(ids("type=no.such").await.0, Vec::<String>::new());
    assert_eq!(front.get("/v1/deletions?state=gone", &key).await.status, 422);

    let open = front.get("/v1/deletions?state=open", &key).await.json();
    let id = open["items"][0]["id"].as_str().expect("an id").to_owned();
    let one = front.get(&format!("/v1/deletions/{id}"), &key).await.json();
    for part in ["word", "because", "since", "next"] {
        assert!(one["why"][part].is_string(), "{part}: {one}");
    }
    // Who asked is told that a worker has it, and not which machine of ours that is.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let why = one["why"].to_string();
    assert!(
        !why.contains(host.trim()) && !why.contains(&std::process::id().to_string()),
        "{why}"
    );
    house.sql("update shop.things set ready = true").await;
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_resource_or_no_method_of_one_is_said_so() {
    let mut house = House::new().await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let ask = async |method: Method, path: &str| {
        Said::of(front.ask(method, path, &key).send().await.expect("an answer")).await
    };
    for (method, path, status) in [
        (Method::GET, "/v1/nothing", 404),
        (Method::GET, "/v1/deletions/x", 404),
        (Method::PUT, "/v1/deletions", 405),
        (Method::DELETE, "/v1/deletions/x", 405),
        (Method::GET, "/openapi.json", 200),
        (Method::HEAD, "/v1/deletions", 200),
    ] {
        let said = ask(method.clone(), path).await;
        assert_eq!(said.status, status, "{method} {path}");
        if status >= 400 {
            assert_eq!(
                said.header("content-type"),
                Some("application/problem+json"),
                "{method} {path}"
            );
        }
    }
    let allowed = ask(Method::PUT, "/v1/deletions").await;
    let allowed = allowed.header("allow").expect("a list");
    assert!(
        ["GET", "HEAD", "POST"].iter().all(|one| allowed.contains(one)),
        "{allowed}"
    );
    let long = format!("/v1/deletions/{}", "x".repeat(5_000));
    assert_eq!(ask(Method::GET, &long).await.status, 414);
    worker.stop().await;
}

/// What the document says is what is served: each route of it answers, and the list of reasons is the one in the code.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_every_route_and_every_reason() {
    let mut house = House::new().await;
    let front = house.front("");
    let worker = house.worker();
    front.is_open().await;
    let document = front.get("/openapi.json", "nobody").await.json();
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    for path in [
        "/v1/deletions",
        "/v1/deletions/{id}",
        "/v1/deletions/{id}/cancel",
        "/v1/deletions/{id}/restore",
        "/v1/deletions/{id}/events",
        "/v1/batches",
        "/v1/batches/{id}",
    ] {
        assert!(paths.iter().any(|one| *one == path), "{path}");
    }
    let reasons = &document["components"]["schemas"]["WhyWord"]["enum"];
    for word in sexton::decide::WHY_WORDS.iter().filter(|word| **word != "ended") {
        assert!(
            reasons.as_array().is_some_and(|all| all.contains(&json!(word))),
            "{word}"
        );
    }
    worker.stop().await;
}
