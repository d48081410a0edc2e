//! What was measured, as a table, and whether it is good enough: the exit code says it too.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::costs::Spent;
use crate::rivals::Rival;

/// Sexton against the bare program. The aim of a later release is 0.7.
const RATIO_MIN: f64 = 0.3;
/// A commit for ten deletions: beyond it the group commit does not group. The aim is 0.02.
const COMMITS_MAX: f64 = 0.1;
/// WAL is what disks, replicas and archives pay. The aim is 2,048.
const WAL_MAX_BYTES: f64 = 4_096.0;

/// One run of one rival.
pub(super) struct Run {
    pub(super) sagas: usize,
    pub(super) took: Duration,
    pub(super) spent: Spent,
}

impl Run {
    fn per_second(&self) -> f64 {
        self.sagas as f64 / self.took.as_secs_f64()
    }

    fn commits(&self) -> f64 {
        self.spent.commits as f64 / self.sagas as f64
    }

    fn wal_bytes(&self) -> f64 {
        self.spent.wal_bytes as f64 / self.sagas as f64
    }

    fn cpu_micros(&self, of: fn(&Spent) -> Duration) -> f64 {
        of(&self.spent).as_micros() as f64 / self.sagas as f64
    }
}

/// Whoever reads may leave; the servers are stopped all the same, and the exit code tells.
pub(super) fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

pub(super) fn say(rival: Rival, turn: usize, run: &Run) {
    tell(&format!(
        "  run {} {:<7} {:>7.0} sagas/s  {:>6.4} commits  {:>6.0} WAL bytes  in {:.1} s",
        turn + 1,
        rival.name(),
        run.per_second(),
        run.commits(),
        run.wal_bytes(),
        run.took.as_secs_f64()
    ));
}

/// Prints the medians and says whether the bounds are kept.
pub(super) fn judge(sexton: &[Run], bare: &[Run]) -> ExitCode {
    let row = |what: &str, of: &dyn Fn(&Run) -> f64, digits: usize| {
        let (ours, theirs) = (median(sexton, of), median(bare, of));
        tell(&format!(
            "{what:<28}{ours:>12.digits$}{theirs:>12.digits$}{:>9.2}",
            ours / theirs
        ));
        (ours, theirs)
    };
    tell(&format!(
        "\n{:<28}{:>12}{:>12}{:>9}",
        "median of runs", "sexton", "bare", "ratio"
    ));
    let (ours, theirs) = row("sagas/s", &Run::per_second, 0);
    let (commits, _) = row("commits a saga", &Run::commits, 4);
    let (wal, _) = row("WAL bytes a saga", &Run::wal_bytes, 0);
    row(
        "CPU of the program, µs",
        &|run| run.cpu_micros(|spent| spent.program),
        1,
    );
    row(
        "CPU of Postgres, µs",
        &|run| run.cpu_micros(|spent| spent.postgres),
        1,
    );
    row(
        "CPU of RabbitMQ, µs",
        &|run| run.cpu_micros(|spent| spent.broker),
        1,
    );
    tell("");

    let mut kept = true;
    let ratio = ours / theirs;
    let mut hold = |holds: bool, sentence: String| {
        tell(&format!("{} {sentence}", if holds { "kept  " } else { "BROKEN" }));
        kept &= holds;
    };
    hold(
        ratio >= RATIO_MIN,
        format!("{ratio:.2} of the bare program's speed, at least {RATIO_MIN} wanted"),
    );
    hold(
        commits <= COMMITS_MAX,
        format!("{commits:.4} commits a saga, at most {COMMITS_MAX} wanted"),
    );
    hold(
        wal <= WAL_MAX_BYTES,
        format!("{wal:.0} WAL bytes a saga, at most {WAL_MAX_BYTES} wanted"),
    );
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn median(runs: &[Run], of: &dyn Fn(&Run) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    if all.len() % 2 == 1 {
        all[middle]
    } else {
        (all[middle - 1] + all[middle]) / 2.0
    }
}
