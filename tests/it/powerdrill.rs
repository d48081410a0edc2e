//! Powerdrill, carried out: a session and its job history, however long, and nobody else's.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;

use crate::batches::note;
use crate::heard::Event;
use crate::house::{House, patience};
use crate::worlds::powerdrill::{Session, fill, from_seed};

const TYPE: &str = "powerdrill.session";
const MILLION: usize = 1_000_000;
/// The plan's.
const CHUNK: i64 = 5_000;
/// Each life removes about a quarter of a million rows: 8 MiB are 33 bytes a row, less than a row itself. What was seen
/// from run to run is 2 MiB.
const FLAT_KIB: u64 = 8 * 1024;

fn told(event: &Event) -> (&str, Option<&str>) {
    (event.kind(), event.detail("result"))
}

async fn house(count: usize, longest: usize) -> (House, PgPool, Vec<Session>) {
    let mut house = House::with_short_leases().await;
    let store = house.store("powerdrill").await;
    let sessions = from_seed(5, count, longest);
    fill(&store, &sessions).await.expect("the store's rows");
    house.shipped(TYPE, &[]);
    (house, store, sessions)
}

async fn jobs_of(store: &PgPool, session: &Session) -> i64 {
    sqlx::query_scalar("select count(*) from jobs where session_id = $1")
        .bind(&session.id)
        .fetch_one(store)
        .await
        .expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_with_its_history_and_another_users_is_not_found() {
    let (house, store, sessions) = house(9, 30).await;
    let worker = house.worker();
    let mine = |session: &Session| json!({"user_id": session.user});
    for (nth, session) in sessions.iter().enumerate() {
        let stranger = json!({"user_id": "u_mallory"});
        let event = house
            .deleted(
                TYPE,
                &session.team,
                &session.id,
                &format!("other-{nth}"),
                stranger,
            )
            .await;
        assert_eq!(told(&event), ("completed", Some("absent")));
        let event = house
            .deleted(
                TYPE,
                "team_red",
                &session.id,
                &format!("team-{nth}"),
                mine(session),
            )
            .await;
        assert_eq!(told(&event), ("completed", Some("absent")));
        assert_eq!(
            jobs_of(&store, session).await,
            i64::try_from(session.jobs).expect("few")
        );
    }
    for (nth, session) in sessions.iter().take(6).enumerate() {
        let event = house
            .deleted(
                TYPE,
                &session.team,
                &session.id,
                &format!("k{nth}"),
                mine(session),
            )
            .await;
        assert_eq!(told(&event), ("completed", Some("deleted")));
        assert_eq!(jobs_of(&store, session).await, 0);
        let again = house
            .deleted(
                TYPE,
                &session.team,
                &session.id,
                &format!("again-{nth}"),
                mine(session),
            )
            .await;
        assert_eq!(told(&again), ("completed", Some("already_gone")));
        let stranger = json!({"user_id": "u_mallory"});
        let event = house
            .deleted(TYPE, &session.team, &session.id, &format!("late-{nth}"), stranger)
            .await;
        assert_eq!(
            told(&event),
            ("completed", Some("absent")),
            "not theirs, though it was there once"
        );
    }
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&store)
        .await
        .expect("a count");
    assert_eq!(left, 3);
    let refused = house
        .deleted(TYPE, &sessions[8].team, &sessions[8].id, "nobody", json!({}))
        .await;
    assert_eq!(refused.detail("field"), Some("/params/user_id"));
    house.everything_is_over().await;
    worker.stop().await;
}

