//! Pave, carried out: only a session that was not started goes, and "started" is told from "missing".

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::heard::Event;
use crate::house::House;
use crate::worlds::pave::{Session, fill, from_seed};

const TYPE: &str = "pave.session";
const STARTED: &str = "it has been started and cannot be deleted";

fn told(event: &Event) -> (&str, Option<&str>) {
    (
        event.kind(),
        event.detail("result").or_else(|| event.detail("why")),
    )
}

async fn house(sessions: &[Session]) -> (House, sqlx::PgPool) {
    let mut house = House::new().await;
    let pave = house.store("pave").await;
    fill(&pave, sessions).await.expect("the store's rows");
    house.shipped(TYPE, &[]);
    (house, pave)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_idle_sessions_of_the_account_go_and_a_repeat_finds_nothing() {
    let sessions = from_seed(7, 40);
    let (house, pave) = house(&sessions).await;
    let worker = house.worker();
    for (nth, session) in sessions.iter().enumerate() {
        let key = format!("k{nth}");
        let event = house
            .deleted(TYPE, &session.account, &session.key, &key, json!({}))
            .await;
        if session.may_go() {
            assert_eq!(told(&event), ("completed", Some("deleted")), "{}", session.key);
            let again = house
                .deleted(
                    TYPE,
                    &session.account,
                    &session.key,
                    &format!("again-{nth}"),
                    json!({}),
                )
                .await;
            assert_eq!(told(&again), ("completed", Some("absent")));
        } else {
            assert_eq!(told(&event), ("refused", Some(STARTED)), "{}", session.status);
            assert_eq!(event.detail("step"), Some("remove"));
            let other = house
                .deleted(
                    TYPE,
                    "acc_of_others",
                    &session.key,
                    &format!("other-{nth}"),
                    json!({}),
                )
                .await;
            assert_eq!(told(&other), ("completed", Some("absent")));
        }
    }
    let left: Vec<String> = sqlx::query_scalar("select session_key from sessions order by 1")
        .fetch_all(&pave)
        .await
        .expect("what is left");
    let mut stays: Vec<&str> = sessions
        .iter()
        .filter(|session| !session.may_go())
        .map(|session| session.key.as_str())
        .collect();
    stays.sort_unstable();
    assert_eq!(left, stays);
    house.everything_is_over().await;
    worker.stop().await;
}

/// As a caller over HTTP has it told: the digest of the token that the session was created with.
fn token_of(session: &Session) -> Value {
    let digest = Sha256::digest(format!("tok_{}", session.key));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"token_sha256": hex})
}

/// Between the lookup (and the look at its token, if it is told) and the delete somebody has the row, and lets it go changed.
async fn meanwhile(change: &'static str, params: fn(&Session) -> Value) -> (Event, i64) {
    let sessions = from_seed(7, 1);
    let (house, pave) = house(&sessions).await;
    let worker = house.worker();
    let mut other = pave.begin().await.expect("a transaction");
    sqlx::query("select from sessions for update")
        .execute(&mut *other)
        .await
        .expect("the row is theirs");
    house
        .publish(
            json!({"target": {"type": TYPE, "id": sessions[0].key}, "tenant": sessions[0].account, "key": "k",
            "params": params(&sessions[0])}),
        )
        .await;
    house
        .until(
            "it waits for the row",
            "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%for update%'
                and query not like '%pg_stat_activity%' and datname like (current_database() || '\\_%'))",
        )
        .await;
    sqlx::query(change).execute(&mut *other).await.expect(change);
    other.commit().await.expect("theirs is first");
    let event = house.heard.end("k").await;
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&pave)
        .await
        .expect("a count");
    house.everything_is_over().await;
    worker.stop().await;
    (event, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_a_session_that_starts_in_between_is_refused_and_never_deleted() {
    let (event, left) = meanwhile("update sessions set status = 'STARTED'", |_| json!({})).await;
    assert_eq!(told(&event), ("refused", Some(STARTED)));
    assert_eq!(left, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_a_session_that_starts_after_its_token_was_found_good_is_refused() {
    let (event, left) = meanwhile("update sessions set status = 'STARTED'", token_of).await;
    assert_eq!(told(&event), ("refused", Some(STARTED)));
    assert_eq!(
        (event.detail("step"), left),
        (Some("remove"), 1),
        "the token was good, and it started"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_that_a_session_was_created_with_removes_it() {
    let sessions = from_seed(7, 2);
    let (house, pave) = house(&sessions).await;
    let worker = house.worker();
    let (mine, other) = (&sessions[0], &sessions[1]);
    let event = house
        .deleted(TYPE, &mine.account, &mine.key, "wrong", token_of(other))
        .await;
    assert_eq!((event.kind(), event.detail("step")), ("refused", Some("token")));
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&pave)
        .await
        .expect("a count");
    assert_eq!(left, 2);
    let event = house
        .deleted(TYPE, &mine.account, &mine.key, "right", token_of(mine))
        .await;
    assert_eq!(told(&event), ("completed", Some("deleted")));
    house.everything_is_over().await;
    worker.stop().await;
}

/// The worker is gone with its answer; that nothing was deleted is found out, so nobody has to look.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_a_started_session_is_refused_also_after_a_crash_in_the_middle() {
    let sessions = from_seed(7, 2);
    let (house, pave) = house(&sessions).await;
    let started = &sessions[1];
    assert!(!started.may_go(), "{}", started.status);
    let first = house.process(&[("SEXTON_CRASH_AT", "effect-after-begin")]);
    house
        .publish(json!({"target": {"type": TYPE, "id": started.key}, "tenant": started.account, "key": "k"}))
        .await;
    let (_aborted, _log) = first.ended().await;
    let worker = house.worker();
    let event = house.heard.end("k").await;
    assert_eq!(told(&event), ("refused", Some(STARTED)));
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&pave)
        .await
        .expect("a count");
    assert_eq!(left, 2);
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_goes_in_between_is_gone_and_not_started() {
    let (event, left) = meanwhile("delete from sessions", |_| json!({})).await;
    assert_eq!(told(&event), ("completed", Some("already_gone")));
    assert_eq!(left, 0);
}
