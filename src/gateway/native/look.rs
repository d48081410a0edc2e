//! Looking: one deletion by any of its ids, and lists of them.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::{away, caller};
use super::problem::{Kind, LookProblems, Problem};
use super::resource::{Deletion, Outcome, State as Stands, TargetName};
use crate::decide::access::Act;
use crate::deletion::{DeletionId, TargetId, TargetType};
use crate::gateway::Desk;
use crate::store::{Filter, Listed, Which};

/// Items of one page.
const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 200;

/// Look at one deletion.
///
/// By the id that `Location` named, or that of a request or a deletion. The call's is known at once, before admission.
#[utoipa::path(
    get, path = "/v1/deletions/{id}", tag = "deletions",
    params(("id" = Uuid, Path, description = "Of the call, the request or the deletion")),
    responses(
        (status = 200, body = Deletion),
        LookProblems,
    ),
)]
pub(super) async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = caller(&desk, &headers, Act::See).await?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::not_found())?;
    let deletion = Deletion::read(&desk, &principal.tenant, id).await?;
    Ok((StatusCode::OK, Json(deletion.ok_or_else(Problem::not_found)?)).into_response())
}

/// A page of deletions, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Page {
    items: Vec<Item>,
    /// Of the next page; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Item {
    /// Of the deletion.
    id: Uuid,
    state: Stands,
    target: TargetName,
    #[serde(with = "time::serde::rfc3339")]
    admitted_at: OffsetDateTime,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    ended_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Outcome>,
}

/// List deletions, newest first.
#[utoipa::path(
    get, path = "/v1/deletions", tag = "deletions",
    params(
        ("state" = inline(Option<ListedState>), Query, description = "Left out, all"),
        ("type" = Option<String>, Query, description = "Of the target", max_length = 64,
            pattern = r"^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*$"),
        ("target" = Option<String>, Query, description = "Its id", min_length = 1, max_length = 512,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"),
        ("limit" = Option<u32>, Query, description = "Items of a page", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next` of the page before",
            pattern = r"^[A-Za-z0-9_-]{21}[AQgw]$"),
    ),
    responses(
        (status = 200, body = Page),
        LookProblems,
    ),
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Page>, Problem> {
    let principal = caller(&desk, &headers, Act::See).await?;
    let mut filter = filter(query.as_deref().unwrap_or_default())?;
    filter.tenant = Some(principal.tenant);
    let page = filter.rows;
    // One more than is shown tells whether there is a next page.
    filter.rows = page + 1;
    let mut found = desk
        .calls
        .store()
        .list(&filter)
        .await
        .map_err(|error| away(&error))?;
    let more = found.len() > page as usize;
    found.truncate(page as usize);
    let next = found.last().filter(|_| more).map(|last| cursor(last.id));
    Ok(Json(Page {
        items: found.into_iter().map(item).collect(),
        next,
    }))
}

/// Which deletions a list has.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used; the words are read below")]
pub(super) enum ListedState {
    Open,
    Parked,
    Waiting,
    Ended,
    All,
}

fn filter(query: &str) -> Result<Filter, Problem> {
    let mut filter = Filter {
        which: Which::All,
        rows: PAGE_DEFAULT,
        ..Filter::default()
    };
    let wrong = |name: &str, wanted: &str| {
        Err(Problem::new(
            Kind::Invalid,
            format!("{name}: found something else; wanted {wanted}"),
        ))
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.iter().any(|one| *one == name) {
            return wrong("the query", "each name once");
        }
        seen.push(name.clone().into_owned());
        match &*name {
            "state" => {
                filter.which = match &*value {
                    "open" => Which::Open,
                    "parked" => Which::Parked,
                    "waiting" => Which::Waiting,
                    "ended" => Which::Ended,
                    "all" => Which::All,
                    _ => return wrong("state", "open, parked, waiting, ended or all"),
                }
            }
            "type" => match TargetType::parse(value.as_ref()) {
                Ok(kind) => filter.target_type = Some(kind),
                Err(bad) => return wrong("type", bad.wanted),
            },
            "target" => match TargetId::parse(value.as_ref()) {
                Ok(id) => filter.target_id = Some(id.as_str().to_owned()),
                Err(bad) => return wrong("target", bad.wanted),
            },
            "limit" => match value.parse() {
                Ok(rows) if (1..=PAGE_MAX).contains(&rows) => filter.rows = rows,
                _ => return wrong("limit", "a number from 1 to 200"),
            },
            "cursor" => match read_cursor(&value) {
                Some(id) => filter.before = Some(DeletionId(id)),
                None => return wrong("cursor", "the `next` of a page"),
            },
            _ => return wrong("the query", "only state, type, target, limit and cursor"),
        }
    }
    Ok(filter)
}

/// Opaque, so that what a page goes by may change.
fn cursor(last: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(last.as_bytes())
}

fn read_cursor(text: &str) -> Option<Uuid> {
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn item(listed: Listed) -> Item {
    Item {
        id: listed.id,
        state: match listed.state.as_str() {
            "ended" => Stands::Ended,
            "parked" => Stands::Parked,
            "queued" => Stands::Queued,
            "in_hand" => Stands::InHand,
            "due" => Stands::Due,
            _ => Stands::Waiting,
        },
        target: TargetName {
            kind: listed.target_type,
            id: listed.target_id,
        },
        admitted_at: listed.admitted_at,
        ended_at: listed.ended_at,
        result: listed.result.as_deref().and_then(Outcome::parse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole_or_turned_away() {
        let read = |query: &str| filter(query).map_err(|_| ());
        let all = read("").expect("no filter");
        assert_eq!((all.which, all.rows), (Which::All, PAGE_DEFAULT));
        let some = read("state=parked&type=a.b&target=x%20y&limit=200").expect("a filter");
        assert_eq!(
            (some.which, some.rows, some.target_id.as_deref()),
            (Which::Parked, 200, Some("x y"))
        );
        let id = Uuid::from_bytes([9; 16]);
        let next = read(&format!("cursor={}", cursor(id))).expect("a cursor");
        assert_eq!(next.before, Some(DeletionId(id)));
        for wrong in [
            "state=done",
            "type=A",
            "target=",
            "target=a%00",
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=x",
            "tenant=other",
            "state=open&state=all",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
