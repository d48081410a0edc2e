//! Factory sessions, served: every status of its document, and no success for what was not done.

use serde_json::{Value, json};

use super::{bearer, delete};
use crate::factory_sessions::{TYPE, house, with_window};
use crate::front::Said;
use crate::worlds::sessions::{ORGANIZATIONS, Session};

fn path(session: &str) -> String {
    format!("/api/v0/sessions/{session}")
}

/// The body of an error: the three keys that it must have, and no other but `metadata`.
pub(super) fn error(said: &Said) -> Value {
    let body = said.json();
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert!(
        keys.iter()
            .all(|key| ["detail", "status", "title", "metadata"].contains(&key.as_str())),
        "{body}"
    );
    assert_eq!(body["status"], said.status, "{body}");
    assert!(body["detail"].is_string() && body["title"].is_string(), "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_hidden_by_204_and_each_other_answer_is_told_apart() {
    let (mut house, platform, sessions) = house(16).await;
    let front = house.front("");
    let (selected, plain) = (
        bearer(&house.key(ORGANIZATIONS[0], &["--dialect", "factory"])),
        bearer(&house.key(ORGANIZATIONS[1], &["--dialect", "factory"])),
    );
    let worker = house.worker();
    front.is_open().await;
    let of = |may: bool, on: bool| -> &Session {
        let is = |session: &&Session| session.may_go() == may && session.computer.is_some() == on;
        sessions.iter().find(is).expect("such a session")
    };
    let mine = of(true, true);
    // Before all: who it is.
    for headers in [
        &[][..],
        &[("authorization", "Bearer x")],
        &[("authorization", "Basic x")],
    ] {
        let said = delete(&front, &path(&mine.id), headers).await;
        assert_eq!(said.status, 401);
        error(&said);
    }
    let auth = [("authorization", selected.as_str())];
    let elsewhere = format!("{}?computerId=cmp_of_others", path(&mine.id));
    assert_eq!(
        delete(&front, &elsewhere, &auth).await.status,
        404,
        "on another computer"
    );
    let others = delete(&front, &path(&of(false, true).id), &auth).await;
    let nobodys = delete(&front, &path("nobody"), &auth).await;
    assert_eq!(
        (others.status, &others.text),
        (nobodys.status, &nobodys.text),
        "not theirs is like not there"
    );
    assert_eq!(nobodys.status, 404);
    error(&nobodys);
    let refused = delete(
        &front,
        &path(&of(false, true).id),
        &[("authorization", plain.as_str())],
    )
    .await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    error(&refused);

    let there = format!(
        "{}?computerId={}",
        path(&mine.id),
        mine.computer.as_deref().expect("one")
    );
    let done = delete(&front, &there, &auth).await;
    assert_eq!((done.status, done.text.as_str()), (204, ""));
    let hidden: bool = sqlx::query_scalar("select deleted_at is not null from sessions where id = $1")
        .bind(&mine.id)
        .fetch_one(&platform)
        .await
        .expect("the row");
    assert!(hidden, "and still there");
    assert_eq!(
        delete(&front, &path(&mine.id), &auth).await.status,
        204,
        "while it is restorable"
    );
    for (method, path, status) in [
        (reqwest::Method::POST, path("x"), 405),
        (reqwest::Method::GET, "/api/v0/nothing".to_owned(), 404),
        (reqwest::Method::DELETE, path(&"x".repeat(5_000)), 414),
    ] {
        let said = front
            .client
            .request(method, format!("{}{path}", front.url))
            .send()
            .await
            .expect("an answer");
        let said = Said::of(said).await;
        assert_eq!(said.status, status);
        error(&said);
    }
    assert_eq!(delete(&front, &path("%FF"), &auth).await.status, 404);
    assert_eq!(delete(&front, &path(&"x".repeat(600)), &auth).await.status, 404);
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_purge_a_repeat_is_not_found() {
    let (mut house, _, sessions) = with_window(8, "1s", "20ms").await;
    let front = house.front("");
    let key = bearer(&house.key(ORGANIZATIONS[0], &["--dialect", "factory"]));
    let worker = house.worker();
    front.is_open().await;
    let auth = [("authorization", key.as_str())];
    let mine = sessions.iter().find(|session| session.may_go()).expect("one");
    assert_eq!(delete(&front, &path(&mine.id), &auth).await.status, 204);
    house.purged(&mine.id).await;
    assert_eq!(delete(&front, &path(&mine.id), &auth).await.status, 404);
    house.everything_is_over().await;
    worker.stop().await;
}

/// Its outcome is not known in time: 503, and a time to come back; whoever comes back meets the same deletion.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_in_time_or_parked_is_503_and_goes_on() {
    let (mut house, platform, sessions) = house(8).await;
    let front = house.front("wait = \"1s\"");
    let key = bearer(&house.key(ORGANIZATIONS[0], &["--dialect", "factory"]));
    let worker = house.worker();
    front.is_open().await;
    let auth = [("authorization", key.as_str())];
    let mut mine = sessions.iter().filter(|session| session.may_go());
    let (slow, parked) = (mine.next().expect("one"), mine.next().expect("another"));
    let mut tx = platform.begin().await.expect("a transaction");
    sqlx::query("select from sessions where id = $1 for update")
        .bind(&slow.id)
        .execute(&mut *tx)
        .await
        .expect("a lock");
    let said = delete(&front, &path(&slow.id), &auth).await;
    assert_eq!(
        (said.status, said.header("retry-after")),
        (503, Some("5")),
        "{}",
        said.text
    );
    error(&said);
    // The same over AMQP is the same deletion.
    house
        .publish(json!({"target": {"type": TYPE, "id": slow.id}, "tenant": ORGANIZATIONS[0], "key": "amqp"}))
        .await;
    house
        .until("it was folded", "select count(*) = 2 from sexton.requests")
        .await;
    tx.rollback().await.expect("let go");
    let event = house.heard.end("amqp").await;
    assert_eq!(event.kind(), "soft_deleted");
    assert_eq!(delete(&front, &path(&slow.id), &auth).await.status, 204);
    assert_eq!(
        house
            .count("select count(distinct deletion_id) from sexton.requests where target_id like 'fs_%'")
            .await,
        2
    );

    house.sql("update sexton.open_deletions set parked = null").await;
    let mut tx = platform.begin().await.expect("a transaction");
    sqlx::query("select from sessions where id = $1 for update")
        .bind(&parked.id)
        .execute(&mut *tx)
        .await
        .expect("a lock");
    let waiting = {
        let (front, path, key) = (
            crate::front::Front::at(front.port()),
            path(&parked.id),
            key.clone(),
        );
        tokio::spawn(async move { delete(&front, &path, &[("authorization", key.as_str())]).await })
    };
    assert_eq!(waiting.await.expect("answered").status, 503);
    tx.rollback().await.expect("let go");
    house.everything_is_over().await;
    worker.stop().await;
}
