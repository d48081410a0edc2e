//! The other four worlds: what had to go, what had to stay, and what was taken back.

use std::collections::BTreeSet;

use sqlx::PgPool;

use super::{Sheet, World};
use crate::Fault;
use crate::others::{Others, stays};

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    let others = world.others;
    sessions(world, others, sheet).await?;
    powerdrill(others, sheet).await?;
    pave(others, sheet).await?;
    agno(others, sheet).await
}

async fn ids(pool: &PgPool, sql: &'static str) -> Result<BTreeSet<String>, Fault> {
    let all: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    Ok(all.into_iter().collect())
}

/// What differs between what is there and what should be.
fn differs<'a>(there: &'a BTreeSet<String>, wanted: &'a BTreeSet<&str>) -> Vec<String> {
    let lost = wanted
        .iter()
        .filter(|id| !there.contains(**id))
        .map(|id| format!("{id} is not there"));
    let left = there
        .iter()
        .filter(|id| !wanted.contains(id.as_str()))
        .map(|id| format!("{id} is there"));
    lost.chain(left).collect()
}

async fn sessions(world: &World<'_>, others: &Others, sheet: &mut Sheet) -> Result<(), Fault> {
    let visible = ids(
        world.platform,
        "select id from sessions where id like 'fs\\_%' and deleted_at is null",
    )
    .await?;
    let hidden = ids(
        world.platform,
        "select id from sessions where id like 'fs\\_%' and deleted_at is not null",
    )
    .await?;
    let all = || others.sessions.iter().enumerate();
    let wanted: BTreeSet<&str> = all()
        .filter(|(place, _)| !others.is_purged(*place))
        .map(|(_, session)| session.id.as_str())
        .collect();
    sheet.check(
        "Factory sessions: what was restored, or may not be deleted, is as it was",
        wanted.len(),
        &differs(&visible, &wanted),
    );
    let left: Vec<&String> = hidden.iter().collect();
    sheet.check(
        "Factory sessions: what was not restored in its window is erased",
        others.purges(),
        &left,
    );
    let early = &world.played.ledger.early;
    sheet.check(
        "and none of it before its window had ended",
        world.played.ledger.purged.len(),
        early,
    );
    Ok(())
}

async fn powerdrill(others: &Others, sheet: &mut Sheet) -> Result<(), Fault> {
    let store = &others.stores.powerdrill;
    let there = ids(store, "select id from sessions where deleting_at is null").await?;
    let kept = || {
        others
            .powerdrill
            .iter()
            .enumerate()
            .filter(|(place, _)| stays(*place))
    };
    let wanted: BTreeSet<&str> = kept().map(|(_, session)| session.id.as_str()).collect();
    sheet.check(
        "Powerdrill: sessions are gone, and those that another user asked for are not",
        others.powerdrill.len(),
        &differs(&there, &wanted),
    );
    let jobs: i64 = sqlx::query_scalar("select count(*) from jobs")
        .fetch_one(store)
        .await?;
    let should: usize = kept().map(|(_, session)| session.jobs).sum();
    let gone: usize = others
        .powerdrill
        .iter()
        .map(|session| session.jobs)
        .sum::<usize>()
        - should;
    let off = match usize::try_from(jobs)? {
        found if found == should => vec![],
        found => vec![format!("{found} jobs are left; wanted {should}")],
    };
    sheet.check("Powerdrill: so is every job of their histories", gone, &off);
    Ok(())
}

async fn pave(others: &Others, sheet: &mut Sheet) -> Result<(), Fault> {
    let there = ids(&others.stores.pave, "select session_key from sessions").await?;
    let wanted: BTreeSet<&str> = others
        .pave
        .iter()
        .filter(|session| !session.may_go())
        .map(|session| session.key.as_str())
        .collect();
    sheet.check(
        "Pave: idle sessions are gone, and what was started is there",
        others.pave.len(),
        &differs(&there, &wanted),
    );
    Ok(())
}

async fn agno(others: &Others, sheet: &mut Sheet) -> Result<(), Fault> {
    let store = &others.stores.agno;
    let going: BTreeSet<&str> = others.agno_going().map(|session| session.id.as_str()).collect();
    let all = others.agno.iter().map(|session| session.id.as_str());
    let wanted: BTreeSet<&str> = all.filter(|id| !going.contains(id)).collect();
    let there = ids(store, "select session_id from ai.agno_sessions").await?;
    sheet.check(
        "Agno: the sessions of the bulk are gone, and no others",
        others.agno.len(),
        &differs(&there, &wanted),
    );
    let beside = ids(
        store,
        "select session_id from ai.agno_runs union select agno_session_id from ai.agno_transcripts
         union select session_id from ai.agno_compactions union select session_id from ai.agno_tool_results",
    )
    .await?;
    sheet.check(
        "Agno: with their runs, transcripts, compactions and tool results",
        going.len(),
        &differs(&beside, &wanted),
    );
    let learnings: i64 = sqlx::query_scalar("select count(*) from ai.agno_learnings")
        .fetch_one(store)
        .await?;
    let off = match usize::try_from(learnings)? == others.agno.len() {
        true => vec![],
        false => vec![format!(
            "{learnings} learnings are left; wanted {}",
            others.agno.len()
        )],
    };
    sheet.check(
        "Agno: and what its plan did not opt in to is as it was",
        others.agno.len(),
        &off,
    );
    Ok(())
}
