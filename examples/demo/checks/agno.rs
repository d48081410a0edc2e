//! Agno: one bulk, what goes with a session, and what its plan leaves.

use std::collections::BTreeSet;

use super::rows::{differs, ids};
use super::{Sheet, World};
use crate::Fault;

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    let others = world.others;
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
