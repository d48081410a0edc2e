//! After the last fault: the system has to end everything by itself. Waited for as long as anything moves; the judge says
//! what is left.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::Fault;
use crate::asks::Ask;
use crate::ear::{self, Ear};
use crate::ground::Ground;
use crate::say::say;

const LOOK_AGAIN: Duration = Duration::from_millis(250);
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Longer than anything waits by itself (a lease, an outbox row that was taken), but for a pause between two attempts, of which
/// the table says when it ends.
const STILL_MAX: Duration = Duration::from_secs(120);

/// What moves when something goes on, and what is zero when nothing is left.
const STANDING: &str = "
    select (select count(*) from sexton.open_deletions) + (select count(*) from sexton.successors),
           (select count(*) from sexton.outbox),
           (select count(*) from sexton.windows)
           + (select count(*) from sexton.batches where completed_at is null)
           + (select count(*) from sexton.batch_deltas),
           (select coalesce(sum(seq), 0)::bigint from sexton.open_deletions) + (select count(*) from sexton.deletions),
           exists (select from sexton.open_deletions where lane is null and due_at > now() and due_at < '9999-01-01')";

/// In words; none while nobody answers.
pub(crate) async fn standing(ground: &Ground) -> Option<String> {
    let look = sqlx::query_as(STANDING).fetch_one(&ground.sexton);
    let looked = tokio::time::timeout(LOOK_MAX, look).await.ok()?;
    let (open, unsaid, after, ..): (i64, i64, i64, i64, bool) = looked.ok()?;
    Some(format!(
        "{open} deletions open, {unsaid} events unsaid, {after} windows and batches"
    ))
}

pub(crate) async fn settled(ground: &Ground, asks: &[Ask], ear: &Ear, first: Instant) -> Result<(), Fault> {
    let names: HashSet<&str> = asks
        .iter()
        .flat_map(|ask| &ask.requests)
        .map(|asked| asked.name.as_str())
        .collect();
    let mut last = (0, 0, 0);
    let mut moved = Instant::now();
    loop {
        let (open, unsaid, after, done, pauses): (i64, i64, i64, i64, bool) =
            sqlx::query_as(STANDING).fetch_one(&ground.sexton).await?;
        let left = open + unsaid + after;
        let (missing, heard) = ear.with(|heard| {
            let named: HashSet<&str> = heard
                .events
                .values()
                .filter(|event| event.is_final())
                .map(|event| event.name())
                .collect();
            (names.difference(&named).count(), heard.events.len())
        });
        // Copies are no one's outcome; they have to be taken in as well.
        let waiting = match (left, missing) {
            (0, 0) => waiting(&ground.amqp_url).await.unwrap_or(1),
            _ => 1,
        };
        if (left, missing, waiting) == (0, 0, 0) {
            say!("  {:7.1} s  everything has ended", first.elapsed().as_secs_f64());
            return Ok(());
        }
        let now = (left, done, heard);
        if now != last || pauses {
            last = now;
            moved = Instant::now();
        }
        if moved.elapsed() > STILL_MAX {
            say!(
                "  {:7.1} s  nothing has moved for {STILL_MAX:.0?}",
                first.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// In the queue of requests, and in the ear's own.
async fn waiting(amqp_url: &str) -> Result<u32, Fault> {
    Ok(ear::depth(amqp_url, "deletion.requests").await? + ear::unheard_depth(amqp_url).await?)
}
