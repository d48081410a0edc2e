//! What Sexton has left in its own tables: nothing open, nothing unsaid; and what its journal says of how often things
//! were done.

use super::{Sheet, World};
use crate::Fault;
use crate::worlds::estate::Provider;

/// The number of the plan's step that tears the machine down.
const TEAR_DOWN: i32 = 5;

pub(crate) async fn check(world: &World<'_>, sheet: &mut Sheet) -> Result<(), Fault> {
    let mut left = Vec::new();
    for (table, what) in [
        ("open_deletions", "open deletions"),
        ("successors", "requests that wait for a slot"),
        ("outbox", "events in the outbox"),
    ] {
        let sql = format!("select count(*) from sexton.{table}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(world.sexton)
            .await?;
        if count > 0 {
            left.push(format!("{count} {what}"));
        }
    }
    if world.played.unsaid > 0 {
        left.push(format!(
            "{} events nobody had taken from the outbox",
            world.played.unsaid
        ));
    }
    sheet.check("nothing is open, parked, waiting or unsaid", 3, &left);

    let repeated: Vec<String> = sqlx::query_scalar(
        "select d.target_id || ': step ' || (e->>'step') || ', ' || count(*) || ' times'
         from sexton.deletions d join sexton.journal j on j.deletion_id = d.id
         cross join jsonb_array_elements(j.entries::jsonb) e
         where e->'verdict'->>'is' in ('done', 'already_gone', 'skipped', 'refused')
         group by d.id, d.target_id, e->>'step', e->>'aim' having count(*) > 1",
    )
    .fetch_all(world.sexton)
    .await?;
    let deletions: i64 = sqlx::query_scalar("select count(*) from sexton.deletions")
        .fetch_one(world.sexton)
        .await?;
    sheet.check(
        "no step was run again after it was settled",
        deletions.try_into()?,
        &repeated,
    );

    let skipped: Vec<String> = sqlx::query_scalar(
        "select d.target_id from sexton.deletions d join sexton.journal j on j.deletion_id = d.id
         cross join jsonb_array_elements(j.entries::jsonb) e
         where (e->>'step')::int = $1 group by d.id, d.target_id
         having bool_and(e->>'e' = 'verdict' and e->'verdict'->>'is' = 'skipped')",
    )
    .bind(TEAR_DOWN)
    .fetch_all(world.sexton)
    .await?;
    let own: Vec<&str> = world
        .estate
        .going()
        .filter(|computer| computer.provider == Provider::Byom)
        .map(|computer| computer.id.as_str())
        .collect();
    let mut differ: Vec<&str> = own
        .iter()
        .copied()
        .filter(|id| !skipped.iter().any(|skipped| skipped == id))
        .collect();
    differ.extend(skipped.iter().map(String::as_str).filter(|id| !own.contains(id)));
    let what = "the journal says `skipped` for the machines of customers' own computers, and only there";
    sheet.check(what, own.len(), &differ);

    let mut of_the_kill = Vec::new();
    if world.played.open_at_kill == 0 {
        of_the_kill.push("nothing was open when the worker was killed".to_owned());
    }
    let taken_over = world.played.taken_over;
    if taken_over != 1 {
        of_the_kill.push(format!("{taken_over} workers were taken over from; wanted 1"));
    }
    let open = usize::try_from(world.played.open_at_kill)?.max(1);
    sheet.check(
        "the killed worker had work, and another one took it over",
        open,
        &of_the_kill,
    );

    let how: Vec<String> = match world.stopped {
        Some(status) if status.success() => vec![],
        Some(status) => vec![format!("it ended with {status}")],
        None => vec!["it did not end and had to be killed".to_owned()],
    };
    sheet.check(
        "the other one, asked to stop, ended by itself and cleanly",
        1,
        &how,
    );
    Ok(())
}
