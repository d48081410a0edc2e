//! The journals: without a gap, with one end, and no step that was run again after it was settled.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Evidence, Verdict};
use crate::Fault;

/// Of a step and an aim: how many attempts were begun, and whether it is settled.
#[derive(Default)]
struct Track {
    attempts: BTreeSet<u64>,
    intents: u64,
    settled: bool,
    /// Something was changed, or may have been.
    touched: bool,
}

pub(crate) async fn check(evidence: &Evidence<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
    let records: Vec<(String, i32, String)> = sqlx::query_as(
        "select deletion_id::text, seq, entries::text from sexton.journal order by deletion_id, seq",
    )
    .fetch_all(evidence.sexton)
    .await?;
    let ended: Vec<(String, i32, String)> =
        sqlx::query_as("select id::text, seq, result from sexton.deletions")
            .fetch_all(evidence.sexton)
            .await?;
    let mut journals: BTreeMap<String, Vec<(i32, Value)>> = BTreeMap::new();
    for (deletion, seq, entries) in records {
        journals
            .entry(deletion)
            .or_default()
            .push((seq, serde_json::from_str(&entries)?));
    }
    for (deletion, seq, result) in &ended {
        match journals.get(deletion) {
            Some(journal) => one(deletion, *seq, result, journal, verdict),
            None => verdict
                .lost
                .push(format!("deletion {deletion} ended {result:?} without a journal")),
        }
    }
    verdict.looked("journals without a gap and with one end", ended.len());
    Ok(())
}

fn one(deletion: &str, last: i32, result: &str, journal: &[(i32, Value)], verdict: &mut Verdict) {
    let has_gap = journal.iter().zip(1..).any(|((seq, _), wanted)| *seq != wanted);
    if has_gap || i32::try_from(journal.len()) != Ok(last) {
        verdict.lost.push(format!(
            "journal of {deletion}: {} records, the last is {last}",
            journal.len()
        ));
    }
    let mut tracks: BTreeMap<(u64, bool), Track> = BTreeMap::new();
    let mut ends = 0;
    for entry in journal
        .iter()
        .flat_map(|(_, entries)| entries.as_array().into_iter().flatten())
    {
        if ends > 0 {
            verdict
                .twice
                .push(format!("journal of {deletion} goes on after its end: {entry}"));
        }
        let step = (entry["step"].as_u64().unwrap_or(u64::MAX), entry["aim"] == "undo");
        match entry["e"].as_str().unwrap_or_default() {
            "ended" => ends += 1,
            "intent" => {
                let track = tracks.entry(step).or_default();
                if track.settled {
                    verdict.twice.push(format!(
                        "journal of {deletion}: begun again after it was settled: {entry}"
                    ));
                }
                track.intents += 1;
                track.attempts.insert(entry["attempt"].as_u64().unwrap_or(0));
            }
            "verdict" => {
                let track = tracks.entry(step).or_default();
                let is = entry["verdict"]["is"].as_str().unwrap_or_default();
                track.settled |= matches!(is, "done" | "already_gone" | "absent" | "skipped");
                track.touched |= matches!(is, "done" | "unknown");
            }
            _ => {}
        }
    }
    if ends != 1 {
        verdict
            .twice
            .push(format!("journal of {deletion} has {ends} ends, wanted one"));
    }
    verdict.repeats += tracks
        .values()
        .map(|track| track.intents.saturating_sub(1))
        .sum::<u64>();
    if result == "already_gone" && tracks.values().any(|track| track.touched) {
        verdict.unclaimed += 1;
    }
}
