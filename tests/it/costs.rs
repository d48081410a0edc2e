//! What a deletion costs, in figures that are the same on every machine: commits, statements, bytes of WAL and messages of a
//! saga of four steps, and the rows that a claim looks at among a million. `make bench` measures how fast that is.

use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use serde_json::json;
use sexton::broker::{REJECTED_QUEUE, REQUESTS_QUEUE};
use sexton::services::{Ending, Options, Services};
use sexton::store::Passed;
use sqlx::postgres::PgPool;
use sqlx::{Connection, PgConnection};

use crate::batches::note;
use crate::guards::one_kept;
use crate::house::House;
use crate::shop::message;
use crate::unkeepable::publish_all;
use crate::workers::Outside;

/// What happens by the clock and at the start costs little of so many.
const SAGAS: usize = 16_000;
/// Three times the bar of `make bench`: a worker that is not optimized fills its batches by half, and what happens by the clock
/// happens more often the longer other tests take the cores. One commit too many for each saga would be five times as much.
const COMMITS_MAX: f64 = 0.2;
/// An admission, five records and an end are some dozen statements for hundreds of sagas; the clock asks for the rest.
const STATEMENTS_MAX: f64 = 0.2;
/// An event that is not crossed off in time is published again, under the same id.
const MESSAGES_MAX: f64 = 2.05;
/// The bar of a saga of four steps, without what Postgres writes again after a checkpoint.
const WAL_BYTES_MAX: f64 = 3_072.0;

const NOTHING: &str = r#"target = "shop.nothing"
on = "nowhere"

[[step]]
name = "one"
nothing = true

[[step]]
name = "two"
nothing = true

[[step]]
name = "three"
nothing = true

[[step]]
name = "four"
nothing = true
"#;

/// A Postgres that counts statements, and whose WAL is all ours.
async fn counting() -> Services {
    let options = Options {
        durable: false,
        database_url: None,
        ..Options::from_env()
    };
    let mut services = Services::start(options).await.expect("servers");
    let mut connection = PgConnection::connect(&services.urls.database_url)
        .await
        .expect("a login");
    for sql in [
        "alter system set shared_preload_libraries = 'pg_stat_statements'",
        // Nothing but the work writes.
        "alter system set autovacuum = off",
        "alter system set checkpoint_timeout = '1h'",
        "alter system set max_wal_size = '8GB'",
    ] {
        sqlx::query(sql).execute(&mut connection).await.expect(sql);
    }
    connection.close().await.expect("an end");
    services.stop_postgres(Ending::Clean).await.expect("stopped");
    services.start_postgres().await.expect("started");
    services
}

/// A worker with the settings that it has by itself, for sagas of four steps that touch nothing.
pub(crate) async fn does_nothing(house: &mut House) {
    house.change_settings("log = \"sexton=debug\"", "log = \"warn\"");
    house.change_settings("lanes = 1\n", "");
    house.change_settings("poll = \"50ms\"\n", "");
    // Never called, and never what is waited for.
    let nowhere = format!(
        "[systems.nowhere]\nkind = \"archive\"\nfolder = {:?}\nlimit = 1000\n",
        house.folder()
    );
    house.also_settings(&nowhere);
    house.plan("nothing", NOTHING);
    house.worker_once().await;
}

/// Of targets that are counted; keys begin with this letter.
pub(crate) async fn publish_sagas(house: &House, letter: char, count: usize) {
    let requests = (0..count).map(|nth| {
        let body = json!({"target": {"type": "shop.nothing", "id": format!("n{nth}")}, "tenant": "t", "key": format!("{letter}{nth}")});
        message(Bytes::from(body.to_string()))
    });
    publish_all(house, requests.collect()).await;
}

