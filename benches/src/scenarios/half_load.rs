//! How long one who asks waits while another process publishes half of what the machine carries.

use std::time::Duration;

use sexton::services::Services;

use super::latency::Percentiles;
use super::throughput::REQUESTS;
use super::{RUNS, number};
use crate::Fail;
use crate::asking;
use crate::listening::Listening;
use crate::load::Load;
use crate::messages::{Outcomes, somebody_reads};
use crate::place::Stage;
use crate::report::{Report, tell};
use crate::rivals::{self, Feed, Rival};
use crate::tally::Tally;

/// Ten of them lie above the 99th percentile.
const ASKED: usize = 1_000;
/// The load stands before anybody asks, and until the last has been answered.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(2);

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let (runs, asked) = (
        number("BENCH_RUNS", RUNS)?,
        number("BENCH_SINGLE_REQUESTS", ASKED)?,
    );
    let rate = half_of_what_is_carried(services).await?;
    let (mut ours, mut base) = (Percentiles::default(), Percentiles::default());
    for turn in 0..runs {
        for rival in Rival::in_turn(turn, Rival::Bare) {
            let waits = at_this_rate(services, rival, turn, rate, asked).await?;
            let of = if rival == Rival::Sexton {
                &mut ours
            } else {
                &mut base
            };
            of.add(turn, rival, &waits);
        }
    }
    report.begin_table("sexton", Rival::Bare.name());
    report.compare("load beside it, requests/s", 0, &[rate], &[rate]);
    let (p50, p99) = Percentiles::compare(&ours, &base, report);
    report.ratio("half-load-p50", p50);
    report.ratio("half-load-p99", p99);
    Ok(())
}

/// From `BENCH_RATE`, or from a run of Sexton's.
pub(super) async fn half_of_what_is_carried(services: &Services) -> Result<f64, Fail> {
    if std::env::var("BENCH_RATE").is_ok() {
        return Ok(number("BENCH_RATE", 1)? as f64);
    }
    let requests = number("BENCH_REQUESTS", REQUESTS)?;
    let run = rivals::measure(services, Rival::Sexton, Feed::Meanwhile, 0, requests).await?;
    let half = run.per_second() / 2.0;
    tell(&format!(
        "  from end to end it carries {:.0} requests/s; half of it is {half:.0}",
        run.per_second()
    ));
    Ok(half)
}

async fn at_this_rate(
    services: &Services,
    rival: Rival,
    turn: usize,
    rate: f64,
    asked: usize,
) -> Result<Vec<Duration>, Fail> {
    let place = rival
        .settle(services, &format!("half_{turn}"), &Stage::noop())
        .await?;
    let listening = Listening::start(Outcomes::listen(&place.amqp_url).await?);
    let answers = asking::listen(&place.amqp_url).await?;
    let mut program = rival.run(&place)?;
    program.meanwhile(somebody_reads(&place.amqp_url)).await?;
    let lasts = BEFORE + asking::lasts(asked) + AFTER;
    let (load, _) = Load::Steady { rate, lasts }.start(&place).await?;
    tokio::time::sleep(BEFORE).await;
    let waits = program
        .during(asking::ask(&place.amqp_url, answers, asked))
        .await?;
    let all = load.ended_saying().await?.parse::<usize>()? + asked;
    program.during(listening.until(all)).await?;
    program.stop().await?;
    listening.stop().await?;
    Tally::default().and(all)?.found_at(&place, rival).await?;
    place.clear(services).await?;
    Ok(waits)
}
