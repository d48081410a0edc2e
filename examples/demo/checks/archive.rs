//! Every archive, read back and held against what the seed says: byte for byte, and nothing beside it.
//!
//! The rows are written down here as Postgres writes them, from the seed alone; so an archive that was read wrongly,
//! cut, or taken from the wrong computer cannot pass.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Sheet, World};
use crate::Fault;
use crate::estate::{Computer, Message, Session};

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    // The journal knows where the archive of each computer is; that is how one is found again.
    let proofs: Vec<(String, String)> = sqlx::query_as(
        "select d.target_id, e->'verdict'->'proof'->>'path'
         from sexton.deletions d
         join sexton.journal j on j.deletion_id = d.id
         cross join jsonb_array_elements(j.entries::jsonb) e
         where e->'verdict'->>'is' = 'done' and e->'verdict'->'proof' ? 'path'",
    )
    .fetch_all(world.sexton)
    .await?;
    let proofs: HashMap<String, String> = proofs.into_iter().collect();
    let folder = world.stage.archive();
    let mut off = Vec::new();
    let (mut sessions, mut known) = (0, Vec::new());
    for computer in world.estate.going() {
        sessions += computer.sessions.len();
        let read = match proofs.get(&computer.id) {
            Some(path) => {
                known.push(folder.join(path));
                read_back(&folder.join(path))
            }
            None => Err("the journal names no archive".into()),
        };
        match read {
            Ok(found) if found == lines(computer) => {}
            Ok(_) => off.push(format!("{}: other bytes than the seed's", computer.id)),
            Err(fault) => off.push(format!("{}: {fault}", computer.id)),
        }
    }
    let what = "every session is in its archive, byte for byte, and can be read back";
    sheet.check(what, sessions, &off);

    let mut files = Vec::new();
    walk(&folder, &mut files)?;
    let strange: Vec<String> = files
        .iter()
        .filter(|file| !known.contains(file))
        .map(|file| file.display().to_string())
        .collect();
    let what = "the archive holds those and nothing else";
    sheet.check(what, files.len(), &strange);
    Ok(())
}

fn read_back(path: &Path) -> Result<String, Fault> {
    let packed = std::fs::read(path)?;
    Ok(String::from_utf8(zstd::decode_all(packed.as_slice())?)?)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// As the plan's query gives them, in its order.
fn lines(computer: &Computer) -> String {
    computer
        .sessions
        .iter()
        .map(|session| line(session, &computer.id) + "\n")
        .collect()
}

fn line(session: &Session, computer: &str) -> String {
    let messages: Vec<String> = session.messages.iter().map(message).collect();
    format!(
        r#"{{"id":{},"computer_id":{},"title":{},"created_at":{},"messages":[{}]}}"#,
        json!(session.id),
        json!(computer),
        json!(session.title),
        json!(moment(session.created_at)),
        messages.join(", ")
    )
}

fn message(message: &Message) -> String {
    format!(
        r#"{{"id" : {}, "role" : {}, "body" : {}, "created_at" : {}}}"#,
        message.id,
        json!(message.role),
        json!(message.body),
        json!(moment(message.created_at))
    )
}

/// Without the zeros at the end of a fraction, and without an empty one.
fn moment(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
    let whole = at.format(format).unwrap_or_default();
    format!("{}+00:00", whole.trim_end_matches('0').trim_end_matches('.'))
}
