//! Tables that somebody vacuumed while they were empty: Postgres plans for what it saw then, and keeps the plan while they fill.

use crate::costs::{does_nothing, ended_and_counted, publish_sagas};
use crate::house::House;

/// Enough that each statement was made more often than the five times after which Postgres keeps one plan.
const SAGAS: usize = 4_000;

#[tokio::test(flavor = "multi_thread")]
async fn invariant_11_a_plan_made_for_empty_tables_does_not_read_full_ones() {
    let mut house = House::new().await;
    house.change_settings("lease = \"10s\"\nstatement_timeout = \"4s\"", "");
    does_nothing(&mut house).await;
    publish_sagas(&house, SAGAS).await;
    house
        .sql("vacuum analyze sexton.outbox, sexton.open_deletions, sexton.claims")
        .await;

    let worker = house.process(&[]);
    house
        .heard
        .until("all are deleted", |events| (events.len() >= SAGAS).then_some(()))
        .await;
    ended_and_counted(&house, worker).await;

    let read: Vec<(String, i64, i64)> = sqlx::query_as(
        "select relname::text, idx_scan, seq_tup_read from pg_stat_user_tables
         where schemaname = 'sexton' and relname ~ '^(outbox|open_deletions|claims|requests_|keys_|deletions_)' and idx_scan > 0",
    )
    .fetch_all(&house.db)
    .await
    .expect("counters");
    for table in ["outbox", "open_deletions", "claims"] {
        assert!(read.iter().any(|(name, ..)| name == table), "{table} in {read:?}");
    }
    for (table, _, rows) in &read {
        assert_eq!(
            *rows, 0,
            "rows of {table} that were read without an index: {read:?}"
        );
    }
}
