//! The platform's rows: what had to change, in which order, and what had to stay as it was.

use std::collections::HashMap;

use sqlx::FromRow;
use time::OffsetDateTime;

use super::cloud::Machines;
use super::{Sheet, World};
use crate::Fault;
use crate::worlds::estate::Computer;

type At = Option<OffsetDateTime>;

#[derive(FromRow)]
struct Row {
    id: String,
    organization_id: String,
    deletion_requested_at: At,
    deleted_at: At,
    generation: i64,
}

struct Rows {
    computers: HashMap<String, Row>,
    /// `revoked_at` by key.
    keys: HashMap<String, At>,
    /// `archived_at` by session.
    sessions: HashMap<String, At>,
}

pub(crate) async fn check(world: &World<'_>, machines: &Machines, sheet: &mut Sheet) -> Result<(), Fault> {
    let rows = read(world).await?;
    let going = || world.estate.going();

    let keys = going().flat_map(|computer| &computer.keys);
    let live: Vec<&str> = keys
        .clone()
        .filter(|key| rows.keys.get(&key.id).is_none_or(Option::is_none))
        .map(|key| key.id.as_str())
        .collect();
    sheet.check(
        "no key of a deleted computer is live",
        keys.clone().count(),
        &live,
    );

    let old = keys.filter(|key| key.revoked_at.is_some());
    let changed: Vec<&str> = old
        .clone()
        .filter(|key| rows.keys.get(&key.id) != Some(&key.revoked_at))
        .map(|key| key.id.as_str())
        .collect();
    sheet.check("keys revoked long before kept their date", old.count(), &changed);

    let unmarked: Vec<&str> = going()
        .filter(|computer| {
            rows.computers
                .get(&computer.id)
                .is_none_or(|row| row.deleted_at.is_none())
        })
        .map(|computer| computer.id.as_str())
        .collect();
    sheet.check(
        "`deleted_at` is set for every deleted computer",
        going().count(),
        &unmarked,
    );

    let out_of_order: Vec<String> = going()
        .filter_map(|computer| {
            let why = disorder(computer, &rows, machines)?;
            Some(format!("{}: {why}", computer.id))
        })
        .collect();
    sheet.check(
        "requested, then keys, then sessions, then the machine, then `deleted_at`",
        going().count(),
        &out_of_order,
    );

    let touched: Vec<&str> = world
        .estate
        .staying()
        .filter(|computer| !untouched(computer, &rows))
        .map(|computer| computer.id.as_str())
        .collect();
    let staying = world.estate.staying().count();
    sheet.check("computers nobody may delete are as they were", staying, &touched);

    let (wanted, found) = (contents(world), stored(world).await?);
    let lost: Vec<String> = (wanted != found)
        .then(|| format!("wanted (sessions, messages, bytes) {wanted:?}, found {found:?}"))
        .into_iter()
        .collect();
    sheet.check("no session and no message was lost on the way", 1, &lost);
    Ok(())
}

async fn read(world: &World<'_>) -> Result<Rows, Fault> {
    let pool = world.platform;
    let computers: Vec<Row> = sqlx::query_as(
        "select id, organization_id, deletion_requested_at, deleted_at, generation from computers",
    )
    .fetch_all(pool)
    .await?;
    let keys: Vec<(String, At)> = sqlx::query_as("select id, revoked_at from api_keys")
        .fetch_all(pool)
        .await?;
    let sessions: Vec<(String, At)> = sqlx::query_as("select id, archived_at from sessions")
        .fetch_all(pool)
        .await?;
    Ok(Rows {
        computers: computers.into_iter().map(|row| (row.id.clone(), row)).collect(),
        keys: keys.into_iter().collect(),
        sessions: sessions.into_iter().collect(),
    })
}

/// What came before what it had to follow.
fn disorder(computer: &Computer, rows: &Rows, machines: &Machines) -> Option<String> {
    let Some(row) = rows.computers.get(&computer.id) else {
        return Some("its row is gone".into());
    };
    let ours = computer.keys.iter().filter(|key| key.revoked_at.is_none());
    let stages: Vec<(&str, Vec<At>)> = vec![
        ("deletion_requested_at", vec![row.deletion_requested_at]),
        (
            "revoked_at",
            ours.map(|key| rows.keys.get(&key.id).copied().flatten())
                .collect(),
        ),
        (
            "archived_at",
            computer
                .sessions
                .iter()
                .map(|session| rows.sessions.get(&session.id).copied().flatten())
                .collect(),
        ),
        (
            "the machine's end",
            computer
                .machine()
                .map(|id| machines.terminated_at(id))
                .into_iter()
                .collect(),
        ),
        ("deleted_at", vec![row.deleted_at]),
    ];
    let mut latest: Option<(&str, OffsetDateTime)> = None;
    for (name, moments) in stages {
        let mut reached = latest;
        for moment in moments {
            let Some(moment) = moment else {
                return Some(format!("{name} is not set"));
            };
            if let Some((before, _)) = latest.filter(|(_, at)| moment < *at) {
                return Some(format!("{name} is before {before}"));
            }
            reached = Some(reached.map_or((name, moment), |(_, at)| (name, at.max(moment))));
        }
        latest = reached;
    }
    None
}

fn untouched(computer: &Computer, rows: &Rows) -> bool {
    let row = rows.computers.get(&computer.id).is_some_and(|row| {
        row.organization_id == computer.organization
            && row.deletion_requested_at.is_none()
            && row.deleted_at.is_none()
            && row.generation == 0
    });
    row && computer
        .keys
        .iter()
        .all(|key| rows.keys.get(&key.id) == Some(&key.revoked_at))
        && computer
            .sessions
            .iter()
            .all(|session| rows.sessions.get(&session.id) == Some(&None))
}

/// Sessions, messages and their bytes as the seed has them.
fn contents(world: &World<'_>) -> (usize, usize, usize) {
    let sessions = || {
        world
            .estate
            .computers
            .iter()
            .flat_map(|computer| &computer.sessions)
    };
    let messages = || sessions().flat_map(|session| &session.messages);
    (
        sessions().count(),
        messages().count(),
        messages().map(|message| message.body.len()).sum(),
    )
}

async fn stored(world: &World<'_>) -> Result<(usize, usize, usize), Fault> {
    let (sessions, messages, bytes): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from sessions where id not like 'fs\\_%'), count(*), coalesce(sum(octet_length(body)), 0)
         from messages where session_id not like 'fs\\_%'",
    )
    .fetch_one(world.platform)
    .await?;
    Ok((sessions.try_into()?, messages.try_into()?, bytes.try_into()?))
}
