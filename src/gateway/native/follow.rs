//! Following: what becomes of a request, as server-sent events, until its end.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::unfold;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::{away, caller};
use super::problem::{Kind, LookProblems, Problem};
use crate::decide::access::Act;
use crate::gateway::Desk;
use crate::store::Pulse;

/// Proxies drop what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event of the stream.
#[derive(Serialize, ToSchema)]
pub(super) struct StateEvent {
    /// `state`
    event: String,
    /// The sequence
    id: String,
    /// JSON with `state`, `sequence`, and once they are known `deletion_id` and `result`
    data: String,
}

/// Follow one deletion.
///
/// Each event is named `state` and holds `state`, `sequence` and, at the end, `result`; its id is the sequence, which
/// `Last-Event-ID` goes on from. The stream ends after the end, or when a person must look.
#[utoipa::path(
    get, path = "/v1/deletions/{id}/events", tag = "deletions",
    params(
        ("id" = Uuid, Path, description = "Of the call, the request or the deletion"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
    ),
    responses(
        (status = 200, body = StateEvent, content_type = "text/event-stream"),
        (status = 204, description = "The last event of all was seen already"),
        LookProblems,
    ),
)]
pub(super) async fn events(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = caller(&desk, &headers, Act::See).await?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::not_found())?;
    let known = desk.calls.store().known_as(&principal.tenant, id).await;
    let known = known
        .map_err(|error| away(&error))?
        .ok_or_else(Problem::not_found)?;
    if known.batch.is_some() {
        return Err(Problem::not_found());
    }
    let seen: Option<i32> = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    // A browser comes back for ever, unless it is told that there is no more.
    if let Some(seen) = seen {
        let now = desk
            .calls
            .store()
            .pulses(&[id])
            .await
            .map_err(|error| away(&error))?;
        if now.iter().any(|(_, pulse)| pulse.is_last() && pulse.seq <= seen) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    let follower = desk.following.follow(id).ok_or_else(|| {
        Problem::new(
            Kind::Unavailable,
            "found as many followers as this gateway serves; ask again",
        )
        .after(super::caller::AGAIN_AFTER)
    })?;
    let stopper = desk.stopper.clone();
    let events = unfold(Some((follower, seen)), |state| async move {
        let (mut follower, seen) = state?;
        loop {
            let pulse = follower.next().await?;
            let last = pulse.is_last();
            // Seen already; but an end is told to whoever comes back after it.
            if !last && seen.is_some_and(|seen| pulse.seq <= seen) {
                continue;
            }
            let next = (!last).then_some((follower, None));
            return Some((Ok::<_, Infallible>(event(&pulse)), next));
        }
    });
    let events = events.take_until(async move { stopper.draining().await });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

fn event(pulse: &Pulse) -> Event {
    let mut data = json!({"state": pulse.state, "sequence": pulse.seq});
    if let Some(result) = &pulse.result {
        data["result"] = result.as_str().into();
    }
    if let Some(deletion) = pulse.deletion {
        data["deletion_id"] = deletion.to_string().into();
    }
    Event::default()
        .event("state")
        .id(pulse.seq.to_string())
        .data(data.to_string())
}
