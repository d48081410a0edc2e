//! What one request may hold: so long a path, so large a body, so much time to send it.
//!
//! Bounds of connections are in `serving.rs`; those of what a request says, with the words (`deletion/reading.rs`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dialects;
use super::native::Kind;
use crate::decide::access::Dialect;
use crate::deletion::BULK_BODY_MAX_BYTES;

/// Path and query together. An id has at most 512 bytes, three times that when it is written with percent signs.
pub const TARGET_MAX_BYTES: usize = 4 * 1024;
/// The largest body that any route reads: a bulk.
pub const BODY_MAX_BYTES: usize = BULK_BODY_MAX_BYTES;

/// Bodies that are being read, all callers together. Sixty of the largest, or sixteen thousand of the usual.
const BODIES_MAX_BYTES: usize = 256 * 1024 * 1024;
/// What room is given out by.
const ROOM_UNIT_BYTES: usize = 16 * 1024;

/// Room for bodies: whoever finds none waits until another one has been understood.
#[derive(Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(BODIES_MAX_BYTES / ROOM_UNIT_BYTES)))
    }
}

/// A body, and the room that it takes until it has been understood.
#[derive(Debug)]
pub struct Held {
    pub bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// More than so many bytes.
    TooLarge(usize),
    /// It did not come in time, or broke off.
    NotWhole,
}

/// The whole body, or why there is none. One that says beforehand that it is too large is not read at all; one that does
/// not say takes the room of the largest.
pub async fn read(room: &Room, body: Body, most: usize, within: Duration) -> Result<Held, BadBody> {
    use http_body::Body as _;
    let hint = body.size_hint();
    if hint.lower() > most as u64 {
        return Err(BadBody::TooLarge(most));
    }
    let size = hint
        .exact()
        .map_or(most, |size| usize::try_from(size).unwrap_or(most));
    let units = u32::try_from(size.div_ceil(ROOM_UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
    let read = async {
        let room = room.0.clone().acquire_many_owned(units).await.ok()?;
        Some((to_bytes(body, most).await, room))
    };
    match tokio::time::timeout(within, read).await {
        Ok(Some((Ok(bytes), room))) => Ok(Held { bytes, _room: room }),
        Ok(Some((Err(error), _))) if is_over(&error) => Err(BadBody::TooLarge(most)),
        Ok(_) | Err(_) => Err(BadBody::NotWhole),
    }
}

/// Turns away what is too long to be a path of ours.
pub(super) async fn path(State(served): State<Arc<[Dialect]>>, request: Request, next: Next) -> Response {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |target| target.as_str());
    if target.len() > TARGET_MAX_BYTES {
        let what = format!(
            "found {} bytes of path and query; wanted at most {TARGET_MAX_BYTES}",
            target.len()
        );
        return dialects::stray(&served, request.uri().path(), Kind::PathTooLong, &what);
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
        let room = Room::default();
        let read = async |body: Body, most| read(&room, body, most, second).await.map(|held| held.bytes);
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
    async fn invariant_11_all_bodies_together_have_so_much_room_and_no_more() {
        let room = Room::default();
        let large = || Body::from(vec![b'x'; BODY_MAX_BYTES]);
        let mut held = Vec::new();
        for _ in 0..BODIES_MAX_BYTES / BODY_MAX_BYTES {
            held.push(
                read(&room, large(), BODY_MAX_BYTES, Duration::from_secs(5))
                    .await
                    .expect("room"),
            );
        }
        let one_more = read(&room, Body::from("x"), 4, Duration::from_millis(10)).await;
        assert_eq!(one_more.map(|held| held.bytes), Err(BadBody::NotWhole));
        held.pop();
        let then = read(&room, large(), BODY_MAX_BYTES, Duration::from_secs(5)).await;
        assert!(then.is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(
            read(&Room::default(), never, 4, Duration::ZERO)
                .await
                .map(|held| held.bytes),
            Err(BadBody::NotWhole)
        );
    }
}
