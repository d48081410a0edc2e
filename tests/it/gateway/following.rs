//! Following over HTTP: what becomes of a request, as it becomes.

use futures::StreamExt;
use reqwest::Method;
use serde_json::Value;

use super::{ASYNC, thing};
use crate::front::Front;
use crate::house::{House, patience};

/// The events of a stream until it ends, each with its id.
async fn follow(front: &Front, path: &str, key: &str, last: Option<&str>) -> Vec<(String, Value)> {
    let mut request = front.ask(Method::GET, path, key);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut body = response.bytes_stream();
    let whole = async {
        while let Some(part) = body.next().await {
            text.push_str(std::str::from_utf8(&part.expect("a part")).expect("text"));
        }
    };
    tokio::time::timeout(patience(), whole).await.expect("it ends");
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    let line = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim().to_owned()
    };
    events
        .map(|event| {
            assert_eq!(line(event, "event:"), "state");
            let data = serde_json::from_str(&line(event, "data:")).expect("JSON");
            (line(event, "id:"), data)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_in_order_goes_on_from_the_last_event_and_ends_with_the_end() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let said = front.post_with("/v1/deletions", &key, &thing("a"), &ASYNC).await;
    let path = format!("{}/events", said.header("location").expect("a place"));
    let following = {
        let (front, path, key) = (Front::at(front.port()), path.clone(), key.clone());
        tokio::spawn(async move { follow(&front, &path, &key, None).await })
    };
    house
        .until("it was tried", "select seq > 1 from sexton.open_deletions")
        .await;
    house.sql("update shop.things set ready = true").await;
    let events = following.await.expect("followed");
    let sequences: Vec<i64> = events
        .iter()
        .map(|(_, data)| data["sequence"].as_i64().expect("a number"))
        .collect();
    assert!(sequences.is_sorted() && events.len() >= 2, "{events:?}");
    let (last, end) = events.last().expect("an end");
    assert_eq!(
        (&end["state"], &end["result"]),
        (&"ended".into(), &"deleted".into()),
        "{events:?}"
    );
    // Whoever comes back without having heard the end hears it, and nothing else; whoever has is told that there is no more.
    let again = follow(&front, &path, &key, Some("1")).await;
    assert_eq!(again, [events.last().expect("an end").clone()]);
    let over = front.ask(Method::GET, &path, &key).header("last-event-id", last);
    assert_eq!(over.send().await.expect("an answer").status(), 204);
    assert_eq!(
        front
            .get("/v1/deletions/0190a0d0-5d6e-7c3a-9d52-6a1f6f1f2b11/events", &key)
            .await
            .status,
        404
    );
    house.everything_is_over().await;
    worker.stop().await;
}

/// A stop ends what is followed: nobody's stream holds the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_streams() {
    let mut house = House::new().await;
    house.things(&["a"]).await;
    house.sql("update shop.things set ready = false").await;
    let front = house.front("");
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    let said = front.post_with("/v1/deletions", &key, &thing("a"), &ASYNC).await;
    let path = format!("{}/events", said.header("location").expect("a place"));
    let response = front
        .ask(Method::GET, &path, &key)
        .send()
        .await
        .expect("an answer");
    worker.stop().await;
    let rest = tokio::time::timeout(patience(), response.bytes()).await;
    assert!(rest.is_ok(), "the stream has ended");
}
