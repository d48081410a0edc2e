//! What leaves the process is read whole: log at its loudest, spans, metrics, events. None of it says a secret, or what
//! a person wrote.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use rustix::process::Signal;
use serde_json::json;
use sexton::broker::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::house::House;
use crate::shop::{THING, delete, message, with};

const PASSWORD: &str = "hunter2-password";
const TOKEN: &str = "hunter2-token";
/// In a reason, in who asked, in a param, in a fact, and in bodies that are turned away.
const PERSONAL: &str = "jane-doe-personal";

/// A receiver of spans that hands on what it is sent.
async fn receiver() -> (String, mpsc::Receiver<Bytes>) {
    let (sender, received) = mpsc::channel(64);
    let take = |State(sender): State<mpsc::Sender<Bytes>>, body: Bytes| async move {
        let _ = sender.send(body).await;
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_12_no_secret_and_no_personal_content_leaves_the_process() {
    let mut house = House::new().await;
    let (otlp, mut spans) = receiver().await;
    let pages = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address")
    };
    house.change_settings("\"sexton=debug\"", "\"trace,sexton=trace\"");
    house.change_settings(
        "listen = \"127.0.0.1:0\"",
        &format!("listen = \"{pages}\"\notlp_endpoint = \"{otlp}\""),
    );
    let mut wrong = reqwest::Url::parse(&house.world.database_url).expect("a URL");
    wrong.set_password(Some(PASSWORD)).expect("a URL that takes one");
    let profile = house.folder().join("profile.toml");
    std::fs::write(
        &profile,
        "[call.end]\nmethod = \"DELETE\"\npath = \"/x/{id}\"\ndone = [204]\n",
    )
    .expect("a profile");
    house.also_settings(&format!(
        "[systems.vault]\nkind = \"postgres\"\nurl = \"{wrong}\"\nbreaker_failures = 1000\n\
         [systems.cloud]\nkind = \"http\"\nurl = \"http://127.0.0.1:1\"\nprofile = {profile:?}\n\
         auth = {{ bearer = \"{TOKEN}\" }}\n"
    ));
    // The one meets a wrong password, the other a service that is not there.
    let vault = "target = \"shop.vault\"\non = \"vault\"\ntimeout = \"1s\"\n\
                 sql = \"delete from shop.things where id = :id\"\n";
    house.plan("vault", vault);
    let cloud = "target = \"shop.cloud\"\non = \"cloud\"\ntimeout = \"1s\"\nretry = { attempts = 2, base = \"10ms\", max = \"10ms\" }\n\
                 [[step]]\nname = \"end\"\ncall = \"cloud.end\"\n";
    house.plan("cloud", cloud);
    // A statement whose error would repeat what it was given.
    let raises = THING
        .replace("\"shop.thing\"", "\"shop.raises\"")
        .replace("set gone_at = now()", "set generation = (:depth)::text::bigint");
    house.plan("raises", &raises);
    house.things(&["a", "r"]).await;
    sqlx::query("update shop.things set kind = $1")
        .bind(PERSONAL)
        .execute(&house.db)
        .await
        .expect("a fact");

    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_sexton"))
        .args(["run", "--print-settings", "--config"])
        .arg(house.settings_file())
        .output()
        .expect("the binary");
    assert!(shown.status.success(), "{shown:?}");
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("systems.vault.url = \"(secret)\"  # "), "{shown}");
    let process = house.process(&[]);
    let said = json!({"reason": PERSONAL, "requested_by": PERSONAL, "params": {"depth": PERSONAL}});
    let of_type = |kind: &str, id: &str| json!({"target": {"type": kind, "id": id}});
    house.publish(with(delete("a"), said.clone())).await;
    house
        .publish(with(with(delete("r"), said), of_type("shop.raises", "r")))
        .await;
    house.publish(with(delete("v"), of_type("shop.vault", "v"))).await;
    house.publish(with(delete("c"), of_type("shop.cloud", "c"))).await;
    for body in [
        format!("{{\"reason\": \"{PERSONAL}\""),
        with(delete("x"), json!({"params": {"depth": [PERSONAL]}})).to_string(),
        with(delete("x"), json!({"version": PERSONAL})).to_string(),
        with(delete("a"), json!({"reason": format!("other {PERSONAL}")})).to_string(),
    ] {
        let correlation_id = Some("turned-away".to_owned());
        house
            .publish_as(Message {
                correlation_id,
                ..message(body.into())
            })
            .await;
    }
    let completed = house.heard.kind("completed", "k-a").await;
    assert_eq!(completed.detail("result"), Some("deleted"));
    for key in ["k-r", "k-c"] {
        house.heard.kind("parked", key).await;
    }
    process.says("system shut").await;
    house
        .heard
        .until("all that is wrong is turned away", |all| {
            (all.iter().filter(|event| event.kind() == "rejected").count() == 4).then_some(())
        })
        .await;
    let page = reqwest::get(format!("http://{pages}/metrics"))
        .await
        .expect("the page")
        .text()
        .await
        .expect("text");
    assert!(page.contains("sexton_"), "{page}");
    process.signal(Signal::TERM);
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");
    assert!(
        log.contains("\"TRACE\"") && log.contains("parked: a person must look"),
        "{log}"
    );

    let mut all = vec![("the log", log), ("the metrics", page), ("the settings", shown)];
    let first = spans.recv().await.expect("spans");
    let mut sent = first.to_vec();
    while let Ok(more) = spans.try_recv() {
        sent.extend(more);
    }
    all.push(("a span", String::from_utf8_lossy(&sent).into_owned()));
    for event in house.heard.all() {
        all.push(("an event", format!("{} {:?}", event.body, event.delivery.headers)));
    }
    for (what, text) in &all {
        for word in [PASSWORD, TOKEN, PERSONAL] {
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(word)).collect();
            assert!(lines.is_empty(), "{what} says {word}: {}", lines.join("\n"));
        }
    }
}
