//! Every archive, read back and held against what the seed says: byte for byte, and nothing beside it.

use std::collections::HashMap;
use std::io;

use super::{Sheet, World};
use crate::Fault;
use crate::worlds::archive::{files_in, lines, read_back};

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
            None => Err(io::Error::other("the journal names no archive")),
        };
        match read {
            Ok(found) if found == lines(computer) => {}
            Ok(_) => off.push(format!("{}: other bytes than the seed's", computer.id)),
            Err(fault) => off.push(format!("{}: {fault}", computer.id)),
        }
    }
    let what = "every session is in its archive, byte for byte, and can be read back";
    sheet.check(what, sessions, &off);

    let files = files_in(&folder)?;
    let strange: Vec<String> = files
        .iter()
        .filter(|file| !known.contains(file))
        .map(|file| file.display().to_string())
        .collect();
    let what = "the archive holds those and nothing else";
    sheet.check(what, files.len(), &strange);
    Ok(())
}
