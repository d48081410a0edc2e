//! Factory sessions, carried out: softly, within their organization and computer, restorable for a while, then erased.

use serde_json::{Value, json};
use sqlx::{Executor, PgPool};

use crate::heard::Event;
use crate::house::House;
use crate::worlds::platform::SCHEMA;
use crate::worlds::sessions::{COMPUTERS, Session, fill, from_seed};

pub(crate) const TYPE: &str = "factory.session";

fn told(event: &Event) -> (&str, Option<&str>) {
    (
        event.kind(),
        event.detail("result").or_else(|| event.detail("reason")),
    )
}

pub(crate) async fn house(count: usize) -> (House, PgPool, Vec<Session>) {
    with_window(count, "30d", "20ms").await
}

/// `every` is how often ends of windows are looked for.
pub(crate) async fn with_window(count: usize, window: &str, every: &str) -> (House, PgPool, Vec<Session>) {
    let mut house = House::new().await;
    house.also_settings(&format!("[retention]\nevery = {every:?}\n"));
    let platform = house.store("platform").await;
    let sessions = from_seed(11, count);
    platform.execute(SCHEMA).await.expect("the platform's tables");
    fill(&platform, &sessions).await.expect("the platform's rows");
    house.shipped(TYPE, &[("window = \"30d\"", &format!("window = {window:?}"))]);
    (house, platform, sessions)
}

async fn state(platform: &PgPool, id: &str) -> Option<bool> {
    sqlx::query_scalar("select deleted_at is null from sessions where id = $1")
        .bind(id)
        .fetch_optional(platform)
        .await
        .expect("an answer")
}

async fn messages_of(platform: &PgPool, session: &Session) -> i64 {
    sqlx::query_scalar("select count(*) from messages where session_id = $1")
        .bind(&session.id)
        .fetch_one(platform)
        .await
        .expect("a count")
}

fn request(action: &str, session: &Session, key: &str, params: Value) -> Value {
    json!({"action": action, "target": {"type": TYPE, "id": session.id}, "tenant": session.organization, "key": key,
           "params": params})
}

