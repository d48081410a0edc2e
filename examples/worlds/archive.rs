//! What must stand in the archive of a computer, and what does.
//!
//! The rows are written down here as Postgres writes them, from the seed alone; so an archive that was read wrongly,
//! cut, or taken from the wrong computer cannot pass.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::estate::{Computer, Message, Session};

pub(crate) fn read_back(path: &Path) -> io::Result<String> {
    let text = zstd::decode_all(std::fs::read(path)?.as_slice())?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// In the folder and in those below it.
pub(crate) fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    Ok(files)
}

/// As the plan's query gives them, in its order.
pub(crate) fn lines(computer: &Computer) -> String {
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