/// Waits until no more than so many are left, and says how many those are.
async fn down_to(store: &PgPool, session: &Session, bound: i64) -> i64 {
    // Counting a million rows is work too, and the worker's work is not to wait for it.
    let mut every = tokio::time::interval(Duration::from_millis(50));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = i64::MAX;
    let waited = tokio::time::timeout(patience(), async {
        loop {
            every.tick().await;
            let left = jobs_of(store, session).await;
            assert!(left <= before, "rows came back: {before}, then {left}");
            before = left;
            if left <= bound {
                return left;
            }
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{bound} are not reached"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_jobs_go_through_three_kills_in_memory_that_stays_flat() {
    let (house, store, sessions) = house(2, MILLION).await;
    let (long, short) = (&sessions[0], &sessions[1]);
    // What a worker needs that does next to nothing.
    let small = house.process(&[]);
    let event = house
        .deleted(
            TYPE,
            &short.team,
            &short.id,
            "short",
            json!({"user_id": short.user}),
        )
        .await;
    assert_eq!(told(&event), ("completed", Some("deleted")));
    let idle = small.peak_kib();
    small.signal(rustix::process::Signal::TERM);
    small.ended().await;

    house
        .publish(
            json!({"target": {"type": TYPE, "id": long.id}, "tenant": long.team, "key": "long",
                        "params": {"user_id": long.user}}),
        )
        .await;
    let mut peaks = Vec::new();
    let mut left = vec![i64::try_from(MILLION).expect("a million")];
    for bound in [800_000, 550_000, 300_000] {
        let worker = house.process(&[]);
        let seen = down_to(&store, long, bound).await;
        peaks.push(worker.peak_kib());
        worker.signal(rustix::process::Signal::KILL);
        worker.ended().await;
        assert!(
            house.heard.ends("long").is_empty(),
            "it is not done with {seen} left"
        );
        // What was begun when it died may still be under way at the server.
        let after = jobs_of(&store, long).await;
        assert!(after <= seen && after > 0, "{seen}, then {after}");
        left.push(after);
    }
    let last = house.process(&[]);
    assert_eq!(
        told(&house.heard.end("long").await),
        ("completed", Some("deleted"))
    );
    peaks.push(last.peak_kib());
    assert_eq!(jobs_of(&store, long).await, 0);
    assert!(
        left.windows(2).all(|two| two[1] < two[0]),
        "each life goes on where the rows are: {left:?}"
    );
    // The proof counts no row twice. What a life removed after its last record died with it; all that the last life
    // found is in, but for the one chunk that the third kill left running at the server.
    let rows: i64 = sqlx::query_scalar(
        "select coalesce(max((e->'verdict'->'proof'->>'rows')::bigint), 0) from sexton.journal j, jsonb_array_elements(j.entries::jsonb) e
         join sexton.requests r on r.key = 'long' where j.deletion_id = r.deletion_id and e->>'step' = '2'",
    )
    .fetch_one(&house.db)
    .await
    .expect("a proof");
    let found = left[3] - CHUNK..=left[0];
    assert!(found.contains(&rows), "{rows} is not within {found:?}");
    let most = peaks.iter().max().copied().unwrap_or(0);
    assert!(
        most < idle + FLAT_KIB,
        "a million rows took {most} KiB, and next to none {idle} KiB; wanted at most {FLAT_KIB} KiB more"
    );
    note(&format!(
        "{rows} rows in the proof; left after each kill {left:?}; peaks {peaks:?} KiB, idle {idle} KiB"
    ));
    house.everything_is_over().await;
    last.signal(rustix::process::Signal::TERM);
    last.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_a_job_that_comes_late_is_refused_or_goes_too() {
    let (house, store, sessions) = house(1, 40_000).await;
    let session = &sessions[0];
    // It is being written when the request comes: the fence waits for it.
    let mut writer = store.begin().await.expect("a transaction");
    let write = "insert into jobs (session_id, question, answer) values ($1, 'late', 'late')";
    sqlx::query(write)
        .bind(&session.id)
        .execute(&mut *writer)
        .await
        .expect("in time");
    let worker = house.worker();
    house
        .publish(
            json!({"target": {"type": TYPE, "id": session.id}, "tenant": session.team, "key": "k",
                        "params": {"user_id": session.user}}),
        )
        .await;
    house
        .until(
            "the fence waits",
            "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%deleting_at%'
                and query not like '%pg_stat_activity%' and datname like (current_database() || '\\_%'))",
        )
        .await;
    writer.commit().await.expect("it is written");
    let mut fenced = tokio::time::interval(Duration::from_millis(2));
    loop {
        fenced.tick().await;
        let gone: bool = sqlx::query_scalar(
            "select coalesce((select deleting_at is not null from sessions where id = $1), true)",
        )
        .bind(&session.id)
        .fetch_one(&store)
        .await
        .expect("an answer");
        if gone {
            break;
        }
    }
    let late = sqlx::query(write).bind(&session.id).execute(&store).await;
    assert!(late.is_err(), "a job was written into a session that goes");
    assert_eq!(told(&house.heard.end("k").await), ("completed", Some("deleted")));
    assert_eq!(jobs_of(&store, session).await, 0);
    house.everything_is_over().await;
    worker.stop().await;
}

/// A job that slipped past the fence: the session is not said deleted while it is there.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_nothing_is_said_deleted_while_a_job_is_there() {
    let (house, store, sessions) = house(1, 100).await;
    let session = &sessions[0];
    sqlx::raw_sql(
        "alter table jobs disable trigger jobs_hold_session;
         create function another() returns trigger language plpgsql as $$ begin
             if (select count(*) from jobs where question = 'another') < 3 then
                 insert into jobs (session_id, question, answer) values (old.session_id, 'another', '');
             end if; return old; end $$;
         create trigger another after delete on jobs for each row execute function another();",
    )
    .execute(&store)
    .await
    .expect("a service that does not keep to the fence");
    let worker = house.worker();
    let params = json!({"user_id": session.user});
    house
        .publish(json!({"target": {"type": TYPE, "id": session.id}, "tenant": session.team, "key": "k", "params": params}))
        .await;
    house
        .until(
            "it is tried again and again",
            "select count(*) > 3 from sexton.journal, jsonb_array_elements(entries::jsonb) e where e->>'e' = 'verdict' and e->>'step' = '2'",
        )
        .await;
    assert!(house.heard.ends("k").is_empty());
    sqlx::raw_sql("drop trigger another on jobs")
        .execute(&store)
        .await
        .expect("it ends");
    assert_eq!(told(&house.heard.end("k").await), ("completed", Some("deleted")));
    assert_eq!(jobs_of(&store, session).await, 0);
    house.everything_is_over().await;
    worker.stop().await;
}
