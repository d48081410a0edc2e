//! How long one who asks waits, on a system that has nothing else to do.

use std::time::Duration;

use sexton::services::Services;

use super::{RUNS, number};
use crate::Fail;
use crate::report::{Report, Wanted, median, percentile, tell};
use crate::rivals::{self, Rival};

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
            let of = if rival == Rival::Sexton {
                &mut ours
            } else {
                &mut base
            };
            of.add(turn, rival, &waits);
        }
    }
    report.begin_table("sexton", Rival::Single.name());
    let (p50, p99) = Percentiles::compare(&ours, &base, report);
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

/// Of each run of a rival, in milliseconds.
#[derive(Default)]
pub(super) struct Percentiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Percentiles {
    pub(super) fn add(&mut self, turn: usize, rival: Rival, waits: &[Duration]) {
        let millis: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1_000.0).collect();
        let (p50, p99) = (median(&millis), percentile(&millis, 0.99));
        tell(&format!(
            "  run {} {:<7} p50 {p50:.2} ms, p99 {p99:.2} ms",
            turn + 1,
            rival.name()
        ));
        self.p50.push(p50);
        self.p99.push(p99);
    }

    /// The ratios of the medians.
    pub(super) fn compare(ours: &Self, base: &Self, report: &mut Report) -> (f64, f64) {
        (
            report.compare("p50, ms", 2, &ours.p50, &base.p50),
            report.compare("p99, ms", 2, &ours.p99, &base.p99),
        )
    }
}