/// Whether the feature is there is only asked: what was asked without an answer is asked again, by nobody's leave.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_08_a_crash_while_the_feature_is_asked_for_parks_nothing() {
    let (house, platform, sessions) = house(4).await;
    let (mine, theirs) = (&sessions[0], &sessions[3]);
    assert!(mine.may_go() && !theirs.may_go());
    let first = house.process(&[("SEXTON_CRASH_AT", "effect-after-begin")]);
    house.publish(request("delete", mine, "k", json!({}))).await;
    first.ended().await;
    let second = house.process(&[("SEXTON_CRASH_AT", "effect-after-begin#2")]);
    house.publish(request("delete", theirs, "l", json!({}))).await;
    second.ended().await;
    let worker = house.worker();
    assert_eq!(house.heard.end("k").await.kind(), "soft_deleted");
    assert_eq!(house.heard.end("l").await.kind(), "refused");
    assert_eq!(state(&platform, &mine.id).await, Some(false));
    assert_eq!(state(&platform, &theirs.id).await, Some(true));
    house
        .until(
            "both are over",
            "select not exists (select from sexton.open_deletions) and 2 = (select count(*) from sexton.deletions)",
        )
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_organizations_with_the_feature_delete_sessions_and_only_softly() {
    let (house, platform, sessions) = house(16).await;
    let worker = house.worker();
    for (nth, session) in sessions.iter().enumerate() {
        let event = house
            .ended(request("delete", session, &format!("k{nth}"), json!({})))
            .await;
        let still_there = state(&platform, &session.id).await;
        if session.may_go() {
            assert_eq!(event.kind(), "soft_deleted");
            assert_eq!(still_there, Some(false), "hidden, and there");
        } else {
            assert_eq!(event.kind(), "refused");
            assert_eq!(event.detail("step"), Some("feature"));
            assert_eq!(still_there, Some(true), "untouched");
        }
    }
    let days: Vec<f64> =
        sqlx::query_scalar("select extract(epoch from until - now())::float8 / 86400 from sexton.windows")
            .fetch_all(&house.db)
            .await
            .expect("windows");
    assert!(days.iter().all(|days| (29.9..=30.0).contains(days)), "{days:?}");
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_organization_or_computer_is_not_found() {
    let (house, platform, sessions) = house(8).await;
    let worker = house.worker();
    let session = sessions
        .iter()
        .find(|s| s.may_go() && s.computer.is_some())
        .expect("one on a computer");
    let own = session.computer.as_deref().expect("a computer");
    let other = COMPUTERS.iter().find(|id| **id != own).expect("another");
    let stranger = house
        .deleted(TYPE, "org_plain", &session.id, "stranger", json!({}))
        .await;
    assert_eq!(told(&stranger), ("completed", Some("absent")));
    let nobody = house
        .deleted(TYPE, &session.organization, "fs_nobody", "nobody", json!({}))
        .await;
    assert_eq!(told(&nobody), ("completed", Some("absent")));
    let elsewhere = house
        .ended(request(
            "delete",
            session,
            "elsewhere",
            json!({"computer_id": other}),
        ))
        .await;
    assert_eq!(told(&elsewhere), ("completed", Some("absent")));
    assert_eq!(state(&platform, &session.id).await, Some(true));
    let there = house
        .ended(request("delete", session, "there", json!({"computer_id": own})))
        .await;
    assert_eq!(there.kind(), "soft_deleted");
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_gone_while_it_can_be_restored_and_absent_after_the_purge() {
    let (house, platform, sessions) = house(4).await;
    let worker = house.worker();
    let session = &sessions[0];
    let delete = |key: &str| request("delete", session, key, json!({}));
    assert_eq!(house.ended(delete("1")).await.kind(), "soft_deleted");
    assert_eq!(
        told(&house.ended(delete("2")).await),
        ("completed", Some("already_gone"))
    );
    assert_eq!(
        house
            .ended(request("restore", session, "3", json!({})))
            .await
            .kind(),
        "restored"
    );
    assert_eq!(state(&platform, &session.id).await, Some(true));
    assert_eq!(house.ended(delete("4")).await.kind(), "soft_deleted");
    house.windows_end().await;
    assert_eq!(
        told(&house.purged(&session.id).await),
        ("completed", Some("deleted"))
    );
    assert_eq!(state(&platform, &session.id).await, None, "the row is erased");
    assert_eq!(messages_of(&platform, session).await, 0);
    assert_eq!(
        told(&house.ended(delete("5")).await),
        ("completed", Some("absent"))
    );
    let late = house.ended(request("restore", session, "6", json!({}))).await;
    assert_eq!(late.kind(), "rejected");
    assert!(
        late.detail("why")
            .is_some_and(|why| why.contains("no soft deletion")),
        "{late:?}"
    );
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_inside_the_window_cancels_the_purge() {
    let (house, platform, sessions) = house(4).await;
    let worker = house.worker();
    let (back, gone) = (&sessions[0], &sessions[1]);
    let messages = messages_of(&platform, back).await;
    for session in [back, gone] {
        let event = house
            .ended(request("delete", session, &session.id, json!({})))
            .await;
        assert_eq!(event.kind(), "soft_deleted");
    }
    // Nobody takes back what is another organization's.
    let mut strange = request("restore", back, "stranger", json!({}));
    strange["tenant"] = json!("org_plain");
    assert_eq!(
        told(&house.ended(strange).await),
        ("rejected", Some("nothing_to_do"))
    );
    assert_eq!(state(&platform, &back.id).await, Some(false), "still hidden");
    let restored = house.ended(request("restore", back, "back", json!({}))).await;
    assert_eq!(restored.kind(), "restored");
    // The plan would not erase what is visible; so what is looked at is whether Sexton would still ask for it.
    let windows = "select count(*) from sexton.windows";
    assert_eq!(house.count(windows).await, 1, "only of what was not taken back");
    house.windows_end().await;
    assert_eq!(
        told(&house.purged(&gone.id).await),
        ("completed", Some("deleted"))
    );
    house.everything_is_over().await;
    worker.stop().await;
    let purges = "select count(*) from sexton.requests where action = 'purge'";
    assert_eq!(house.count(purges).await, 1);
    assert_eq!(state(&platform, &back.id).await, Some(true));
    assert_eq!(
        messages_of(&platform, back).await,
        messages,
        "and all that was said in it"
    );
    assert_eq!(state(&platform, &gone.id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_after_the_window_is_refused_with_the_reason() {
    // Nobody comes to purge: the window is over, and its row is still there to be taken back.
    let (house, platform, sessions) = with_window(4, "30d", "1h").await;
    let worker = house.worker();
    let session = &sessions[0];
    let event = house.ended(request("delete", session, "1", json!({}))).await;
    assert_eq!(event.kind(), "soft_deleted");
    house
        .sql("update sexton.windows set until = now() - interval '1 second'")
        .await;
    let late = house.ended(request("restore", session, "2", json!({}))).await;
    assert_eq!(told(&late), ("rejected", Some("window_over")));
    assert_eq!(
        state(&platform, &session.id).await,
        Some(false),
        "hidden, as before"
    );
    house.everything_is_over().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_purge_comes_by_itself_and_never_before_the_window_has_ended() {
    let (house, platform, sessions) = with_window(8, "1500ms", "20ms").await;
    // The store's own clock says when a row went; both databases are on one server.
    platform
        .execute(
            "create table erased (id text primary key, at timestamptz not null);
             create function note() returns trigger language plpgsql as $$ begin
                 insert into erased values (old.id, clock_timestamp()); return old; end $$;
             create trigger note before delete on sessions for each row execute function note();",
        )
        .await
        .expect("a witness");
    let worker = house.worker();
    let going = || sessions.iter().filter(|session| session.may_go());
    for session in going() {
        house
            .publish(request("delete", session, &session.id, json!({})))
            .await;
    }
    for session in going() {
        let event = house.heard.end(&session.id).await;
        let until = event.detail("restorable_until").expect("a time").to_owned();
        assert_eq!(
            told(&house.purged(&session.id).await),
            ("completed", Some("deleted"))
        );
        let early: bool = sqlx::query_scalar("select at < $2::timestamptz from erased where id = $1")
            .bind(&session.id)
            .bind(&until)
            .fetch_one(&platform)
            .await
            .expect("it was erased");
        assert!(!early, "{} was erased before {until}", session.id);
    }
    house.everything_is_over().await;
    worker.stop().await;
    let erased: i64 = sqlx::query_scalar("select count(*) from erased")
        .fetch_one(&platform)
        .await
        .expect("a count");
    assert_eq!(
        usize::try_from(erased).ok(),
        Some(going().count()),
        "and no other"
    );
}
