//! What leaves the process: traces to a receiver, pages to whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use sexton::deletion::{Aim, DeletionId, Envelope, EventId, TraceContext, Verdict};
use sexton::telemetry::{self, Endpoint, Instruments, Readiness, Settings, spans};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: [u8; 16] = 0x4bf92f3577b34da6a3ce929d0e0e4736_u128.to_be_bytes();

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// A receiver of OTLP over HTTP that hands on what it is sent.
async fn receiver() -> (String, mpsc::Receiver<Bytes>) {
    let (sender, received) = mpsc::channel(16);
    let take = |State(sender): State<mpsc::Sender<Bytes>>, body: Bytes| async move {
        sender.send(body).await.unwrap();
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_from_its_publisher_through_a_step_to_the_event() {
    let (url, mut received) = receiver().await;
    let settings = Settings {
        otlp_endpoint: Some(url),
        ..Settings::default()
    };
    let instruments = Instruments::new();
    let telemetry = telemetry::start(&settings, &instruments).unwrap();

    let came_in = TraceContext::new(Some(PARENT), None);
    let asked = Envelope::new(None, None, came_in.clone());
    let id = DeletionId(Uuid::now_v7());
    let step = spans::step(id, 1, Aim::Do, 1, &asked);
    spans::said(&step, &Verdict::blocked("quoted-content", "quoted-content"));
    let goes_on = step.in_scope(telemetry::current);
    drop(step);
    let own = goes_on.traceparent.as_deref().unwrap();
    assert_eq!(own[..35], PARENT[..35], "the same trace");
    assert_ne!(own, PARENT, "and a span of its own");

    let retry = spans::step(id, 1, Aim::Do, 2, &asked);
    let retried = telemetry::onward(&retry, &came_in);
    drop(retry);
    let anew = retried.traceparent.as_deref().unwrap();
    assert_ne!(anew[..35], PARENT[..35], "a retry is a trace of its own");

    drop(spans::publish(EventId(Uuid::now_v7()), Some(id), &goes_on));
    drop(spans::admission(2, [&came_in, &came_in]));

    tokio::task::spawn_blocking(|| telemetry.shutdown())
        .await
        .unwrap()
        .unwrap();
    let body = received.recv().await.unwrap();
    for name in ["step", "publish", "admit", "deletion.id", "blocked", "sexton"] {
        assert!(contains(&body, name.as_bytes()), "{name}");
    }
    assert!(contains(&body, id.to_string().as_bytes()));
    assert!(contains(&body, &TRACE_ID));
    assert!(
        !contains(&body, b"quoted-content"),
        "invariant 12: reasons stay inside"
    );
    assert!(instruments.page().unwrap().contains("sexton_spans_lost_total 0"));
}

#[tokio::test]
async fn the_pages_say_how_it_is_and_stop_when_told() {
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let base = format!("http://{}", endpoint.address().unwrap());
    let readiness = Readiness::default();
    let connected = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&connected);
    readiness.add("broker", move || match flag.load(Ordering::SeqCst) {
        true => Ok(()),
        false => Err("no connection".into()),
    });
    let stop = CancellationToken::new();
    let serving = tokio::spawn(endpoint.serve(Instruments::new(), readiness, stop.clone()));

    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/livez").await, (200, "alive\n".into()));
    assert_eq!(
        get("/readyz").await,
        (503, "broker: not ready: no connection\n".into())
    );
    connected.store(true, Ordering::SeqCst);
    assert_eq!(get("/readyz").await, (200, "broker: ready\n".into()));
    let (status, page) = get("/metrics").await;
    assert!(status == 200 && page.ends_with("# EOF\n"), "{page}");
    assert!(page.contains("sexton_requests_admitted_total 0"), "{page}");
    assert_eq!(get("/nothing").await.0, 404);

    stop.cancel();
    serving.await.unwrap().unwrap();
    assert!(
        client.get(format!("{base}/livez")).send().await.is_err(),
        "nobody listens any more"
    );
}
