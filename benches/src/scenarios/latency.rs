//! How long one who asks waits, on a system that has nothing else to do.

use sexton::services::Services;

use super::number;
use crate::Fail;
use crate::report::{Report, Wanted, median, percentile, tell};
use crate::rivals::{self, Rival};

const RUNS: usize = 3;
/// Twenty of them lie above the 99th percentile.
const REQUESTS: usize = 2_000;

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let (runs, requests) = (
        number("BENCH_RUNS", RUNS)?,
        number("BENCH_SINGLE_REQUESTS", REQUESTS)?,
    );
    let (mut ours, mut base) = (Percentiles::default(), Percentiles::default());
    for turn in 0..runs {
        for rival in Rival::in_turn(turn, Rival::Single) {
            let waits = rivals::one_at_a_time(services, rival, turn, requests).await?;
            let millis: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1_000.0).collect();
            let of = if rival == Rival::Sexton {
                &mut ours
            } else {
                &mut base
            };
            of.add(&millis);
            tell(&format!(
                "  run {} {:<7} p50 {:.2} ms, p99 {:.2} ms",
                turn + 1,
                rival.name(),
                median(&millis),
                percentile(&millis, 0.99)
            ));
        }
    }
    report.begin_table("sexton", "bare");
    let p50 = report.compare("p50, ms", 2, &ours.p50, &base.p50);
    let p99 = report.compare("p99, ms", 2, &ours.p99, &base.p99);
    report.ratio("latency-p50", p50);
    report.ratio("latency-p99", p99);
    report.bar(
        "idle latency p50 / bare",
        p50,
        Wanted::AtMost { bar: 1.6, aim: 1.2 },
    );
    report.bar(
        "idle latency p99 / bare",
        p99,
        Wanted::AtMost { bar: 3.0, aim: 2.0 },
    );
    Ok(())
}

#[derive(Default)]
struct Percentiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Percentiles {
    fn add(&mut self, millis: &[f64]) {
        self.p50.push(median(millis));
        self.p99.push(percentile(millis, 0.99));
    }
}
