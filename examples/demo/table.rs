//! What happened, as a table: the requests, their ends, the work it took, and how long somebody waited.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::PgPool;

use crate::Fault;
use crate::play::Played;
use crate::say::say;

const LABEL_WIDTH: usize = 34;

pub(crate) async fn print(sexton: &PgPool, played: &Played) -> Result<(), Fault> {
    let ledger = &played.ledger;
    let (kept, deletions): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct deletion_id) from sexton.requests")
            .fetch_one(sexton)
            .await?;
    let rejected = counted(
        sexton,
        "select reason, count(*) from sexton.rejections group by 1 order by 1",
    )
    .await?;
    let turned_away: i64 = rejected.iter().map(|(_, count)| count).sum();
    let published = i64::try_from(ledger.published)?;

    say!("");
    row("messages published", published);
    row("  by a foreign client", usize::from(played.foreign));
    row("  copies of others", published - kept - turned_away);
    row("  rejected", turned_away);
    for (reason, count) in &rejected {
        row(&format!("    {reason}"), *count);
    }
    row("  requests kept", kept);
    row("    folded into an open deletion", kept - deletions);
    row("deletions", deletions);
    for (end, count) in ends(played) {
        row(&format!("  {end}"), count);
    }
    say!("");
    for (what, count) in counted(sexton, WORK).await? {
        row(&what, count);
    }
    row("open when the worker was killed", played.open_at_kill);
    row("events, repeats included", ledger.deliveries);
    say!("");
    let mut waits: Vec<Duration> = ledger
        .outcomes()
        .filter(|(_, outcome)| outcome.result.is_some())
        .map(|(_, outcome)| outcome.after)
        .collect();
    waits.sort_unstable();
    row("from publish to outcome, p50", seconds(share(&waits, 50)));
    row("from publish to outcome, p99", seconds(share(&waits, 99)));
    row("until the last outcome", seconds(played.took));
    say!("");
    Ok(())
}

/// From the journal: a step is what has a final verdict; everything else was tried again, waited for, or found out.
const WORK: &str = "
    with entry as (
        select e from sexton.journal, jsonb_array_elements(entries::jsonb) e
    ), verdict as (
        select e->'verdict'->>'is' as word, coalesce((e->>'found_out')::boolean, false) as found_out
        from entry where e->>'e' = 'verdict'
    )
    select * from (
        select 'steps carried out', count(*) from verdict where word in ('done', 'already_gone')
        union all select 'steps skipped (byom)', count(*) from verdict where word = 'skipped'
        union all select 'attempts', count(*) from entry where e->>'e' = 'intent'
        union all select '  tried again', count(*) from verdict where word = 'again'
        union all select '  throttled', count(*) from verdict where word = 'throttled'
        union all select '  outcome unknown, looked', count(*) from verdict where word = 'unknown'
        union all select '  pending, looked again', count(*) from verdict where word = 'pending'
        union all select '  cut by the kill, found out', count(*) from verdict where found_out
    ) of_work";

/// Why it was not done at the first attempt, step by step.
pub(crate) async fn reasons(sexton: &PgPool) -> Result<(), Fault> {
    let reasons = counted(
        sexton,
        "select format('step %s, %s: %s', e->>'step', e->'verdict'->>'is', e->'verdict'->>'why'), count(*)
         from sexton.journal, jsonb_array_elements(entries::jsonb) e
         where e->>'e' = 'verdict' and e->'verdict' ? 'why'
         group by 1 order by 2 desc, 1",
    )
    .await?;
    for (reason, count) in reasons {
        say!("  {count:>5}  {reason}");
    }
    say!("");
    Ok(())
}

async fn counted(pool: &PgPool, sql: &'static str) -> Result<Vec<(String, i64)>, Fault> {
    Ok(sqlx::query_as(sql).fetch_all(pool).await?)
}

fn ends(played: &Played) -> BTreeMap<String, usize> {
    let mut by_deletion = BTreeMap::new();
    for (_, outcome) in played.ledger.outcomes() {
        if let Some(deletion) = &outcome.deletion {
            let result = outcome.result.as_deref().unwrap_or_default();
            by_deletion.insert(deletion, format!("{} {result}", outcome.event));
        }
    }
    let mut ends = BTreeMap::new();
    for end in by_deletion.into_values() {
        *ends.entry(end).or_default() += 1;
    }
    ends
}

fn row(label: &str, value: impl std::fmt::Display) {
    say!("  {label:LABEL_WIDTH$}{value:>10}");
}

fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

fn share(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
