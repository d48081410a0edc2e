//! The targets themselves: what was said to be gone is gone in every part, what was not is as it was; and no effect has
//! changed its target a second time, by the ledger that each database and the provider keep of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;
use sqlx::PgPool;

use super::{Evidence, Fates, Verdict};
use crate::Fault;
use crate::worlds::estate::Computer;

pub(crate) async fn check(
    evidence: &Evidence<'_>,
    fates: &Fates,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let said = Said::of(evidence, fates);
    let stats: Value = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .get(format!("{}/stats", evidence.cloud_url))
        .send()
        .await?
        .json()
        .await?;
    computers(evidence, &said, &stats["machines"], verdict).await?;
    rows(evidence, &said, verdict).await?;
    sessions(evidence, &said, verdict).await?;
    let stores = evidence.stores;
    let mut changes = 0;
    for (name, pool) in [
        ("platform", &stores.platform),
        ("powerdrill", &stores.powerdrill),
        ("pave", &stores.pave),
        ("agno", &stores.agno),
    ] {
        changes += ledger(name, pool, verdict).await?;
    }
    verdict.looked("changes of state, each the only one of its effect", changes);
    Ok(())
}

/// By type and id, what its requests were told.
pub(crate) struct Said<'a>(BTreeMap<(&'static str, &'a str), BTreeSet<&'a str>>);

