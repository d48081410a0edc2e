//! The outbox's table by itself, without a relay around it: what is taken, handed back and crossed off.

use sexton::clock;
use sexton::deletion::{Rejection, RejectionReason, TurnedAway};
use uuid::Uuid;

use crate::guards::{intent, one_kept};
use crate::house::patience;

#[tokio::test]
async fn invariant_06_what_the_broker_does_not_take_lets_other_events_pass() {
    let mut desk = one_kept().await;
    let record = intent(&desk.opened);
    desk.writer
        .write(0, clock::now(), &[record])
        .await
        .expect("written");
    desk.run("update sexton.outbox set taken_until = now()").await;
    let taken = desk.store.take_unsent(10).await.expect("a page");
    let ids: Vec<Uuid> = taken.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 1);
    desk.store.unsent(&ids).await.expect("handed back");
    let again = desk.store.take_unsent(10).await.expect("a page");
    assert!(again.is_empty(), "it is not the next page at once");
    desk.run("update sexton.outbox set taken_until = taken_until - interval '1 minute'")
        .await;
    assert_eq!(desk.store.take_unsent(10).await.expect("a page").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_06_a_crossing_off_that_is_cut_leaves_no_body_behind() {
    let desk = one_kept().await;
    let turned_away = TurnedAway {
        rejection: Rejection::new(RejectionReason::NotJson, "", "no JSON"),
        message_id: None,
        correlation_id: None,
        traceparent: None,
        content_type: None,
        body: Some(b"as it came".to_vec()),
    };
    desk.store
        .reject(clock::now(), &[turned_away])
        .await
        .expect("kept");
    let taken = desk.store.take_unsent(10).await.expect("a page");
    let ids: Vec<Uuid> = taken.iter().map(|outgoing| outgoing.id).collect();
    assert_eq!(ids.len(), 2, "its event, and itself");

    // The broker has both, and the connection is cut on the way to the body.
    let mut reader = desk.db.begin().await.expect("a transaction");
    sqlx::query("select from sexton.rejections for update")
        .execute(&mut *reader)
        .await
        .expect("a lock");
    let (store, sent) = (desk.store.clone(), ids.clone());
    let crossing_off = tokio::spawn(async move { store.sent(&sent, true).await });
    let cut = tokio::time::timeout(patience(), async {
        let mut cut = 0;
        while cut == 0 {
            cut = sqlx::query_scalar::<_, i64>(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&desk.db)
            .await
            .expect("a look");
        }
    });
    cut.await.expect("it waits for the row");
    assert!(crossing_off.await.expect("an end").is_err());
    reader.rollback().await.expect("unlocked");

    desk.run("update sexton.outbox set taken_until = now()").await;
    let again = desk.store.take_unsent(10).await.expect("a page");
    let again: Vec<Uuid> = again.iter().map(|outgoing| outgoing.id).collect();
    assert_eq!(again, ids, "published again, under the same ids");
    desk.store.sent(&again, true).await.expect("crossed off");
    let left: (i64, i64) = sqlx::query_as(
        "select (select count(*) from sexton.outbox), (select count(*) from sexton.rejections where body is not null)",
    )
    .fetch_one(&desk.db)
    .await
    .expect("counts");
    assert_eq!(left, (0, 0));
}
