//! Pave, served: an idle session, with the token it was created with.

use serde_json::json;
use time::macros::format_description;

use super::delete;
use crate::front::Said;
use crate::house::House;
use crate::worlds::pave::{Session, fill, from_seed};

pub(super) fn at(minutes: i64) -> String {
    let at = sexton::clock::now() + time::Duration::minutes(minutes);
    at.format(format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second]Z"
    ))
    .expect("a time")
}

fn told(said: &Said) -> (u16, String) {
    let body = said.json();
    let message = body["message"].as_str().expect("a message").to_owned();
    assert_eq!(body, json!({"message": message}));
    (said.status, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_goes_with_its_own_token_and_started_is_told_from_missing() {
    let mut house = House::new().await;
    let store = house.store("pave").await;
    let sessions = from_seed(7, 16);
    fill(&store, &sessions).await.expect("the store's rows");
    house.shipped("pave.session", &[]);
    let front = house.front("wait = \"2s\"");
    let account = sessions[0].account.clone();
    let key = house.key(&account, &["--dialect", "pave"]);
    let other = house.key("acc_of_others", &["--dialect", "pave"]);
    let worker = house.worker();
    front.is_open().await;
    let mine = |is: &dyn Fn(&Session) -> bool| {
        sessions
            .iter()
            .find(|one| one.account == account && is(one))
            .expect("one")
    };
    let (idle, started) = (
        mine(&|one| one.status == "IDLE"),
        mine(&|one| one.status == "STARTED"),
    );
    let finished = mine(&|one| one.status == "FINISHED");
    let ask = async |session: &str, key: &str, token: &str, timestamp: &str| {
        let headers = [
            ("API-Key", key),
            ("API-Token", token),
            ("API-Timestamp", timestamp),
        ];
        let headers: Vec<(&str, &str)> = headers
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        told(&delete(&front, &format!("/v1/sessions/{session}"), &headers).await)
    };
    let token = |session: &Session| format!("tok_{}", session.key);
    let now = at(0);
    for (key, token, timestamp) in [
        ("", token(idle).as_str(), now.as_str()),
        (&key, "", &now),
        (&key, &token(idle), ""),
        (&key, &token(idle), &at(-16)),
        (&key, &token(idle), &at(16)),
        (&key, &token(idle), "2021-05-30T12:49:19Z"),
        (&key, &token(idle), "now"),
        ("wrong", &token(idle), &now),
        (&key, "tok_of_another", &now),
    ] {
        assert_eq!(
            ask(&idle.key, key, token, timestamp).await.0,
            401,
            "{token} {timestamp}"
        );
    }
    let missing = |session: &str| (404, format!("Session {session} cannot be found."));
    assert_eq!(ask("nobody", &key, "tok", &now).await, missing("nobody"));
    assert_eq!(
        ask(&idle.key, &other, &token(idle), &now).await,
        missing(&idle.key),
        "another account's"
    );
    for session in [started, finished] {
        let message = format!("Session {} has been started and cannot be deleted.", session.key);
        assert_eq!(
            ask(&session.key, &key, &token(session), &now).await,
            (400, message)
        );
    }
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&store)
        .await
        .expect("a count");
    assert_eq!(left, 16, "nothing was deleted yet");
    let done = format!("Session {} has been successfully removed.", idle.key);
    assert_eq!(ask(&idle.key, &key, &token(idle), &at(14)).await, (200, done));
    assert_eq!(
        ask(&idle.key, &key, &token(idle), &now).await,
        missing(&idle.key),
        "a repeat"
    );

    // One that starts while it is asked for is refused, never deleted.
    let second = sessions
        .iter()
        .filter(|one| one.account == account && one.may_go())
        .nth(1)
        .expect("another");
    let mut tx = store.begin().await.expect("a transaction");
    sqlx::query("update sessions set status = 'STARTED' where session_key = $1")
        .bind(&second.key)
        .execute(&mut *tx)
        .await
        .expect("it starts");
    assert_eq!(
        ask(&second.key, &key, &token(second), &now).await.0,
        500,
        "not known in time"
    );
    tx.commit().await.expect("it has started");
    let joined = ask(&second.key, &key, &token(second), &now).await;
    assert_eq!(joined.0, 400, "{}", joined.1);
    // Neither the key nor the token is anywhere in Sexton's tables.
    let secrets = house
        .count("select count(*) from sexton.requests r where position('tok_' || target_id in r::text) > 0 or r::text like '%sxt\\_%'")
        .await;
    assert_eq!(secrets, 0);
    house.everything_is_over().await;
    worker.stop().await;
}
