//! One target with very many rows, removed in chunks: by a plan, and by a bare loop of the same statement.

use std::time::{Duration, Instant};

use sexton::services::Services;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use super::{RUNS, number};
use crate::Fail;
use crate::messages::{Asker, Outcomes, body_of, random, somebody_reads};
use crate::place::{Place, Stage};
use crate::report::{Report, tell};
use crate::rivals::Rival;

const ROWS: usize = 1_000_000;
/// What a plan that says nothing has.
const CHUNK: usize = 1_000;
const KIND: &str = "bench.jobs";

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let (runs, rows) = (number("BENCH_RUNS", RUNS)?, number("BENCH_ROWS", ROWS)?);
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for turn in 0..runs {
        let database = format!("bench_rows_{turn}");
        let url = services.urls.create_database(&database).await?;
        for rival in Rival::in_turn(turn, Rival::Bare) {
            let target = fill(&url, rows).await?;
            let took = match rival {
                Rival::Sexton => by_plan(services, turn, &url, target).await?,
                _ => by_loop(&url, target).await?,
            };
            let left = rows_of(&url, target).await?;
            if left > 0 {
                return Err(format!("{} left {left} of {rows} rows", rival.name()).into());
            }
            let rate = rows as f64 / took.as_secs_f64();
            tell(&format!(
                "  run {} {:<7} {rate:>7.0} rows/s in {:.1} s",
                turn + 1,
                rival.name(),
                took.as_secs_f64()
            ));
            (if rival == Rival::Sexton {
                &mut ours
            } else {
                &mut base
            })
            .push(rate);
        }
        services.urls.drop_database(&database).await?;
    }
    report.begin_table("sexton", "loop");
    let ratio = report.compare("rows/s", 0, &ours, &base);
    report.ratio("chunked", ratio);
    Ok(())
}

/// The `target` and the `chunk` as each has to name them.
fn statement(target: &str, chunk: &str) -> String {
    format!(
        "delete from jobs where ctid = any (array(select ctid from jobs where owner = {target} limit {chunk}))"
    )
}

/// The rows of one target, among as many of others.
async fn fill(url: &str, rows: usize) -> Result<Uuid, Fail> {
    let mut connection = PgConnection::connect(url).await?;
    let target = random();
    // A statement that reads its snapshot sees no rows that are gone already, and each turn has a table of its own.
    let sql = format!(
        "drop table if exists jobs;
         create table jobs (id bigint generated always as identity primary key, owner text not null, said text not null);
         insert into jobs (owner, said)
         select case n % 2 when 0 then '{target}' else gen_random_uuid()::text end, repeat('x', 100)
         from generate_series(1, 2 * {rows}) n;
         create index on jobs (owner)"
    );
    connection.execute(AssertSqlSafe(sql)).await?;
    connection.execute("vacuum analyze jobs").await?;
    connection.execute("checkpoint").await?;
    connection.close().await?;
    Ok(target)
}

async fn rows_of(url: &str, target: Uuid) -> Result<i64, Fail> {
    let mut connection = PgConnection::connect(url).await?;
    let rows = sqlx::query_scalar("select count(*) from jobs where owner = $1")
        .bind(target.to_string())
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(rows)
}

async fn by_loop(url: &str, target: Uuid) -> Result<Duration, Fail> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = statement("$1", "$2");
    let began = Instant::now();
    loop {
        let done = sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(target.to_string())
            .bind(i64::try_from(CHUNK)?)
            .execute(&mut connection)
            .await?;
        if done.rows_affected() == 0 {
            break;
        }
    }
    let took = began.elapsed();
    connection.close().await?;
    Ok(took)
}

/// From the publish of the request to the receipt of its outcome.
async fn by_plan(services: &Services, turn: usize, url: &str, target: Uuid) -> Result<Duration, Fail> {
    let sql = statement(":id", ":chunk");
    let plan = format!(
        "target = \"{KIND}\"\non = \"jobs\"\n\n[[step]]\nname = \"jobs\"\nchunks = {{ sql = \"{sql}\", size = {CHUNK} }}\n"
    );
    let stage =
        Stage::of(&format!("[systems.jobs]\nkind = \"postgres\"\nurl = \"{url}\"\n")).plan(KIND, &plan);
    let place: Place = Rival::Sexton
        .settle(services, &format!("chunks_{turn}"), &stage)
        .await?;
    let mut outcomes = Outcomes::listen(&place.amqp_url).await?;
    let mut program = Rival::Sexton.run(&place)?;
    program.meanwhile(somebody_reads(&place.amqp_url)).await?;
    let asker = Asker::open(&place.amqp_url).await?;
    let body = body_of(KIND, "bench", &target.to_string(), &random().to_string());
    let began = Instant::now();
    asker.say(&body).await?;
    let last = program.during(outcomes.wait_for(1, SILENCE_MAX)).await?;
    program.stop().await?;
    place.clear(services).await?;
    Ok(last - began)
}

/// The slowest disk removes ten thousand rows a second.
const SILENCE_MAX: Duration = Duration::from_secs(600);
