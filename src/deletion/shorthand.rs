//! How entries are kept: as JSON, and what is written most often in short. A deletion writes the same four words again and
//! again, and what it writes is logged, copied and kept; `sexton.spelled` (migrations/0001_house.sql) spells it out.

use serde_json::Value;

use super::{Aim, CompletedResult, End, Entry, Verdict};

/// What stands before the entries of a record: its tenure, its lane, and when it was written.
const BEFORE_ENTRIES: usize = 3;

/// Each entry behind a comma, as they follow what else stands in a record.
pub fn write(entries: &[Entry]) -> String {
    let mut all = String::with_capacity(entries.len() * 16);
    for entry in entries {
        all.push(',');
        match short(entry) {
            Some(short) => all.push_str(&short),
            None => all.push_str(&serde_json::to_string(entry).unwrap_or_default()),
        }
    }
    all
}

fn short(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Intent {
            step,
            aim: Aim::Do,
            attempt,
        } => Some(format!("[\"i\",{step},{attempt}]")),
        Entry::Verdict {
            step,
            aim: Aim::Do,
            attempt,
            verdict,
            found_out: false,
            due: None,
        } => match verdict {
            Verdict::Done { proof: None } => Some(format!("[\"d\",{step},{attempt}]")),
            Verdict::AlreadyGone => Some(format!("[\"g\",{step},{attempt}]")),
            _ => None,
        },
        Entry::Ended {
            end: End::Completed { result },
        } => Some(format!("[\"e\",\"{}\"]", result.word())),
        _ => None,
    }
}

/// Records with commas between them, the newest first, as a row keeps them. The entries of each, the oldest first.
pub fn read(records: &str) -> Result<Vec<Vec<Entry>>, String> {
    let failed = |error: serde_json::Error| error.to_string();
    let records: Vec<Vec<Value>> = serde_json::from_str(&format!("[{records}]")).map_err(failed)?;
    let entries = |record: Vec<Value>| record.into_iter().skip(BEFORE_ENTRIES).map(spelled).collect();
    records.into_iter().rev().map(entries).collect()
}

fn spelled(entry: Value) -> Result<Entry, String> {
    let Value::Array(words) = &entry else {
        return serde_json::from_value(entry).map_err(|error| error.to_string());
    };
    let unknown = || format!("found {entry} in a journal; wanted an entry");
    let number = |at: usize| words.get(at).and_then(Value::as_u64).ok_or_else(unknown);
    let step = || number(1).and_then(|number| number.try_into().map_err(|_| unknown()));
    let attempt = || number(2).and_then(|number| number.try_into().map_err(|_| unknown()));
    let verdict = |verdict| {
        Ok(Entry::Verdict {
            step: step()?,
            aim: Aim::Do,
            attempt: attempt()?,
            verdict,
            found_out: false,
            due: None,
        })
    };
    match words.first().and_then(Value::as_str) {
        Some("i") => Ok(Entry::Intent {
            step: step()?,
            aim: Aim::Do,
            attempt: attempt()?,
        }),
        Some("d") => verdict(Verdict::done()),
        Some("g") => verdict(Verdict::AlreadyGone),
        Some("e") => {
            let word = words.get(1).cloned().unwrap_or_default();
            let result: CompletedResult = serde_json::from_value(word).map_err(|_| unknown())?;
            Ok(Entry::Ended {
                end: End::Completed { result },
            })
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
#[path = "shorthand_tests.rs"]
mod tests;
