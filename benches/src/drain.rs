//! One run over deletions that are admitted already: the engine alone, until nothing is open.

use std::time::Duration;

use futures::future::try_join_all;
use sexton::services::Services;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::Fail;
use crate::costs::{Meter, Spent};
use crate::fill::Fill;
use crate::place::{Place, Stage};
use crate::program::Program;
use crate::rivals::Rival;
use crate::scenarios::Run;
use crate::tally::Tally;

/// When it is over is read from the rows; this only says when to look there.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Slower than this nobody is who works: what is not over by then is stuck.
const SLOWEST_A_SECOND: usize = 200;
const START_MAX: Duration = Duration::from_secs(60);

/// So many deletions by so many workers.
pub(crate) async fn drain(
    services: &Services,
    rival: Rival,
    turn: usize,
    deletions: usize,
    workers: usize,
) -> Result<Run, Fail> {
    let place = rival
        .settle(services, &format!("{turn}_by_{workers}"), &Stage::noop().quiet())
        .await?;
    let mut fill = Fill::begin(&place, rival).await?;
    fill.open(deletions).await?;
    fill.end().await?;
    let before = Tally::read(&place, rival).await?;
    // An engine publishes its own events. It does not while the broker takes none; they stay in the outbox.
    let is_sexton = rival == Rival::Sexton;
    services.memory_alarm(is_sexton).await?;
    let run = carry_out(services, &place, rival, before, deletions, workers).await;
    services.memory_alarm(false).await?;
    let run = run?;
    place.clear(services).await?;
    Ok(run)
}

async fn carry_out(
    services: &Services,
    place: &Place,
    rival: Rival,
    before: Tally,
    deletions: usize,
    workers: usize,
) -> Result<Run, Fail> {
    let meter = Meter::begin(services, &place.name).await?;
    let drain_max = START_MAX + Duration::from_secs((deletions / SLOWEST_A_SECOND) as u64);
    let mut programs = (0..workers)
        .map(|_| rival.run_engine(place))
        .collect::<Result<Vec<Program>, Fail>>()?;
    tokio::select! {
        over = tokio::time::timeout(drain_max, until_nothing_is_open(place, rival)) => {
            over.map_err(|_| format!("{} has not ended all in {drain_max:?}", rival.name()))??;
        }
        died = try_join_all(programs.iter_mut().map(Program::die)) => died.map(|_| ())?,
    }
    let (mut cpu, mut peak_kib) = (Duration::ZERO, 0);
    for program in programs {
        cpu += program.cpu();
        peak_kib += program.peak_kib();
        // What it has not published stays where it is.
        program.kill().await?;
    }
    let spent = meter.end(services, cpu).await?;
    let left = before.drained(deletions)?.found_at(place, rival).await?;
    Ok(Run {
        sagas: deletions,
        took: from_first_record_to_last_end(place, rival).await?,
        spent: Spent {
            peak_kib,
            dead_rows: left.dead,
            ..spent
        },
        pace: Vec::new(),
    })
}

async fn until_nothing_is_open(place: &Place, rival: Rival) -> Result<(), Fail> {
    let mut connection = PgConnection::connect(&place.database_url).await?;
    // One end of the index, for a look must not cost what the work costs: what was opened last is carried out last.
    let sql = format!(
        "select id from {}.open_deletions order by id desc limit 1",
        rival.schema()
    );
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    loop {
        ticks.tick().await;
        let open = sqlx::query(AssertSqlSafe(sql.as_str()))
            .fetch_optional(&mut connection)
            .await?;
        if open.is_none() {
            return Ok(connection.close().await?);
        }
    }
}

/// By the rows' own times, which are those of their transactions.
async fn from_first_record_to_last_end(place: &Place, rival: Rival) -> Result<Duration, Fail> {
    let mut connection = PgConnection::connect(&place.database_url).await?;
    let sql = format!(
        "select extract(epoch from (select max(ended_at) from {0}.deletions) - (select min(at) from {0}.journal))::float8",
        rival.schema()
    );
    let seconds: f64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}
