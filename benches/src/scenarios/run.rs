//! One run of one rival: how long it took, and what it cost.

use std::time::{Duration, Instant};

use super::pairs::Pairs;
use crate::costs::Spent;
use crate::report::{Report, tell};

pub(crate) struct Run {
    pub(crate) sagas: usize,
    pub(crate) took: Duration,
    pub(crate) spent: Spent,
    /// Sagas a second by the seconds since it began; nothing where nobody looked.
    pub(crate) pace: Vec<(f64, f64)>,
}

/// A page of outcomes and more ends in each of these.
const PACE_S: f64 = 0.5;

/// From the moments at which sagas ended.
pub(crate) fn pace(began: Instant, moments: &[Instant]) -> Vec<(f64, f64)> {
    let mut counts: Vec<usize> = Vec::new();
    for moment in moments {
        let nth = (moment.saturating_duration_since(began).as_secs_f64() / PACE_S) as usize;
        counts.resize(counts.len().max(nth + 1), 0);
        counts[nth] += 1;
    }
    // The last is cut off in the middle.
    counts.pop();
    let at = |nth: usize| (nth + 1) as f64 * PACE_S;
    let paces = counts.into_iter().enumerate();
    paces
        .map(|(nth, count)| (at(nth), count as f64 / PACE_S))
        .collect()
}

impl Run {
    pub(super) fn per_second(&self) -> f64 {
        self.sagas as f64 / self.took.as_secs_f64()
    }

    pub(super) fn commits_a_saga(&self) -> f64 {
        self.a_saga(self.spent.commits as f64)
    }

    pub(super) fn wal_bytes_a_saga(&self) -> f64 {
        self.a_saga(self.spent.wal_bytes as f64)
    }

    pub(super) fn peak_mib(&self) -> f64 {
        self.spent.peak_kib as f64 / 1_024.0
    }

    pub(super) fn cpu_a_thousand(&self, of: Duration) -> f64 {
        self.a_saga(of.as_secs_f64() * 1_000.0)
    }

    fn a_saga(&self, of: f64) -> f64 {
        of / self.sagas as f64
    }

    pub(super) fn tell(&self, turn: usize, name: &str) {
        tell(&format!(
            "  run {} {name:<7} {:>7.0} sagas/s in {:.1} s",
            turn + 1,
            self.per_second(),
            self.took.as_secs_f64()
        ));
    }
}

/// A table of all that a run costs. Gives the ratio of the rates.
pub(super) fn tabulate(pairs: &Pairs, ours: &str, base: &str, report: &mut Report) -> f64 {
    report.begin_table(ours, base);
    let mut row = |name: &'static str, digits: usize, of: &dyn Fn(&Run) -> f64| {
        let (ours, base) = pairs.all(of);
        report.compare(name, digits, &ours, &base)
    };
    let rate = row("sagas/s", 0, &Run::per_second);
    row("commits a saga", 4, &Run::commits_a_saga);
    row("WAL bytes a saga", 0, &Run::wal_bytes_a_saga);
    row("WAL bytes, without full pages", 0, &|run| {
        run.a_saga((run.spent.wal_bytes - run.spent.full_page_bytes) as f64)
    });
    row("messages a saga", 2, &|run| run.a_saga(run.spent.messages as f64));
    row("dead rows left a saga", 3, &|run| {
        run.a_saga(run.spent.dead_rows as f64)
    });
    row("peak RSS, MiB", 0, &Run::peak_mib);
    row("CPU s a thousand, program", 3, &|run| {
        run.cpu_a_thousand(run.spent.program)
    });
    row("CPU s a thousand, Postgres", 3, &|run| {
        run.cpu_a_thousand(run.spent.postgres)
    });
    row("CPU s a thousand, RabbitMQ", 3, &|run| {
        run.cpu_a_thousand(run.spent.broker)
    });
    rate
}
