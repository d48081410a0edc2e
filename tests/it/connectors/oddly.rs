//! A service whose answers nobody expects.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Response, header};
use axum::routing::any;

/// A service that answers what the path says, and keeps what it was asked.
pub(super) async fn oddly() -> (String, tokio::sync::mpsc::Receiver<axum::http::request::Parts>) {
    let (asked, requests) = tokio::sync::mpsc::channel(100);
    let app = Router::new().route(
        "/base/odd/{what}",
        any(
            move |Path(what): Path<String>, request: axum::extract::Request| async move {
                let (parts, _) = request.into_parts();
                asked.send(parts).await.unwrap();
                let response = Response::builder();
                match what.as_str() {
                    "redirect" => response
                        .status(302)
                        .header(header::LOCATION, "/base/odd/204")
                        .body(Body::empty()),
                    "huge" => response.body(Body::from(format!(
                        "{{\"code\":0,\"pad\":\"{}\"}}",
                        "x".repeat(70_000)
                    ))),
                    "torn" => {
                        let torn =
                            futures::stream::iter([Ok("{\"code\":0"), Err(std::io::Error::other("torn"))]);
                        response.body(Body::from_stream(torn))
                    }
                    "patience" => response
                        .status(503)
                        .header(header::RETRY_AFTER, "7")
                        .body(Body::empty()),
                    status if status.len() == 3 => response
                        .status(status.parse::<u16>().unwrap())
                        .body(Body::empty()),
                    body => response.body(Body::from(body.to_owned())),
                }
                .unwrap()
            },
        ),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, requests)
}
