//! So many deletions as fast as they go, and what each costs.

use std::time::Duration;

use sexton::services::Services;

use super::number;
use crate::Fail;
use crate::costs::Spent;
use crate::report::{Report, Wanted, tell};
use crate::rivals::{self, Feed, Rival};

/// Three, so that one run beside somebody else's compiler does not decide.
const RUNS: usize = 3;
/// Seconds of work for either rival: start-up and the last half-filled batch vanish in it.
const REQUESTS: usize = 40_000;
/// What the bare program did on a quiet machine of two cores; below this share of it a run says nothing of the program.
const BARE_QUEUED_A_SECOND: f64 = 10_500.0;
const BARE_MEANWHILE_A_SECOND: f64 = 7_000.0;
const VOID_BELOW: f64 = 0.7;
/// A void run is run again, so often at most.
const VOID_MAX: usize = 3;

/// One run of one rival.
pub(crate) struct Run {
    pub(crate) sagas: usize,
    pub(crate) took: Duration,
    pub(crate) spent: Spent,
}

impl Run {
    fn per_second(&self) -> f64 {
        self.sagas as f64 / self.took.as_secs_f64()
    }

    fn a_saga(&self, of: f64) -> f64 {
        of / self.sagas as f64
    }
}

pub(super) async fn measure(services: &Services, feed: Feed, report: &mut Report) -> Result<(), Fail> {
    let (runs, requests) = (number("BENCH_RUNS", RUNS)?, number("BENCH_REQUESTS", REQUESTS)?);
    let (mut sexton, mut bare): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    let (mut turn, mut void) = (0, 0);
    while bare.len() < runs {
        let mut pair = Vec::new();
        for rival in Rival::in_turn(turn, Rival::Bare) {
            let run = rivals::measure(services, rival, feed, turn, requests).await?;
            say(rival, turn, &run);
            pair.push((rival, run));
        }
        turn += 1;
        let limit = pair
            .iter()
            .find(|(rival, _)| *rival == Rival::Bare)
            .map(|(_, run)| run.per_second());
        let floor = VOID_BELOW
            * match feed {
                Feed::Before => BARE_QUEUED_A_SECOND,
                Feed::Meanwhile => BARE_MEANWHILE_A_SECOND,
            };
        if limit.is_some_and(|limit| limit < floor) && void < VOID_MAX {
            void += 1;
            tell(&format!(
                "  void: the bare program is below {floor:.0} sagas/s, so the machine is busy; again"
            ));
            continue;
        }
        for (rival, run) in pair {
            match rival {
                Rival::Sexton => sexton.push(run),
                _ => bare.push(run),
            }
        }
    }
    tabulate(feed, &sexton, &bare, report);
    Ok(())
}

fn say(rival: Rival, turn: usize, run: &Run) {
    tell(&format!(
        "  run {} {:<7} {:>7.0} sagas/s in {:.1} s",
        turn + 1,
        rival.name(),
        run.per_second(),
        run.took.as_secs_f64()
    ));
}

fn tabulate(feed: Feed, sexton: &[Run], bare: &[Run], report: &mut Report) {
    report.begin_table("sexton", "bare");
    let mut row = |name: &'static str, digits: usize, of: &dyn Fn(&Run) -> f64| {
        let all = |runs: &[Run]| runs.iter().map(of).collect::<Vec<f64>>();
        let (ours, base) = (all(sexton), all(bare));
        (
            report.compare(name, digits, &ours, &base),
            crate::report::median(&ours),
        )
    };
    let (limit, _) = row("sagas/s", 0, &Run::per_second);
    let (_, commits) = row("commits a saga", 4, &|run| run.a_saga(run.spent.commits as f64));
    let (_, wal) = row("WAL bytes a saga", 0, &|run| {
        run.a_saga(run.spent.wal_bytes as f64)
    });
    row("WAL bytes, without full pages", 0, &|run| {
        run.a_saga((run.spent.wal_bytes - run.spent.full_page_bytes) as f64)
    });
    row("messages a saga", 2, &|run| run.a_saga(run.spent.messages as f64));
    row("dead rows left a saga", 3, &|run| {
        run.a_saga(run.spent.dead_rows as f64)
    });
    row("peak RSS, MiB", 0, &|run| run.spent.peak_kib as f64 / 1_024.0);
    let seconds =
        |of: fn(&Spent) -> Duration| move |run: &Run| run.a_saga(of(&run.spent).as_secs_f64() * 1_000.0);
    row("CPU s a thousand, program", 3, &seconds(|spent| spent.program));
    row("CPU s a thousand, Postgres", 3, &seconds(|spent| spent.postgres));
    row("CPU s a thousand, RabbitMQ", 3, &seconds(|spent| spent.broker));
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
                commits,
                Wanted::AtMost { bar: 0.06, aim: 0.02 },
            );
            report.bar(
                "WAL bytes a four-step saga",
                wal,
                Wanted::AtMost {
                    bar: 3_072.0,
                    aim: 2_048.0,
                },
            );
        }
    }
}
