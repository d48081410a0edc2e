//! Very many rows go in bounded chunks, and many deletions in one transaction.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use sexton::connectors::Attempt;
use sexton::deletion::Verdict;
use sexton::plan::Call;
use sexton::stopper::{Gate, Lease, Stopper};

use super::place::{Place, attempt, give, gone, statement};

#[tokio::test]
async fn chunks_go_on_where_they_stopped_and_are_done_only_when_none_is_left() {
    let place = Place::new().await;
    place.computer("c").await;
    // Each chunk has much to compute, so that the budget of a turn ends in the middle.
    let call = Call::Chunks {
        sql: statement(
            "delete from messages where id in (select m.id from messages m join sessions s on s.id = m.session_id
             where s.computer_id = :id and (select count(*) from generate_series(1, 1000000)) > 0 order by m.id limit :chunk)",
        ),
        size: 1,
    };
    let mut attempt = Attempt {
        timeout: Duration::from_secs(3),
        ..attempt("c")
    };
    let mut turns = 0;
    let count = "select count(*) from messages";
    let mut left = 50;
    let proof = loop {
        match place.run(&call, &attempt).await {
            Verdict::Pending { look_again, handle } => {
                turns += 1;
                assert_eq!(look_again, Duration::ZERO);
                let now = place.json(count).await[0]["count"].as_u64().unwrap();
                assert!(now < left, "a turn without progress");
                assert_eq!(
                    handle.as_ref().unwrap()["deleted"],
                    json!(50 - now),
                    "progress is told as it is"
                );
                left = now;
                attempt.handle = handle;
            }
            Verdict::Done { proof } => break proof.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert!(turns > 0, "it was never interrupted");
    assert_eq!(proof["rows"], json!(50));
    assert_eq!(place.json(count).await[0]["count"], json!(0));
    assert_eq!(
        place.run(&call, &super::place::attempt("c")).await,
        Verdict::AlreadyGone
    );
}

#[tokio::test]
async fn chunks_tell_their_progress_when_they_are_stopped_in_the_middle() {
    let place = Place::new().await;
    place.computer("c").await;
    place
        .execute(
            "create function stop_here() returns trigger language plpgsql as
             $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
             create trigger stop_here after delete on messages for each statement
             when (pg_trigger_depth() = 0) execute function stop_here()",
        )
        .await;
    let call = Call::Chunks {
        sql: statement("delete from messages where id in (select id from messages order by id limit :chunk)"),
        size: 20,
    };
    // The gate is shut while the first chunk waits for a lock of ours: an event, no guess about time.
    let mut held = place.platform.begin().await.unwrap();
    sqlx::raw_sql("select pg_advisory_xact_lock(1)")
        .execute(&mut *held)
        .await
        .unwrap();
    let attempt = Attempt {
        gate: Gate::new(
            {
                let lease = Lease::default();
                lease.renew(sexton::clock::Boottime::now().plus(Duration::from_secs(60)));
                lease
            },
            Stopper::new(),
        ),
        ..attempt("c")
    };
    let (verdict, ()) = tokio::join!(place.run(&call, &attempt), async {
        let waits = "select 1 from pg_locks where locktype = 'advisory' and not granted
                     and database = (select oid from pg_database where datname = current_database())";
        while place.json(waits).await == json!([]) {
            tokio::task::yield_now().await;
        }
        attempt.gate.say(1);
        held.rollback().await.unwrap();
    });
    let Verdict::Pending { handle, .. } = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(handle.unwrap(), json!({"deleted": 20, "passes": 1}));
    assert_eq!(
        place.json("select count(*) from messages").await[0]["count"],
        json!(30)
    );
}

#[tokio::test]
async fn many_deletions_get_a_verdict_each_in_their_order() {
    let place = Place::new().await;
    place.execute("create table things (id bigint primary key); create table parts (thing bigint references things)").await;
    place
        .execute("insert into things select generate_series(1, 250); insert into parts values (77)")
        .await;
    let call = gone("delete from things where id = :id");
    let ids = |n: u64| match n {
        13 => json!("not-a-number"),
        14 => json!(9_999),
        n => json!(n.to_string()),
    };
    let attempts: Vec<Attempt> = (1..=250)
        .rev()
        .map(|n| {
            let mut one = attempt("x");
            give(&mut one, "id", ids(n));
            if n == 15 {
                one.gate.say(1);
            }
            one
        })
        .collect();
    let connector = place.connector(&call);
    assert!(connector.batches(&call));
    let verdicts = connector.run_many(&call, &attempts).await;
    assert_eq!(verdicts.len(), attempts.len());
    for (verdict, n) in verdicts.iter().zip((1..=250_u64).rev()) {
        let wanted = match n {
            13 => "failed",
            14 => "already_gone",
            15 => "stopped",
            77 => "blocked",
            _ => "done",
        };
        assert_eq!(verdict.word(), wanted, "{n}: {verdict:?}");
    }
    assert_eq!(
        place.json("select id from things order by id").await,
        json!([{"id": 13}, {"id": 14}, {"id": 15}, {"id": 77}])
    );
    assert!(connector.run_many(&call, &[]).await.is_empty());
}

#[tokio::test]
async fn two_workers_with_the_same_deletions_do_not_deadlock() {
    let place = Place::new().await;
    place
        .execute("create table things (id text primary key, n bigint default 0)")
        .await;
    place
        .execute("insert into things select 't' || n from generate_series(1, 100) n")
        .await;
    let call = gone("update things set n = n + 1 where id = :id");
    let attempts = |backwards: bool| {
        let mut all: Vec<Attempt> = (1..=100).map(|n| attempt(&format!("t{n}"))).collect();
        if backwards {
            all.reverse();
        }
        all
    };
    let connector = place.connector(&call);
    let (some, others) = (attempts(false), attempts(true));
    for _ in 0..5 {
        let done = join_all([
            connector.run_many(&call, &some),
            connector.run_many(&call, &others),
        ])
        .await;
        for verdict in done.concat() {
            assert_eq!(verdict.word(), "done", "{verdict:?}");
        }
        // Whoever came last wrote all rows in one transaction: neither had to fall back to one by one.
        let writers = place.json("select count(distinct xmin::text) from things").await;
        assert_eq!(writers[0]["count"], json!(1));
    }
    let sum: Value = place.json("select sum(n) from things").await;
    assert_eq!(sum[0]["sum"], json!(1000));
}
