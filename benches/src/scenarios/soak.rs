//! An hour at half of what Sexton carries: nothing grows that should not, and the last minutes are as good as the first.

use std::time::Duration;

use sexton::services::Services;
use sqlx::{Connection, PgConnection};

use super::half_load::half_of_what_is_carried;
use super::number;
use crate::Fail;
use crate::costs::resident_and_peak_since_kib;
use crate::listening::Listening;
use crate::load::Load;
use crate::messages::{Outcomes, somebody_reads};
use crate::place::Stage;
use crate::plot::Line;
use crate::report::{Report, Wanted, percentile, tell};
use crate::rivals::Rival;
use crate::sampling::Samples;
use crate::tally::Tally;

const LASTS_S: usize = 3_600;
const EVERY: Duration = Duration::from_secs(10);
/// Of the time: what is compared, at either end.
const WINDOW: f64 = 1.0 / 6.0;
/// Of the time, before the first window: plans, caches and pools are what they will be.
const WARM_UP: f64 = 1.0 / 60.0;
/// Flat is what had no more, as a rule and at its peak, in the last window than in the first, but for this: an allocator keeps
/// what it once had.
const RSS_BAR: f64 = 1.1;
/// Dead rows go up and down with each vacuum, so two windows see different peaks.
const DEAD_BAR: f64 = 1.5;
const MIB: f64 = 1_048_576.0;

/// What one look finds.
struct Look {
    at: f64,
    dead_rows: f64,
    table_mib: f64,
    index_mib: f64,
    rss_mib: f64,
    /// Since the look before.
    peak_mib: f64,
}

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let lasts = Duration::from_secs(number("BENCH_SOAK_S", LASTS_S)? as u64);
    let rate = half_of_what_is_carried(services).await?;
    let place = Rival::Sexton.settle(services, "soak", &Stage::noop()).await?;
    let listening = Listening::start(Outcomes::listen(&place.amqp_url).await?);
    let mut program = Rival::Sexton.run(&place)?;
    program.meanwhile(somebody_reads(&place.amqp_url)).await?;
    let (load, _) = Load::Steady { rate, lasts }.start(&place).await?;
    let mut connection = PgConnection::connect(&place.database_url).await?;
    let mut looks: Vec<Look> = Vec::new();
    let mut samples = Samples::begin(&listening)?;
    let pid = program.pid;
    let every = EVERY.min(lasts / 60);
    let watching = samples.take(&listening, every, lasts, async |at| {
        looks.push(look(&mut connection, at, resident_and_peak_since_kib(pid)?).await?);
        Ok(())
    });
    program.during(watching).await?;
    connection.close().await?;
    let all = load.ended_saying().await?.parse::<usize>()?;
    program.during(listening.until(all)).await?;
    program.stop().await?;
    listening.stop().await?;
    Tally::default().and(all)?.found_at(&place, Rival::Sexton).await?;
    place.clear(services).await?;
    tell(&format!("  {all} sagas in {} s", lasts.as_secs()));
    tabulate(&samples, &looks, lasts.as_secs_f64(), report);
    Ok(())
}

fn tabulate(samples: &Samples, looks: &[Look], lasts: f64, report: &mut Report) {
    let (window, warm) = (lasts * WINDOW, lasts * WARM_UP);
    let (first, last) = ((warm, warm + window), (lasts - window, lasts));
    let within = |of: fn(&Look) -> f64, share, (from, to): (f64, f64)| {
        let inside = looks.iter().filter(|look| look.at >= from && look.at <= to);
        [percentile(&inside.map(of).collect::<Vec<f64>>(), share)]
    };
    report.begin_table("last sixth", "first sixth");
    let rate = report.compare(
        "sagas/s",
        0,
        &[samples.rate_between(last.0, last.1)],
        &[samples.rate_between(first.0, first.1)],
    );
    let mut row = |name, share, of: fn(&Look) -> f64| {
        report.compare(name, 1, &within(of, share, last), &within(of, share, first))
    };
    let rss = row("RSS, MiB", 0.5, |look| look.rss_mib);
    let peak = row("RSS at its peak, MiB", 1.0, |look| look.peak_mib);
    let dead = row("dead rows at most", 1.0, |look| look.dead_rows);
    row("tables at most, MiB", 1.0, |look| look.table_mib);
    row("indexes at most, MiB", 1.0, |look| look.index_mib);
    report.ratio("soak", rate);
    report.bar(
        "soak: last sixth / first",
        rate,
        Wanted::AtLeast { bar: 0.95, aim: 1.0 },
    );
    for (name, ratio) in [
        ("soak: RSS, last sixth / first", rss),
        ("soak: RSS at its peak, last sixth / first", peak),
    ] {
        let wanted = Wanted::AtMost {
            bar: RSS_BAR,
            aim: 1.0,
        };
        report.bar(name, ratio, wanted);
    }
    report.bar(
        "soak: dead rows at most, last sixth / first",
        dead,
        Wanted::AtMost {
            bar: DEAD_BAR,
            aim: 1.0,
        },
    );
    let line = |name, of: fn(&Look) -> f64| {
        vec![Line::of(
            name,
            looks.iter().map(|look| (look.at, of(look))).collect(),
        )]
    };
    report.lines("sagas/s", vec![Line::of("sagas/s", samples.rates())]);
    let mut memory = line("RSS", |look| look.rss_mib);
    memory.extend(line("its peaks", |look| look.peak_mib));
    report.lines("MiB", memory);
    report.lines("rows", line("dead rows", |look| look.dead_rows));
    let mut sizes = line("tables", |look| look.table_mib);
    sizes.extend(line("indexes", |look| look.index_mib));
    report.lines("MiB", sizes);
}

async fn look(connection: &mut PgConnection, at: f64, (rss_kib, peak_kib): (u64, u64)) -> Result<Look, Fail> {
    let (dead_rows, tables, indexes): (i64, i64, i64) = sqlx::query_as(
        "select (select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables),
                coalesce(sum(pg_table_size(oid)), 0)::bigint, coalesce(sum(pg_indexes_size(oid)), 0)::bigint
         from pg_class where relkind = 'r' and relnamespace = 'sexton'::regnamespace",
    )
    .fetch_one(connection)
    .await?;
    Ok(Look {
        at,
        dead_rows: dead_rows as f64,
        table_mib: tables as f64 / MIB,
        index_mib: indexes as f64 / MIB,
        rss_mib: rss_kib as f64 / 1_024.0,
        peak_mib: peak_kib as f64 / 1_024.0,
    })
}
