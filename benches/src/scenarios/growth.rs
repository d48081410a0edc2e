//! The same requests on tables as they are after years, and on empty ones.

use sexton::services::Services;
use sqlx::{Connection, PgConnection};

use super::pairs::Pairs;
use super::run::{Run, tabulate};
use super::throughput::REQUESTS;
use super::{RUNS, number};
use crate::Fail;
use crate::fill::Fill;
use crate::place::{Place, Stage};
use crate::plot::Line;
use crate::report::{Report, Wanted, tell};
use crate::rivals::{Feed, Rival, measure_at};

const ENDED: usize = 10_000_000;
const WAITING: usize = 1_000_000;

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let (runs, requests) = (number("BENCH_RUNS", RUNS)?, number("BENCH_REQUESTS", REQUESTS)?);
    let (ended, waiting) = (
        number("BENCH_FINISHED", ENDED)?,
        number("BENCH_WAITING", WAITING)?,
    );
    let full = Rival::Sexton.settle(services, "full", &Stage::noop()).await?;
    let mut fill = Fill::begin(&full, Rival::Sexton).await?;
    fill.ended(ended).await?;
    fill.waiting(waiting).await?;
    fill.end().await?;
    tell(&format!(
        "  {ended} have ended, {waiting} wait; {}",
        describe(&full).await?
    ));
    let mut pairs = Pairs::default();
    for turn in 0..runs {
        // Whoever goes first finds a fresher disk; that is each one's luck in turn.
        for is_full in [turn % 2 == 0, turn % 2 == 1] {
            let run = if is_full {
                measure_at(services, &full, Rival::Sexton, Feed::Before, requests).await?
            } else {
                let empty = Rival::Sexton
                    .settle(services, &format!("empty_{turn}"), &Stage::noop())
                    .await?;
                let run = measure_at(services, &empty, Rival::Sexton, Feed::Before, requests).await?;
                empty.clear(services).await?;
                run
            };
            run.tell(turn, if is_full { "full" } else { "empty" });
            (if is_full { &mut pairs.ours } else { &mut pairs.base }).push(run);
        }
    }
    full.clear(services).await?;
    let first = |runs: &[Run], name| runs.first().map(|run| Line::of(name, run.pace.clone()));
    let lines = [
        first(&pairs.ours, "full tables"),
        first(&pairs.base, "empty ones"),
    ];
    report.lines("sagas/s", lines.into_iter().flatten().collect());
    let rate = tabulate(&pairs, "full", "empty", report);
    report.ratio("growth", rate);
    report.bar(
        "full tables / empty ones",
        rate,
        Wanted::AtLeast { bar: 0.9, aim: 0.97 },
    );
    Ok(())
}

async fn describe(place: &Place) -> Result<String, Fail> {
    let mut connection = PgConnection::connect(&place.database_url).await?;
    let (buffers, disk): (String, String) = sqlx::query_as(
        "select current_setting('shared_buffers'), pg_size_pretty(pg_database_size(current_database()))",
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    Ok(format!("shared_buffers {buffers}, disk used {disk}"))
}
