//! The same backlog by one worker, by two and by four: what more processes on the same tables are good for.

use sexton::services::Services;

use super::run::Run;
use super::{RUNS, number};
use crate::Fail;
use crate::drain::drain;
use crate::report::Report;
use crate::rivals::Rival;

/// Ten seconds of one worker.
const DELETIONS: usize = 40_000;
const MANY: [(&str, &str); 2] = [
    ("2 workers, sagas/s", "workers-2"),
    ("4 workers, sagas/s", "workers-4"),
];

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let (runs, deletions) = (number("BENCH_RUNS", RUNS)?, number("BENCH_REQUESTS", DELETIONS)?);
    let mut rates: [Vec<f64>; 3] = Default::default();
    for turn in 0..runs {
        for (workers, of) in [1, 2, 4].into_iter().zip(&mut rates) {
            let run = drain(services, Rival::Sexton, turn, deletions, workers).await?;
            run.tell(turn, &format!("by {workers}"));
            of.push(Run::per_second(&run));
        }
    }
    report.begin_table("sexton", "one worker");
    let [one, many @ ..] = rates;
    for ((name, ratio), rates) in MANY.into_iter().zip(many) {
        let value = report.compare(name, 0, &rates, &one);
        report.ratio(ratio, value);
    }
    Ok(())
}
