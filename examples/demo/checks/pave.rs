//! Pave: what nobody had started goes, and nothing else.

use std::collections::BTreeSet;

use super::rows::{differs, ids};
use super::{Sheet, World};
use crate::Fault;

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    let others = world.others;
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
