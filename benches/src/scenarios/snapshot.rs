//! Somebody leaves a transaction open in Sexton's own database: nothing that dies after it began can be cleared away. The rate
//! at saturation while that lasts, against as long a time before it.

use std::time::Duration;

use sexton::services::Services;
use sqlx::{Connection, Executor, PgConnection};

use super::number;
use crate::Fail;
use crate::listening::Listening;
use crate::load::Load;
use crate::messages::{Outcomes, somebody_reads};
use crate::place::{Place, Stage};
use crate::plot::Line;
use crate::program::Program;
use crate::report::{Report, Wanted, tell};
use crate::rivals::Rival;
use crate::sampling::Samples;
use crate::tally::Tally;

const HELD_S: usize = 600;
/// Until caches and plans are what they will be.
const WARM_UP: Duration = Duration::from_secs(15);
/// The load outlasts what is measured.
const AFTER: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let held = Duration::from_secs(number("BENCH_SNAPSHOT_S", HELD_S)? as u64);
    let place = Rival::Sexton.settle(services, "snapshot", &Stage::noop()).await?;
    let listening = Listening::start(Outcomes::listen(&place.amqp_url).await?);
    let mut program = Rival::Sexton.run(&place)?;
    program.meanwhile(somebody_reads(&place.amqp_url)).await?;
    let lasts = WARM_UP + 2 * held + AFTER;
    let (load, _) = Load::Saturating { lasts }.start(&place).await?;
    tokio::time::sleep(WARM_UP).await;
    let mut samples = Samples::begin(&listening)?;
    let without = watched(&mut program, &mut samples, &listening, held).await?;
    let holder = Holder::begin(&place).await?;
    let with = watched(&mut program, &mut samples, &listening, held).await?;
    holder.end().await?;
    let all = load.ended_saying().await?.parse::<usize>()?;
    program.during(listening.until(all)).await?;
    program.stop().await?;
    listening.stop().await?;
    Tally::default().and(all)?.found_at(&place, Rival::Sexton).await?;
    place.clear(services).await?;
    report.begin_table("held", "not held");
    let ratio = report.compare("sagas/s", 0, &[with], &[without]);
    report.lines(
        "sagas/s",
        vec![Line::of(
            &format!("a snapshot is held from {} s on", held.as_secs()),
            samples.rates(),
        )],
    );
    report.ratio("held-snapshot", ratio);
    report.bar(
        "a snapshot is held / none is",
        ratio,
        Wanted::AtLeast { bar: 0.9, aim: 0.97 },
    );
    Ok(())
}

/// Sagas a second over so long a time.
async fn watched(
    program: &mut Program,
    samples: &mut Samples,
    listening: &Listening,
    lasts: Duration,
) -> Result<f64, Fail> {
    let began = samples.last();
    program
        .during(samples.take(listening, EVERY, lasts, async |_| Ok(())))
        .await?;
    let rate = samples.rate_since(began);
    tell(&format!("  {rate:>7.0} sagas/s in {} s", lasts.as_secs()));
    Ok(rate)
}

/// A transaction that sees one moment, for as long as it stands.
struct Holder {
    connection: PgConnection,
    seen: String,
}

const MOMENT: &str = "select pg_current_snapshot()::text";

impl Holder {
    async fn begin(place: &Place) -> Result<Self, Fail> {
        let mut connection = PgConnection::connect(&place.database_url).await?;
        connection
            .execute("begin isolation level repeatable read")
            .await?;
        let seen = sqlx::query_scalar(MOMENT).fetch_one(&mut connection).await?;
        Ok(Holder { connection, seen })
    }

    /// Fails if it was not held all the time.
    async fn end(mut self) -> Result<(), Fail> {
        let sees: String = sqlx::query_scalar(MOMENT).fetch_one(&mut self.connection).await?;
        if sees != self.seen {
            return Err(format!("the snapshot is {sees}; wanted {}, as it began", self.seen).into());
        }
        self.connection.execute("commit").await?;
        Ok(self.connection.close().await?)
    }
}
