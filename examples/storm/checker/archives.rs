//! The archives of computers: of each that is gone exactly one, byte for byte what its sessions were; of others none.

use std::collections::HashMap;
use std::path::PathBuf;

use super::things::Said;
use super::{Evidence, Fates, Verdict};
use crate::Fault;
use crate::worlds::archive::{files_in, lines, read_back};

pub(crate) async fn check(
    evidence: &Evidence<'_>,
    fates: &Fates,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let said = Said::of(evidence, fates);
    let mut files: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for file in files_in(evidence.archive)? {
        // TENANT/COMPUTER/sessions…: somebody else's file is nobody's archive.
        let below = file.strip_prefix(evidence.archive)?;
        let computer = below
            .components()
            .nth(1)
            .map(|part| part.as_os_str().to_string_lossy());
        files
            .entry(computer.unwrap_or_default().into_owned())
            .or_default()
            .push(file);
    }
    let mut looked = 0;
    for computer in &evidence.world.estate.computers {
        let found = files.remove(&computer.id).unwrap_or_default();
        let told = said.gone("factory.computer", &computer.id);
        match (told, found.as_slice()) {
            (true, []) => verdict
                .lost
                .push(format!("{}: deleted, and there is no archive of it", computer.id)),
            (true, [file]) => match read_back(file) {
                Ok(text) if text == lines(computer) => {}
                Ok(_) => verdict.lost.push(format!(
                    "{}: its archive is not what its sessions were",
                    computer.id
                )),
                Err(error) => verdict
                    .lost
                    .push(format!("{}: its archive: {error}", computer.id)),
            },
            (false, []) => {}
            (_, all) => verdict.twice.push(format!(
                "{}: archives {all:?}, told to be deleted: {told}",
                computer.id
            )),
        }
        looked += usize::from(told);
    }
    for (name, strange) in files {
        verdict
            .twice
            .push(format!("{name:?}: {strange:?} are nobody's archives"));
    }
    verdict.looked("archives, byte for byte", looked);
    Ok(())
}