/// Stops it, and waits until all that it did is counted: what a connection has done is told when it ends.
pub(crate) async fn ended_and_counted(house: &House, worker: Outside) {
    worker.signal(Signal::TERM);
    let (status, log) = worker.ended().await;
    assert!(status.success(), "{log}");
    house
        .until(
            "its connections are gone",
            "select not exists (select from pg_stat_activity where datname = current_database()
                                and application_name like 'sexton%')",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_of_four_steps_costs_no_more_than_it_may() {
    let services = counting().await;
    let mut house = House::in_servers(services.urls.clone()).await;
    house.change_settings("lease = \"5s\"\nstatement_timeout = \"2s\"", "");
    does_nothing(&mut house).await;
    publish_sagas(&house, 'k', SAGAS).await;
    house
        .sql("create extension pg_walinspect; create extension pg_stat_statements; checkpoint")
        .await;
    let began: String = sqlx::query_scalar("select pg_current_wal_insert_lsn()::text")
        .fetch_one(&house.db)
        .await
        .expect("a place in the log");
    let commits = "select xact_commit from pg_stat_database where datname = current_database()";
    house.sql("select pg_stat_statements_reset()").await;
    let before = house.count(commits).await;

    let worker = house.process(&[]);
    // Looked at seldom, since looking counts.
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    let is_over =
        "select (select count(*) = 16000 from sexton.deletions) and not exists (select from sexton.outbox)";
    while !house.is(is_over).await {
        looks.tick().await;
    }
    ended_and_counted(&house, worker).await;

    let a_saga = |of: f64| of / SAGAS as f64;
    let commits = a_saga((house.count(commits).await - before) as f64);
    let statements: i64 = house
        .count("select sum(calls)::bigint from pg_stat_statements where query like '/* %' and toplevel")
        .await;
    let statements = a_saga(statements as f64);
    let wal: f64 = sqlx::query_scalar(
        "select sum(record_length - fpi_length)::float8 from pg_get_wal_records_info($1::pg_lsn, pg_current_wal_flush_lsn())",
    )
    .bind(&began)
    .fetch_one(&house.db)
    .await
    .expect("the log");
    let wal = a_saga(wal);
    let records: i64 = house.count("select sum(seq)::bigint from sexton.deletions").await;
    let said = format!(
        "a saga of four steps: {commits:.3} commits, {statements:.3} statements, {wal:.0} bytes of WAL"
    );
    note(&format!("costs: {said}"));
    assert!(records >= 5 * SAGAS as i64, "{records} records");
    assert!(
        commits <= COMMITS_MAX,
        "{said}; wanted at most {COMMITS_MAX} commits"
    );
    assert!(
        statements <= STATEMENTS_MAX,
        "{said}; wanted at most {STATEMENTS_MAX} statements"
    );
    assert!(statements > 0.0 && wal > 500.0, "{said}: nothing was counted");
    assert!(
        wal <= WAL_BYTES_MAX,
        "{said}; wanted at most {WAL_BYTES_MAX} bytes"
    );

    // One in, one out.
    let messages = a_saga((SAGAS + house.heard.all().len()) as f64);
    assert!(
        (2.0..=MESSAGES_MAX).contains(&messages),
        "{messages} messages a saga; wanted 2, and at most {MESSAGES_MAX}"
    );
    for nth in (0..SAGAS).step_by(SAGAS / 100) {
        assert_eq!(house.heard.ends(&format!("k{nth}")).len(), 1, "k{nth}");
    }
    let desk = house.desk().await;
    for queue in [REQUESTS_QUEUE, REJECTED_QUEUE] {
        assert_eq!(desk.depth(queue).await.expect("a queue").ready, 0, "{queue}");
    }
    desk.close().await;
    drop(house);
    services.stop().await.expect("a clean end");
}

/// A claim goes by the index of what is due, and by nothing else, however much waits for later or has ended.
#[tokio::test]
async fn a_claim_among_a_million_looks_at_what_it_takes() {
    let mut desk = one_kept().await;
    // On a connection of its own, since what a connection has read is told when it ends.
    let mut filler = PgConnection::connect_with(&desk.db.connect_options())
        .await
        .expect("a login");
    for sql in [
        "delete from sexton.open_deletions",
        "insert into sexton.open_deletions (id, tenant, target_type, target_id, request_id, plan, fold, due_at)
         select gen_random_uuid(), 't', 'shop.thing', n::text, gen_random_uuid(), (select min(id) from sexton.plans),
                gen_random_uuid(), now() + (case when n % 2000 = 0 then interval '-1 second' else interval '1 day' end)
         from generate_series(1, 1000000) n",
        "analyze sexton.open_deletions",
    ] {
        sqlx::query(sql).execute(&mut filler).await.expect(sql);
    }
    filler.close().await.expect("an end");
    let mut before = 0;
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    loop {
        looks.tick().await;
        let now = looked_at(&desk.db).await;
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    let (claimed, _) = desk
        .writer
        .claim(&[desk.opened.plan], Passed::default(), 250, 250)
        .await
        .expect("claimed");
    assert!(claimed.is_empty(), "their requests are not there");
    desk.writer.close().await;
    // Told a moment after the connection has ended.
    let mut rows = 0;
    while rows < 250 {
        looks.tick().await;
        rows = looked_at(&desk.db).await - before;
    }
    let taken: i64 = sqlx::query_scalar("select count(*) from sexton.open_deletions where lane is not null")
        .fetch_one(&desk.db)
        .await
        .expect("a count");
    note(&format!(
        "costs: a claim of {taken} among 1,000,000 looks at {rows} entries of indexes"
    ));
    // By the index of what is due, and once more by its id.
    assert_eq!(taken, 250);
    assert!((250..=600).contains(&rows), "{rows} entries");
}

/// Entries of indexes, and rows without one.
async fn looked_at(db: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select (select sum(idx_tup_read) from pg_stat_user_indexes where relid = 'sexton.open_deletions'::regclass)::bigint
              + (select seq_tup_read from pg_stat_user_tables where relid = 'sexton.open_deletions'::regclass)",
    )
    .fetch_one(db)
    .await
    .expect("counters")
}
