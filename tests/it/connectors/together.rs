//! Statements of many deletions in one transaction, and what every transaction over there has around it.

use serde_json::{Value, json};
use sexton::connectors::Attempt;

use super::place::{Place, attempt, gone};

/// Since when somebody waits for the table `seen`; empty if nobody does.
const WAITING: &str =
    "select waitstart::text from pg_locks where not granted and relation = 'seen'::regclass";

#[tokio::test]
async fn after_a_statement_that_the_server_did_not_take_nothing_runs_outside_a_transaction() {
    let place = Place::new().await;
    place
        .execute("create table seen (id text, lock_timeout text)")
        .await;
    // Each row says whether the timeouts of our transaction were in force when it was written.
    let call = gone("insert into seen select :id, current_setting('lock_timeout')");
    let mut held = place.platform.begin().await.unwrap();
    sqlx::raw_sql("lock table seen in access exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let attempts: Vec<Attempt> = ["a", "b"].map(attempt).into();
    let connector = place.connector(&call);
    let (verdicts, ()) = tokio::join!(connector.run_many(&call, &attempts), async {
        // The first to prepare waits for the lock and is cut off by its timeout; whoever waits then gets it.
        let first = until(&place, |waiting| *waiting != json!([])).await;
        until(&place, |waiting| *waiting != json!([]) && *waiting != first).await;
        held.rollback().await.unwrap();
    });
    let words: Vec<&str> = verdicts.iter().map(|verdict| verdict.word()).collect();
    assert_eq!(words, ["done", "done"], "{verdicts:?}");
    assert_eq!(
        place.json("select * from seen order by id").await,
        json!([{"id": "a", "lock_timeout": "500ms"}, {"id": "b", "lock_timeout": "500ms"}])
    );
}

async fn until(place: &Place, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let waiting = place.json(WAITING).await;
        if wanted(&waiting) {
            return waiting;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn invariant_12_notices_of_a_foreign_database_are_not_sent_to_us() {
    let place = Place::new().await;
    place.execute("create table seen (level text)").await;
    let call = gone("insert into seen select current_setting('client_min_messages') where :id = 'a'");
    assert_eq!(place.run(&call, &attempt("a")).await.word(), "done");
    assert_eq!(
        place.json("select * from seen").await,
        json!([{"level": "error"}])
    );
}
