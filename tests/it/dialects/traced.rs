//! A caller's own trace id, in the traces of what it asked for.

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::delete;
use crate::house::House;
use crate::worlds::powerdrill::{fill, from_seed};

#[tokio::test(flavor = "multi_thread")]
async fn an_external_trace_id_stands_in_the_spans_of_its_deletion() {
    let (tell, mut heard) = mpsc::channel::<Bytes>(100);
    let receiver = Router::new().route(
        "/v1/traces",
        post(move |body: Bytes| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(body).await;
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, receiver).await });

    let mut house = House::new().await;
    let store = house.store("powerdrill").await;
    let sessions = from_seed(5, 1, 3);
    fill(&store, &sessions).await.expect("the store's rows");
    house.shipped("powerdrill.session", &[]);
    house.change_settings(
        "[telemetry]\n",
        &format!("[telemetry]\notlp_endpoint = {url:?}\n"),
    );
    let front = house.front("");
    let key = house.key("team_blue", &["--dialect", "powerdrill"]);
    let process = house.process(&[]);
    front.is_open().await;
    let mine = &sessions[0];
    let path = format!("/v1/team/sessions/{}?userId={}", mine.id, mine.user);
    let headers = [
        ("x-pd-api-key", key.as_str()),
        ("x-pd-external-trace-id", "the-callers-own-0042"),
    ];
    let said = delete(&front, &path, &headers).await;
    assert_eq!(said.json()["code"], 0);
    process.signal(Signal::TERM);
    process.ended().await;
    let mut traces = Vec::new();
    while let Ok(body) = heard.try_recv() {
        traces.extend_from_slice(&body);
    }
    let holds = |text: &str| traces.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("the-callers-own-0042"), "{} bytes of traces", traces.len());
    assert!(!holds(&key), "and no key");
}
