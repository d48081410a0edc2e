//! Tables that were empty a moment ago: Postgres plans for what it counted then, and keeps the plan while they fill.

use crate::costs::{does_nothing, ended_and_counted, publish_sagas};
use crate::house::House;

/// Enough that each statement was made more often than the five times after which Postgres keeps one plan.
const SAGAS: usize = 4_000;
/// Requests for the same targets, which are folded in where a deletion is open.
const MORE: usize = 400;
/// Rows that have nothing to do with them, and that no analyze has seen.
const OTHERS: &str = "
    insert into sexton.open_deletions (id, tenant, target_type, target_id, request_id, plan, fold, due_at)
    select gen_random_uuid(), 't', 'other', n::text, gen_random_uuid(), 0, gen_random_uuid(), '9999-01-01'
    from generate_series(1, 40000) n;
    insert into sexton.joined (deletion_id, request_id)
    select gen_random_uuid(), gen_random_uuid() from generate_series(1, 40000);
    insert into sexton.successors (blocking, deletion_id, request_id, plan, fold, due_at)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 0, gen_random_uuid(), '9999-01-01'
    from generate_series(1, 40000);
    alter table sexton.open_deletions set (autovacuum_enabled = off);
    alter table sexton.joined set (autovacuum_enabled = off);
    alter table sexton.successors set (autovacuum_enabled = off);
    update pg_class set reltuples = 0, relpages = pg_relation_size(oid) / 8192
    where relnamespace = 'sexton'::regnamespace and relname in ('open_deletions', 'joined', 'successors')";
/// A look at each record, and some around them.
const LOOKS_A_SAGA: i64 = 20;
/// What is open is counted at times, all of it: six such counts.
const COUNTED: i64 = 6 * 40_000;

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_plan_made_for_empty_tables_does_not_read_full_ones() {
    let house = busy().await;
    publish_sagas(&house, 'k', SAGAS).await;
    house
        .sql("vacuum analyze sexton.outbox, sexton.open_deletions, sexton.claims")
        .await;
    carry_out(&house, SAGAS).await;

    for (table, rows, _) in read(&house).await {
        assert_eq!(rows, 0, "rows of {table} that were read without an index");
    }
}

/// Nor all of their indexes. An analyze that comes in a quiet moment, as each does some time, counts no row on as many pages as there
/// are, and however many come until the next one, Postgres takes it that there are none.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_plan_made_for_few_rows_looks_up_each_among_many() {
    let house = busy().await;
    publish_sagas(&house, 'm', MORE).await;
    publish_sagas(&house, 'k', SAGAS).await;
    house.sql(OTHERS).await;
    carry_out(&house, SAGAS + MORE).await;

    for (table, rows, entries) in read(&house).await {
        assert_eq!(rows, 0, "rows of {table} that were read without an index");
        let most = LOOKS_A_SAGA * i64::try_from(SAGAS + MORE).expect("few") + COUNTED;
        assert!(
            entries < most,
            "{entries} entries of {table}'s indexes were read, wanted {most} at most"
        );
    }
}

async fn busy() -> House {
    let mut house = House::new().await;
    house.change_settings("lease = \"10s\"\nstatement_timeout = \"4s\"", "");
    does_nothing(&mut house).await;
    house
}

async fn carry_out(house: &House, deletions: usize) {
    let worker = house.process(&[]);
    house
        .heard
        .until("all are deleted", |events| {
            (events.len() >= deletions).then_some(())
        })
        .await;
    ended_and_counted(house, worker).await;
}

/// Of each table that was used: rows that were read without an index, and entries of its indexes.
async fn read(house: &House) -> Vec<(String, i64, i64)> {
    let read: Vec<(String, i64, i64)> = sqlx::query_as(
        "select t.relname::text, t.seq_tup_read, sum(i.idx_tup_read)::bigint
         from pg_stat_user_tables t join pg_stat_user_indexes i using (relid)
         where t.schemaname = 'sexton' and t.idx_scan > 0
           and t.relname ~ '^(outbox|open_deletions|claims|joined|successors|requests_|keys_|deletions_)'
         group by 1, 2",
    )
    .fetch_all(&house.db)
    .await
    .expect("counters");
    for table in ["outbox", "open_deletions", "claims"] {
        assert!(read.iter().any(|(name, ..)| name == table), "{table} in {read:?}");
    }
    read
}
