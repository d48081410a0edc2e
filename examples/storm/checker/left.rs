//! What is left when everything should be over: nothing open, nothing parked, nothing unsaid, nobody's lease.

use sqlx::AssertSqlSafe;

use super::{Evidence, Verdict};
use crate::Fault;
use crate::ear;

/// Each counts what must not be there, with its words.
const LEFT: [(&str, &str); 12] = [
    (
        "deletions are open and parked",
        "select count(*) from sexton.open_deletions where parked is not null",
    ),
    (
        "deletions are open",
        "select count(*) from sexton.open_deletions where parked is null",
    ),
    (
        "open deletions belong to a lane of a worker that is no more",
        "select count(*) from sexton.open_deletions d join sexton.lanes l using (lane)
         where not exists (select from sexton.workers w where w.worker = l.worker and w.lost_at is null)",
    ),
    (
        "requests wait for a slot that is free",
        "select count(*) from sexton.successors",
    ),
    ("events are not said", "select count(*) from sexton.outbox"),
    ("restore windows stand", "select count(*) from sexton.windows"),
    (
        "batches are not over",
        "select count(*) from sexton.batches where completed_at is null",
    ),
    (
        "sums of batches are not added up",
        "select count(*) from sexton.batch_deltas",
    ),
    (
        "rejected messages have not reached the broker",
        "select count(*) from sexton.rejections where body is not null",
    ),
    (
        "requests are kept and neither open nor ended",
        "select count(*) from sexton.requests r
         where not exists (select from sexton.deletions d where d.id = r.deletion_id)
           and not exists (select from sexton.open_deletions d where d.id = r.deletion_id)
           and not exists (select from sexton.successors s where s.deletion_id = r.deletion_id)",
    ),
    (
        "workers have signed off or were lost, and their lease stands",
        "select count(*) from sexton.workers where expires_at > now()",
    ),
    (
        "lanes of lost workers were not taken over",
        "select count(*) from sexton.lanes l join sexton.workers w using (worker)
         where w.lost_at is not null and l.taken_over_at is null",
    ),
];

pub(crate) async fn check(evidence: &Evidence<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
    for (what, sql) in LEFT {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(evidence.sexton)
            .await?;
        if count > 0 {
            verdict.stuck.push(format!("{count} {what}"));
        }
    }
    let parked: Vec<(String, String, String)> = sqlx::query_as(
        "select target_type, target_id, parked from sexton.open_deletions where parked is not null limit 20",
    )
    .fetch_all(evidence.sexton)
    .await?;
    for (kind, id, why) in parked {
        verdict.stuck.push(format!("{kind} {id} is parked: {why}"));
    }
    for queue in ["deletion.requests", "deletion.unheard", "storm.events"] {
        match ear::depth(evidence.amqp_url, queue).await {
            Ok(0) => {}
            Ok(depth) => verdict.stuck.push(format!("{depth} messages wait in {queue}")),
            Err(error) => verdict.stuck.push(format!("{queue} does not answer: {error}")),
        }
    }
    Ok(())
}
