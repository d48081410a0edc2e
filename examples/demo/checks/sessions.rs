//! Factory's sessions: what had to go after its window, what was taken back, and what nobody may delete.

use std::collections::BTreeSet;

use super::rows::{differs, ids};
use super::{Sheet, World};
use crate::Fault;

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    let others = world.others;
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
