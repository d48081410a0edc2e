//! Deletions that are admitted and wait: the engine alone, against SQL that writes the same rows in batches.

use sexton::services::Services;

use super::pairs::Pairs;
use super::run::tabulate;
use super::{RUNS, number};
use crate::Fail;
use crate::drain::drain;
use crate::report::{Report, Wanted};
use crate::rivals::Rival;

/// Half a minute of work: what the first claims find in caches vanishes in it.
const DELETIONS: usize = 200_000;

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let (runs, deletions) = (number("BENCH_RUNS", RUNS)?, number("BENCH_BACKLOG", DELETIONS)?);
    // No run is void: nobody knows yet what the base does on a quiet machine.
    let pairs = Pairs::run(runs, Rival::Batched, None, async |rival, turn| {
        drain(services, rival, turn, deletions, 1).await
    })
    .await?;
    let rate = tabulate(&pairs, Rival::Sexton.name(), Rival::Batched.name(), report);
    report.ratio("backlog", rate);
    report.bar(
        "backlog / batched SQL of the same rows",
        rate,
        Wanted::AtLeast { bar: 0.4, aim: 0.6 },
    );
    Ok(())
}
