//! So many deletions as fast as they go, and what each costs.

use sexton::services::Services;

use super::pairs::Pairs;
use super::run::{Run, tabulate};
use super::{RUNS, number};
use crate::Fail;
use crate::report::{Report, Wanted};
use crate::rivals::{self, Feed, Rival};

/// Seconds of work for either rival: start-up and the last half-filled batch vanish in it.
pub(super) const REQUESTS: usize = 40_000;
/// What the bare program did on a quiet machine of two cores.
const BARE_QUEUED_A_SECOND: f64 = 10_500.0;
const BARE_MEANWHILE_A_SECOND: f64 = 7_000.0;

pub(super) async fn measure(services: &Services, feed: Feed, report: &mut Report) -> Result<(), Fail> {
    let (runs, requests) = (number("BENCH_RUNS", RUNS)?, number("BENCH_REQUESTS", REQUESTS)?);
    let quiet = match feed {
        Feed::Before => BARE_QUEUED_A_SECOND,
        Feed::Meanwhile => BARE_MEANWHILE_A_SECOND,
    };
    let pairs = Pairs::run(runs, Rival::Bare, Some(quiet), async |rival, turn| {
        rivals::measure(services, rival, feed, turn, requests).await
    })
    .await?;
    let limit = tabulate(&pairs, Rival::Sexton.name(), Rival::Bare.name(), report);
    match feed {
        Feed::Meanwhile => {
            report.ratio("limit", limit);
            report.bar(
                "end to end / bare limit",
                limit,
                Wanted::AtLeast { bar: 0.5, aim: 0.7 },
            );
        }
        Feed::Before => {
            report.ratio("limit-queued", limit);
            report.bar(
                "commits a saga, saturated",
                pairs.our_median(Run::commits_a_saga),
                Wanted::AtMost { bar: 0.06, aim: 0.02 },
            );
            report.bar(
                "WAL bytes a four-step saga",
                pairs.our_median(Run::wal_bytes_a_saga),
                Wanted::AtMost {
                    bar: 3_072.0,
                    aim: 2_048.0,
                },
            );
        }
    }
    Ok(())
}
