//! The gateway by HTTPS: served to whoever shakes hands in time, within the same bounds, and never in plain text.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certificates::Authority;
use crate::front::Front;
use crate::house::{House, patience};

struct Door {
    house: House,
    front: Front,
    port: u16,
}

async fn door(more: &str) -> Door {
    let mut house = House::new().await;
    let authority = Authority::new(house.folder(), "authority");
    let shown = authority.signs(house.folder(), &["localhost"]);
    // A relative path starts at the folder of the settings.
    let name = |file: &std::path::Path| file.file_name().expect("a name").to_owned();
    let plain = house.front(&format!(
        "tls_certificate = {:?}\ntls_key = {:?}\n{more}",
        name(&shown.certificate),
        name(&shown.key)
    ));
    let port = plain.port();
    let believed = reqwest::Certificate::from_pem(authority.pem.as_bytes()).expect("a certificate");
    let front = Front {
        url: format!("https://localhost:{port}"),
        client: reqwest::Client::builder()
            .tls_certs_only([believed])
            .timeout(patience())
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client"),
    };
    Door { house, front, port }
}

/// Everything until the other side closes; that it does is the point.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = tokio::time::timeout(patience(), stream.read_to_end(&mut all)).await;
    let _ = read.expect("the connection is closed");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_asked_for_by_https_and_by_nothing_else() {
    let Door { house, front, port } = door("").await;
    let key = house.key("t", &[]);
    house.things(&["a"]).await;
    let worker = house.worker();
    front.is_open().await;
    let body = json!({"target": {"type": "shop.thing", "id": "a"}, "reason": "asked"});
    let said = front.post("/v1/deletions", &key, &body).await;
    assert_eq!(said.status, 200, "{}", said.text);

    // In plain text there is an alert of TLS, and no answer of HTTP.
    let mut plain = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    let head = format!("GET /v1/deletions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n");
    plain.write_all(head.as_bytes()).await.expect("a write");
    let answer = rest(&mut plain).await;
    assert!(
        answer.len() < 16 && !answer.starts_with(b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // Whoever believes somebody else does not get through to say its key.
    let distrustful = reqwest::Client::builder()
        .timeout(patience())
        .build()
        .expect("a client");
    assert!(
        distrustful
            .get(format!("{}/openapi.json", front.url))
            .send()
            .await
            .is_err()
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_hands_are_shaken_in_time_and_within_the_places() {
    let Door { house, front, port } = door("connections_max = 2\nhead_timeout = \"1s\"").await;
    let worker = house.worker();
    front.is_open().await;
    // Two that say nothing, or half a greeting, take both places; the third is served once they are let go.
    let mut silent = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    let mut slow = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    slow.write_all(&[0x16, 0x03, 0x01, 0x02]).await.expect("a write");
    let asked = tokio::time::Instant::now();
    let third = tokio::spawn(front.client.get(format!("{}/openapi.json", front.url)).send());
    assert!(rest(&mut silent).await.is_empty());
    rest(&mut slow).await;
    let third = third.await.expect("no panic").expect("an answer");
    assert_eq!(third.status().as_u16(), 200);
    assert!(
        asked.elapsed() >= Duration::from_millis(500),
        "it was served beside them, after {:?}: they held no places",
        asked.elapsed()
    );
    // Nobody who shakes hands for ever holds up a stop.
    let _held = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    worker.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_shown_ends_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    std::fs::create_dir(here.join("plans")).expect("plans");
    let authority = Authority::new(here, "authority");
    let (one, other) = (authority.signs(here, &["a"]), authority.signs(here, &["b"]));
    let no_file = here.join("none");
    for (certificate, key, wanted) in [
        (
            Some(&one.certificate),
            None,
            "gateway.tls_key: found nothing beside gateway.tls_certificate; wanted both or none",
        ),
        (
            None,
            Some(&one.key),
            "gateway.tls_certificate: found nothing beside gateway.tls_key; wanted both or none",
        ),
        (
            Some(&one.certificate),
            Some(&other.key),
            "gateway.tls_key: found the key of another certificate (",
        ),
        (
            Some(&one.key),
            Some(&one.key),
            "gateway.tls_certificate: found a file without any (",
        ),
        (
            Some(&one.certificate),
            Some(&one.certificate),
            "gateway.tls_key: found no private key (",
        ),
        (
            Some(&one.certificate),
            Some(&no_file),
            "gateway.tls_key: found no file: ",
        ),
    ] {
        let line = |name, file: Option<&std::path::PathBuf>| {
            file.map_or_else(String::new, |file| format!("{name} = {file:?}\n"))
        };
        let settings = format!(
            "[store]\nurl = \"postgres://u@127.0.0.1:1/x\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n{}{}",
            line("tls_certificate", certificate),
            line("tls_key", key)
        );
        std::fs::write(here.join("sexton.toml"), settings).expect("settings");
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sexton"))
            .arg("run")
            .current_dir(here)
            .env_clear()
            .kill_on_drop(true)
            .output()
            .await
            .expect("the binary");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(wanted), "{said}; wanted {wanted}");
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}
