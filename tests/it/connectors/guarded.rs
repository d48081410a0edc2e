//! Guards: what they say, what they keep still, and what is done of a repeat.

use std::time::Duration;

use serde_json::json;
use sexton::connectors::Attempt;
use sexton::deletion::Verdict;
use sexton::plan::{Call, Guard, ZeroRows};

use super::place::{Place, attempt, statement};

const BUSY: &str = "it is in use";

fn guarded(sql: &str, guard: &str) -> Call {
    Call::Sql {
        sql: statement(sql),
        none: ZeroRows::AlreadyGone,
        guard: Some(Guard {
            sql: statement(guard),
            otherwise: BUSY.to_owned(),
        }),
    }
}

async fn place() -> Place {
    let place = Place::new().await;
    place
        .execute(
            "create table seats (id text primary key, status text, room text not null default 'r');
             insert into seats values ('idle', 'IDLE'), ('busy', 'STARTED'), ('odd', null)",
        )
        .await;
    place
}

async fn left(place: &Place) -> serde_json::Value {
    place.json("select id, status from seats order by id").await
}

#[tokio::test]
async fn a_guard_lets_through_what_it_says_yes_to_and_what_is_not_there() {
    let place = place().await;
    let call = guarded(
        "delete from seats where id = :id",
        "select status = 'IDLE' from seats where id = :id for update",
    );
    assert!(!place.connector(&call).batches(&call));
    for id in ["busy", "odd"] {
        assert_eq!(
            place.run(&call, &attempt(id)).await,
            Verdict::refused(BUSY),
            "{id}"
        );
    }
    assert_eq!(place.run(&call, &attempt("idle")).await.word(), "done");
    assert_eq!(place.run(&call, &attempt("idle")).await, Verdict::AlreadyGone);
    assert_eq!(
        left(&place).await,
        json!([{"id": "busy", "status": "STARTED"}, {"id": "odd", "status": null}])
    );
    // No row of the guard's is for the statement to speak of, which may find something all the same.
    let other = guarded(
        "delete from seats where id = :id",
        "select false from seats where id = 'nobody' and room = :id for update",
    );
    assert_eq!(place.run(&other, &attempt("odd")).await.word(), "done");
}

#[tokio::test]
async fn a_guard_that_answers_anything_else_fails_and_nothing_happens() {
    let place = place().await;
    let before = left(&place).await;
    for guard in [
        "select true from seats where :id = 'idle' for update",
        "select true, true from seats where id = :id for update",
        "select 'true'::text from seats where id = :id for update",
        "select 1 from seats where id = :id for update",
        "select nothing from seats where id = :id for update",
    ] {
        let call = guarded("delete from seats where id = :id", guard);
        assert_eq!(
            place.run(&call, &attempt("idle")).await.word(),
            "failed",
            "{guard}"
        );
    }
    // In the place of a query no change can stand.
    let changes = guarded(
        "delete from seats where id = :id",
        "with gone as (delete from seats returning true) select true from gone where :id <> '' limit 1",
    );
    assert_eq!(place.run(&changes, &attempt("idle")).await.word(), "again");
    assert_eq!(left(&place).await, before);
    let fine = guarded(
        "delete from seats where id = :id",
        "select true from seats where id = :id for update",
    );
    assert_eq!(place.run(&fine, &attempt("idle")).await.word(), "done");
}

#[tokio::test]
async fn a_guard_that_waits_too_long_is_asked_again_and_nothing_has_happened() {
    let place = place().await;
    let call = guarded(
        "delete from seats where id = :id",
        "select status = 'IDLE' from seats where id = :id for update",
    );
    let mut other = place.platform.begin().await.unwrap();
    sqlx::query("select from seats for update")
        .execute(&mut *other)
        .await
        .unwrap();
    let short = Attempt {
        timeout: Duration::from_millis(500),
        ..attempt("idle")
    };
    let verdict = place.run(&call, &short).await;
    assert_eq!(verdict.word(), "again", "{verdict:?}");
    other.rollback().await.unwrap();
    assert_eq!(place.run(&call, &attempt("idle")).await.word(), "done");
}

/// Nothing can be locked of a row that is not there; and yet what comes then is not taken unseen.
#[tokio::test]
async fn invariant_07_what_a_guard_could_not_lock_is_not_taken_unseen() {
    let place = place().await;
    // It looks, and then waits for the test.
    place
        .execute(
            "create function look(which text) returns setof boolean language plpgsql as $$
             declare idle boolean;
             begin
                select status = 'IDLE' into idle from seats where id = which for update;
                perform pg_advisory_xact_lock(7);
                if idle is not null then return next idle; end if;
             end $$",
        )
        .await;
    let call = guarded(
        "delete from seats where id = :id",
        "select idle from look(:id) idle",
    );
    let mut other = place.platform.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(7)")
        .execute(&mut *other)
        .await
        .unwrap();
    let late = attempt("late");
    let (verdict, ()) = tokio::join!(place.run(&call, &late), async {
        let waits = "select 1 from pg_locks where locktype = 'advisory' and not granted
                     and database = (select oid from pg_database where datname = current_database())";
        while place.json(waits).await == json!([]) {
            tokio::task::yield_now().await;
        }
        place
            .execute("insert into seats values ('late', 'STARTED')")
            .await;
        other.commit().await.unwrap();
    });
    assert_eq!(verdict, Verdict::refused(BUSY));
    let found = place.json("select status from seats where id = 'late'").await;
    assert_eq!(found, json!([{"status": "STARTED"}]));
}

#[tokio::test]
async fn a_guarded_delete_may_be_repeated_and_a_guarded_change_may_not() {
    let place = place().await;
    const GUARD: &str = "select status = 'IDLE' from seats where id = :id for update";
    let delete = guarded("delete from seats where id = :id", GUARD);
    let change = guarded("update seats set status = 'GONE' where id = :id", GUARD);
    for (call, probed, repeated) in [
        (&change, "blocked", "refused"),
        (&delete, "again", "already_gone"),
    ] {
        let one = attempt("idle");
        assert_eq!(place.run(call, &one).await.word(), "done");
        // What would be said if it were repeated after a lost answer.
        assert_eq!(place.run(call, &one).await.word(), repeated);
        assert_eq!(place.connector(call).probe(call, &one).await.word(), probed);
        place
            .execute("update seats set status = 'IDLE' where id = 'idle'")
            .await;
    }
}
