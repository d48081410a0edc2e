//! A server that answers as no client wishes, byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hostile {
    /// A body that ends before the length that was promised.
    Truncated,
    /// 200, and a page of somebody's portal.
    WrongContentType,
    /// 200, with JSON in which `code` is not there.
    NoCode,
    /// 200, with a `code` that is a text.
    CodeIsText,
    /// 200, and 1 MiB of anything.
    Garbage,
    /// It has heard, and says nothing.
    Hang,
    /// The connection is cut when the request is there.
    Reset,
    /// To another host, which must never see the credentials.
    Redirect,
    /// Not found, by somebody who does not know the account.
    ForeignNotFound,
}

impl Hostile {
    pub(crate) const ALL: [Hostile; 9] = [
        Hostile::Truncated,
        Hostile::WrongContentType,
        Hostile::NoCode,
        Hostile::CodeIsText,
        Hostile::Garbage,
        Hostile::Hang,
        Hostile::Reset,
        Hostile::Redirect,
        Hostile::ForeignNotFound,
    ];

    fn answer(self, elsewhere: &str) -> Vec<u8> {
        let with = |head: &str, body: &str| {
            format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        match self {
            Hostile::Truncated => b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n{\"code\": 0".to_vec(),
            Hostile::WrongContentType => with("200 OK\r\ncontent-type: text/html", "<h1>Welcome</h1>"),
            Hostile::NoCode => with("200 OK\r\ncontent-type: application/json", "{\"data\": null}"),
            Hostile::CodeIsText => with("200 OK\r\ncontent-type: application/json", "{\"code\": \"0\", \"data\": null}"),
            Hostile::Garbage => with("200 OK\r\ncontent-type: application/json", &"x".repeat(1024 * 1024)),
            Hostile::Redirect => with(&format!("302 Found\r\nlocation: {elsewhere}/stolen"), ""),
            Hostile::ForeignNotFound => with("404 Not Found\r\ncontent-type: text/html", "<h1>404</h1>"),
            Hostile::Hang | Hostile::Reset => Vec::new(),
        }
    }
}

/// Serves one kind of answer; what `elsewhere` hears must stay nothing.
pub(crate) async fn serve(kind: Hostile) -> (String, mpsc::Receiver<String>) {
    let (tell, heard) = mpsc::channel(10);
    let elsewhere = listen().await;
    let elsewhere_at = format!("http://{}", elsewhere.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = elsewhere.accept().await {
            let _ = tell.send(head(stream).await.0).await;
        }
    });
    let listener = listen().await;
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = kind.answer(&elsewhere_at);
            tokio::spawn(async move {
                let (_, mut stream) = head(stream).await;
                match kind {
                    Hostile::Hang => {
                        let mut rest = [0; 1];
                        let _ = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut rest)).await;
                    }
                    // Closed with what is unread still there: the system sends a reset.
                    Hostile::Reset => drop(stream),
                    _ => {
                        let _ = stream.write_all(&answer).await;
                        let _ = stream.shutdown().await;
                    }
                }
            });
        }
    });
    (url, heard)
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// The head of a request, and the connection after it.
async fn head(mut stream: TcpStream) -> (String, TcpStream) {
    let mut text = Vec::new();
    let mut byte = [0; 1];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        text.push(byte[0]);
    }
    (String::from_utf8_lossy(&text).into_owned(), stream)
}
