//! What strangers may hold of the gateway: connections, time, bytes. Over bare sockets, since clients are too polite.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::front::Front;
use crate::house::{House, patience};
use crate::workers::Inside;

const TIGHT: &str =
    "connections_max = 2\nhead_timeout = \"1s\"\nbody_timeout = \"1s\"\nwrite_timeout = \"1s\"";

async fn tight() -> (House, Front, String, Inside) {
    let mut house = House::new().await;
    let front = house.front(TIGHT);
    let key = house.key("t", &[]);
    let worker = house.worker();
    front.is_open().await;
    (house, front, key, worker)
}

async fn connect(front: &Front) -> TcpStream {
    TcpStream::connect(("127.0.0.1", front.port()))
        .await
        .expect("a connection")
}

/// Everything until the other side closes; that it does is the point.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(patience(), stream.read_to_end(&mut text)).await;
    // A reset is a close as well.
    let _ = read.expect("the connection is closed");
    String::from_utf8_lossy(&text).into_owned()
}

fn head(key: &str, more: &str) -> String {
    format!(
        "POST /v1/deletions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{more}\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_who_does_not_end_a_request_is_let_go() {
    let (house, front, key, worker) = tight().await;
    // A head that never ends, byte by byte or not at all.
    let mut silent = connect(&front).await;
    let mut slow = connect(&front).await;
    slow.write_all(b"GET /v1/deletions HTTP/1.1\r\nhost: ")
        .await
        .expect("a write");
    // Both places are taken; a third waits to be let in, and is served when they have been let go.
    let mut third = connect(&front).await;
    third
        .write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .expect("a write");
    assert_eq!(rest(&mut silent).await, "");
    rest(&mut slow).await;
    assert!(rest(&mut third).await.starts_with("HTTP/1.1 200"));

    // A body that never ends: whoever sends it is told.
    let mut stalled = connect(&front).await;
    let more = "content-length: 100\r\nconnection: close\r\n";
    stalled
        .write_all(format!("{}{{\"target\"", head(&key, more)).as_bytes())
        .await
        .expect("a write");
    let told = rest(&mut stalled).await;
    assert!(
        told.starts_with("HTTP/1.1 408") && told.contains("urn:sexton:problem:body_not_whole"),
        "{told}"
    );
    // One that is kept open after an answer is let go as well.
    let mut idle = connect(&front).await;
    idle.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("a write");
    assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200"));
    assert_eq!(house.count("select count(*) from sexton.calls").await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_what_is_too_large_is_not_read() {
    let (_house, front, key, worker) = tight().await;
    let ask = async |text: String| {
        let mut stream = connect(&front).await;
        let _ = stream.write_all(text.as_bytes()).await;
        rest(&mut stream).await
    };
    let declared = ask(head(&key, "content-length: 5000000\r\nconnection: close\r\n")).await;
    assert!(declared.starts_with("HTTP/1.1 413"), "{declared}");
    let chunk = format!("{:x}\r\n{}\r\n", 300_000, "x".repeat(300_000));
    let chunked = ask(format!(
        "{}{chunk}0\r\n\r\n",
        head(&key, "transfer-encoding: chunked\r\nconnection: close\r\n")
    ))
    .await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let wide = ask(head(&key, &format!("x-wide: {}\r\n", "x".repeat(40_000)))).await;
    assert!(wide.starts_with("HTTP/1.1 431"), "{wide}");
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let many = ask(head(&key, &many)).await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    worker.stop().await;
}

/// A caller that asks and asks and reads no answer holds its connection no longer than it may.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_who_does_not_read_is_let_go() {
    let (_house, front, _key, worker) = tight().await;
    let mut deaf = connect(&front).await;
    let many = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000);
    let writing = async {
        // Until the other side neither reads nor answers any more, and then closes.
        while deaf.write_all(many.as_bytes()).await.is_ok() {}
    };
    tokio::time::timeout(patience(), writing)
        .await
        .expect("it is closed");
    // Its place is free again.
    let (mut one, mut two) = (connect(&front).await, connect(&front).await);
    for stream in [&mut one, &mut two] {
        let ask = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(ask).await.expect("a write");
    }
    let served = async { (rest(&mut one).await, rest(&mut two).await) };
    let (one, two) = tokio::time::timeout(Duration::from_secs(10), served)
        .await
        .expect("served");
    assert!(one.starts_with("HTTP/1.1 200") && two.starts_with("HTTP/1.1 200"));
    worker.stop().await;
}