impl<'a> Said<'a> {
    pub(crate) fn of(evidence: &'a Evidence<'_>, fates: &'a Fates) -> Said<'a> {
        let mut all: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for asked in evidence.asks.iter().flat_map(|ask| &ask.requests) {
            let said = all.entry((asked.kind, asked.id.as_str())).or_default();
            if let Some(fate) = fates.get(&asked.name) {
                said.extend(fate.outcomes.iter().map(String::as_str));
            }
        }
        Said(all)
    }

    pub(crate) fn gone(&self, kind: &'static str, id: &str) -> bool {
        let said = self.0.get(&(kind, id));
        said.is_some_and(|said| said.contains("deleted") || said.contains("already_gone"))
    }
}

/// Gone where it must not be is lost as well: nobody will ever be told.
fn hold(verdict: &mut Verdict, what: &str, said_gone: bool, is_gone: bool, is_whole: bool) {
    match said_gone {
        true if !is_gone => verdict
            .lost
            .push(format!("{what}: told to be deleted, and it is still there")),
        false if !is_whole => verdict
            .lost
            .push(format!("{what}: not as it was, and no outcome says so")),
        _ => {}
    }
}

async fn computers(
    evidence: &Evidence<'_>,
    said: &Said<'_>,
    machines: &Value,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let pool = &evidence.stores.platform;
    let rows: Vec<(String, bool, bool)> =
        sqlx::query_as("select id, deletion_requested_at is not null, deleted_at is not null from computers")
            .fetch_all(pool)
            .await?;
    let rows: HashMap<String, (bool, bool)> = rows.into_iter().map(|(id, a, b)| (id, (a, b))).collect();
    let live_keys = ids(pool, "select id from api_keys where revoked_at is null").await?;
    let archived = ids(pool, "select id from sessions where archived_at is not null").await?;
    let all = &evidence.world.estate.computers;
    for computer in all {
        let Some(&(requested, deleted)) = rows.get(&computer.id) else {
            verdict
                .lost
                .push(format!("{}: its row is gone, which no plan does", computer.id));
            continue;
        };
        let keys = || {
            computer
                .keys
                .iter()
                .filter(|key| key.revoked_at.is_none())
                .map(|key| &key.id)
        };
        let sessions = || computer.sessions.iter().map(|session| &session.id);
        let machine = computer.machine().map(|id| &machines[id]);
        let terminated = machine.is_none_or(|machine| machine["terminated"] == true);
        let running = machine.is_none_or(|machine| machine["terminations"].as_u64().unwrap_or(0) == 0);
        let is_gone = requested
            && deleted
            && terminated
            && keys().all(|key| !live_keys.contains(key))
            && sessions().all(|session| archived.contains(session));
        let is_whole = !requested
            && !deleted
            && running
            && keys().all(|key| live_keys.contains(key))
            && sessions().all(|session| !archived.contains(session));
        let told = said.gone("factory.computer", &computer.id);
        hold(verdict, &computer.id, told, is_gone, is_whole);
        provider(computer, machine, verdict);
    }
    verdict.looked("computers, with keys, sessions and machines", all.len());
    Ok(())
}

/// The provider counts what it did; and whoever asks twice must ask under the same key.
fn provider(computer: &Computer, machine: Option<&Value>, verdict: &mut Verdict) {
    let Some(machine) = machine else { return };
    let count = |name: &str| machine[name].as_u64().unwrap_or(0);
    if count("terminations") > 1 || count("keys") > 1 {
        verdict.twice.push(format!(
            "{}: its machine was terminated {} times, under {} keys",
            computer.id,
            count("terminations"),
            count("keys")
        ));
    }
}

/// Those that are rows, with all that hangs on them.
async fn rows(evidence: &Evidence<'_>, said: &Said<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
    let (world, stores) = (evidence.world, evidence.stores);
    let agno = ids(&stores.agno, "select session_id from ai.agno_sessions").await?;
    let of_agno = ids(
        &stores.agno,
        "select session_id from ai.agno_runs union select agno_session_id from ai.agno_transcripts
         union select session_id from ai.agno_compactions union select session_id from ai.agno_tool_results",
    )
    .await?;
    for session in &world.agno {
        let (there, parts) = (agno.contains(&session.id), of_agno.contains(&session.id));
        let told = said.gone("agno.session", &session.id);
        hold(verdict, &session.id, told, !there && !parts, there && parts);
    }
    verdict.looked("sessions of Agno", world.agno.len());

    let powerdrill = ids(
        &stores.powerdrill,
        "select id from sessions where deleting_at is null",
    )
    .await?;
    let fenced = ids(
        &stores.powerdrill,
        "select id from sessions where deleting_at is not null",
    )
    .await?;
    let jobs: Vec<(String, i64)> =
        sqlx::query_as("select session_id, count(*) from jobs group by session_id")
            .fetch_all(&stores.powerdrill)
            .await?;
    let jobs: HashMap<String, i64> = jobs.into_iter().collect();
    for session in &world.powerdrill {
        let left = jobs.get(&session.id).copied().unwrap_or(0);
        let there = powerdrill.contains(&session.id);
        let is_gone = !there && !fenced.contains(&session.id) && left == 0;
        let is_whole = there && usize::try_from(left) == Ok(session.jobs);
        let told = said.gone("powerdrill.session", &session.id);
        hold(verdict, &session.id, told, is_gone, is_whole);
    }
    verdict.looked("sessions of Powerdrill", world.powerdrill.len());

    let pave = ids(&stores.pave, "select session_key from sessions").await?;
    for session in &world.pave {
        let there = pave.contains(&session.key);
        hold(
            verdict,
            &session.key,
            said.gone("pave.session", &session.key),
            !there,
            there,
        );
    }
    verdict.looked("sessions of Pave", world.pave.len());
    Ok(())
}

/// Softly deleted is gone for good once its window has ended, unless it was taken back; then nothing of it is missing.
async fn sessions(evidence: &Evidence<'_>, said: &Said<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
    let pool = &evidence.stores.platform;
    let visible = ids(pool, "select id from sessions where deleted_at is null").await?;
    let hidden = ids(pool, "select id from sessions where deleted_at is not null").await?;
    let messages: Vec<(String, i64)> = sqlx::query_as(
        "select session_id, count(*) from messages where session_id like 'fs\\_%' group by session_id",
    )
    .fetch_all(pool)
    .await?;
    let messages: HashMap<String, i64> = messages.into_iter().collect();
    for session in &evidence.world.sessions {
        let outcomes = said.0.get(&("factory.session", session.id.as_str()));
        let has = |word| outcomes.is_some_and(|outcomes| outcomes.contains(word));
        let told = has("soft_deleted") && !has("restored");
        let left = messages.get(&session.id).copied().unwrap_or(0);
        let is_gone = !visible.contains(&session.id) && !hidden.contains(&session.id) && left == 0;
        let is_whole = visible.contains(&session.id) && usize::try_from(left) == Ok(session.messages);
        hold(verdict, &session.id, told, is_gone, is_whole);
    }
    verdict.looked(
        "sessions of Factory, softly deleted",
        evidence.world.sessions.len(),
    );
    early(evidence, verdict);
    Ok(())
}

/// Nothing is erased before its window has ended. Both moments are RFC 3339 in UTC, so they compare as texts do.
fn early(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let mut until: HashMap<&str, &str> = HashMap::new();
    let events = || evidence.heard.events.values();
    for event in events().filter(|event| event.kind() == "soft_deleted") {
        until.insert(
            event.text("/data/target/id"),
            event.text("/data/detail/restorable_until"),
        );
    }
    let mut purges = 0;
    for event in events().filter(|event| event.text("/data/action") == "purge" && event.is_final()) {
        purges += 1;
        let id = event.text("/data/target/id");
        if until.get(id).is_none_or(|until| event.text("/time") < *until) {
            verdict
                .lost
                .push(format!("{id}: erased before its restore window had ended"));
        }
    }
    verdict.looked("purges, none of them early", purges);
}

/// A change that was not taken back in between may not come again.
async fn ledger(database: &str, pool: &PgPool, verdict: &mut Verdict) -> Result<usize, Fault> {
    let changes: Vec<(String, String, String)> =
        sqlx::query_as("select what, id, change from storm_changes order by at")
            .fetch_all(pool)
            .await?;
    let mut stands: HashSet<(&str, &str)> = HashSet::new();
    for (what, id, change) in &changes {
        let effect = (what.as_str(), id.as_str());
        let is_new = match change.as_str() {
            "unset" => stands.remove(&effect),
            _ => stands.insert(effect),
        };
        if !is_new {
            verdict
                .twice
                .push(format!("{database} {what} of {id}: {change} a second time"));
        }
    }
    Ok(changes.len())
}

async fn ids(pool: &PgPool, sql: &'static str) -> Result<HashSet<String>, Fault> {
    Ok(sqlx::query_scalar::<_, String>(sql)
        .fetch_all(pool)
        .await?
        .into_iter()
        .collect())
}
