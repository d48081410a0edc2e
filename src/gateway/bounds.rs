//! What one request may hold: so long a path, so large a body, so much time to send it.
//!
//! Bounds of connections are in `serving.rs`; those of what a request says, with the words (`deletion/reading.rs`).

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;

use super::dialects;
use super::native::Kind;
use crate::deletion::BULK_BODY_MAX_BYTES;

/// Path and query together. An id has at most 512 bytes, three times that when it is written with percent signs.
pub const TARGET_MAX_BYTES: usize = 4 * 1024;
/// The largest body that any route reads: a bulk.
pub const BODY_MAX_BYTES: usize = BULK_BODY_MAX_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// More than so many bytes.
    TooLarge(usize),
    /// It did not come in time, or broke off.
    NotWhole,
}

/// The whole body, or why there is none. One that says beforehand that it is too large is not read at all.
pub async fn read(body: Body, most: usize, within: Duration) -> Result<Bytes, BadBody> {
    use http_body::Body as _;
    if body.size_hint().lower() > most as u64 {
        return Err(BadBody::TooLarge(most));
    }
    match tokio::time::timeout(within, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over(&error) => Err(BadBody::TooLarge(most)),
        Ok(Err(_)) | Err(_) => Err(BadBody::NotWhole),
    }
}

/// Turns away what is too long to be a path of ours.
pub(super) async fn path(request: Request, next: Next) -> Response {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |target| target.as_str());
    if target.len() > TARGET_MAX_BYTES {
        let what = format!(
            "found {} bytes of path and query; wanted at most {TARGET_MAX_BYTES}",
            target.len()
        );
        return dialects::stray(request.uri().path(), Kind::PathTooLong, &what);
    }
    next.run(request).await
}

/// Whether there is none, as far as its head tells.
pub fn is_empty(body: &Body) -> bool {
    use http_body::Body as _;
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

fn is_over(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if one.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = one.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_whole_or_it_is_said_what_is_wrong_with_it() {
        let second = Duration::from_secs(1);
        let read = |body: Body, most| read(body, most, second);
        assert_eq!(read(Body::from("four"), 4).await, Ok(Bytes::from("four")));
        assert_eq!(read(Body::from("five!"), 4).await, Err(BadBody::TooLarge(4)));
        let parts =
            |all: Vec<Result<&'static str, std::io::Error>>| Body::from_stream(futures::stream::iter(all));
        assert_eq!(
            read(parts(vec![Ok("fi"), Ok("ve!")]), 4).await,
            Err(BadBody::TooLarge(4)),
            "it did not say how large it would be"
        );
        assert_eq!(
            read(
                parts(vec![Ok("fi"), Err(std::io::ErrorKind::ConnectionReset.into())]),
                4
            )
            .await,
            Err(BadBody::NotWhole)
        );
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4, Duration::ZERO).await, Err(BadBody::NotWhole));
    }
}
