//! Powerdrill: sessions with their job histories, and those that another user asked for.

use std::collections::BTreeSet;

use super::rows::{differs, ids};
use super::{Sheet, World};
use crate::Fault;
use crate::others::stays;

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    let others = world.others;
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
