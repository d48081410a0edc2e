//! What was said of each request: exactly one outcome, and one of those that it may have.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Verdict};
use crate::Fault;
use crate::asks::Asked;
use crate::ear::{Event, Heard};

/// Turned away for its neighbours, a request that comes again may be accepted (ARCHITECTURE.md says so).
const FOR_ITS_NEIGHBOURS: [&str; 2] = ["rejected nothing_to_do", "rejected slot_taken"];

#[derive(Debug, Default)]
pub(crate) struct Fate {
    pub(crate) outcomes: BTreeSet<String>,
    /// Event ids of outcomes, without rejections: those have no id that outlives a crash.
    events: BTreeSet<String>,
    requests: BTreeSet<String>,
    deletions: BTreeSet<String>,
}

/// By the name of the request.
pub(crate) type Fates = BTreeMap<String, Fate>;

pub(crate) fn fates(heard: &Heard) -> Fates {
    let mut fates = Fates::new();
    for (id, event) in &heard.events {
        if !event.is_final() || event.text("/data/action") == "purge" || is_a_purge_turned_away(event) {
            continue;
        }
        let fate = fates.entry(event.name().to_owned()).or_default();
        fate.outcomes.insert(event.outcome());
        if event.kind() != "rejected" {
            fate.events.insert(id.clone());
            fate.requests.insert(event.text("/data/request_id").to_owned());
            fate.deletions.insert(event.text("/data/deletion_id").to_owned());
        }
    }
    fates
}

pub(crate) async fn check(
    evidence: &Evidence<'_>,
    fates: &Fates,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let (mut looked, mut names) = (0, BTreeSet::new());
    for (ask, sent) in evidence.asks.iter().zip(&evidence.posted.sent) {
        for asked in &ask.requests {
            names.insert(asked.name.as_str());
            looked += 1;
            if sent.confirmed == 0 {
                verdict.stuck.push(format!(
                    "{}: published {} times, never confirmed",
                    asked.name, sent.published
                ));
            }
            match fates.get(&asked.name) {
                Some(fate) => one(asked, fate, verdict),
                None => verdict
                    .lost
                    .push(format!("{}: confirmed, and has no outcome", asked.name)),
            }
        }
    }
    verdict.looked("requests with an outcome", looked);
    for id in &evidence.heard.changed {
        verdict
            .twice
            .push(format!("event {id}: two things were said under one id"));
    }
    for (name, fate) in fates {
        if !names.contains(name.as_str()) {
            verdict
                .twice
                .push(format!("{name}: nobody asked, and it has {:?}", fate.outcomes));
        }
    }
    of_batches(evidence, verdict);
    purges_turned_away(evidence, verdict);
    reappeared(evidence, verdict);
    against_tables(evidence, verdict).await
}

fn one(asked: &Asked, fate: &Fate, verdict: &mut Verdict) {
    let name = &asked.name;
    let mut outcomes = fate.outcomes.clone();
    if outcomes.len() > 1 {
        for away in FOR_ITS_NEIGHBOURS {
            outcomes.remove(away);
        }
    }
    if outcomes.len() > 1 || fate.events.len() > 1 || fate.requests.len() > 1 || fate.deletions.len() > 1 {
        verdict.twice.push(format!(
            "{name}: {:?} in {} events of requests {:?}, deletions {:?}",
            fate.outcomes,
            fate.events.len(),
            fate.requests,
            fate.deletions
        ));
    }
    for outcome in &outcomes {
        if !asked.may.contains(&outcome.as_str()) {
            verdict
                .lost
                .push(format!("{name}: ended {outcome:?}, wanted {:?}", asked.may));
        }
    }
}

/// The sum of each bulk is said, and the last word of it is the whole.
fn of_batches(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let mut looked = 0;
    for ask in evidence.asks.iter().filter(|ask| ask.requests.len() > 1) {
        looked += 1;
        let said: Vec<&Event> = evidence
            .heard
            .events
            .values()
            .filter(|event| event.kind() == "batch.completed" && event.text("/data/batch") == ask.name)
            .collect();
        let sum = |event: &&Event| -> u64 {
            let counts = event
                .body
                .pointer("/data/detail/counts")
                .and_then(serde_json::Value::as_object);
            counts
                .map(|counts| {
                    ["deleted", "already_gone"]
                        .iter()
                        .filter_map(|word| counts.get(*word)?.as_u64())
                        .sum()
                })
                .unwrap_or(0)
        };
        let wanted = ask.requests.len() as u64;
        match said.as_slice() {
            [] => verdict.lost.push(format!(
                "{}: no batch.completed of its {wanted} requests",
                ask.name
            )),
            [event] if sum(event) == wanted => {}
            all => verdict.twice.push(format!(
                "{}: batch.completed says {:?}, wanted {wanted} once",
                ask.name,
                all.iter().map(sum).collect::<Vec<_>>()
            )),
        }
    }
    verdict.looked("batches with their sums", looked);
}

/// Sexton's own request, whose key names the soft deletion that it would have ended.
fn is_a_purge_turned_away(event: &Event) -> bool {
    event.outcome() == "rejected nothing_to_do" && purged_by(event).is_some()
}

fn purged_by(event: &Event) -> Option<&str> {
    let (deletion, _round) = event.text("/data/key").strip_prefix("purge:")?.rsplit_once(':')?;
    Some(deletion)
}

/// Of a restore and a purge that race the loser is told so. Without a restore there was no race.
fn purges_turned_away(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let all = || evidence.heard.events.values();
    for away in all().filter(|event| is_a_purge_turned_away(event)) {
        let deletion = purged_by(away).unwrap_or_default();
        let hidden =
            all().find(|event| event.kind() == "soft_deleted" && event.text("/data/deletion_id") == deletion);
        let target = hidden.map(|event| event.text("/data/target/id"));
        let restored =
            all().any(|event| event.kind() == "restored" && Some(event.text("/data/target/id")) == target);
        if !restored {
            verdict.twice.push(format!(
                "{}: a purge of {target:?} was turned away, and no restore came first: {}",
                away.text("/data/key"),
                away.body
            ));
        }
    }
}

fn reappeared(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let all = evidence.heard.events.values();
    for event in all.filter(|event| event.kind() == "reappeared") {
        verdict.lost.push(format!(
            "{}: deleted, and there again",
            event.text("/data/target/id")
        ));
    }
}

/// Every request that is kept has been told of, and what was told is what the tables say.
async fn against_tables(evidence: &Evidence<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
    let ended: Vec<(String, String)> = sqlx::query_as(
        "select r.id::text, d.result from sexton.requests r join sexton.deletions d on d.id = r.deletion_id",
    )
    .fetch_all(evidence.sexton)
    .await?;
    let mut told: BTreeMap<&str, String> = BTreeMap::new();
    for event in evidence.heard.events.values().filter(|event| event.is_final()) {
        told.insert(event.text("/data/request_id"), event.outcome());
    }
    for (request, result) in &ended {
        match told.get(request.as_str()) {
            None => verdict
                .lost
                .push(format!("request {request} ended {result:?}, and nobody was told")),
            Some(said) if said != result => verdict.twice.push(format!(
                "request {request} ended {result:?}, and {said:?} was told"
            )),
            Some(_) => {}
        }
    }
    verdict.looked("requests of which the tables and the events agree", ended.len());
    Ok(())
}
