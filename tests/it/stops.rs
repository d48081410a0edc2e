//! Signals a person sends: the first one finishes what runs, the second one hands it back at once. And who does not listen
//! to what a worker says stops nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::Signal;
use sexton::broker::REQUESTS_QUEUE;

use crate::house::{House, THING, delete, message};
use crate::workers::Outside;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_drain_and_spends_no_attempt() {
    for [first, second] in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT]] {
        let mut house = House::new().await;
        // The step is the longest there can be, and only the second signal can record it as interrupted.
        house.change_settings("drain = \"5s\"", "drain = \"10m\"");
        house.change_settings("lease = \"10s\"", "lease = \"10m\"");
        house.change_settings(
            "max_connections = 4",
            "max_connections = 4\nlock_timeout = \"5m\"\nstatement_timeout = \"5m\"",
        );
        house.plan("thing", &THING.replace("timeout = \"1s\"", "timeout = \"20s\""));
        house.things(&["a"]).await;
        let mut lock = house.db.begin().await.expect("a transaction");
        sqlx::query("select from shop.things where id = 'a' for update")
            .execute(&mut *lock)
            .await
            .expect("the lock");
        let process = house.process(&[]);
        house.publish(delete("a")).await;
        house
            .until(
                "it is in the middle of a step",
                "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%fenced = true%'
                 and datname = current_database())",
            )
            .await;
        process.signal(first);
        process.says("stopping: finishing what runs").await;
        assert!(
            house
                .is("select lane is not null and effect_ms is not null from sexton.open_deletions")
                .await,
            "the first signal lets the step go on"
        );
        process.signal(second);
        let (status, log) = process.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(
            house.is("select lane is null from sexton.open_deletions").await,
            "handed back"
        );
        lock.rollback().await.expect("free");
        let state = house.state_of("a").await;
        assert_eq!((state.tracks[1].spent, state.tracks[1].lost), (0, 0), "{state:?}");
        assert_eq!(
            house
                .count(
                    "select count(*) from sexton.journal where entries::jsonb @> '[{\"e\": \"interrupted\"}]'"
                )
                .await,
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_log_nobody_reads_does_its_work_and_stops_cleanly() {
    let house = House::new().await;
    house.things(&["a"]).await;
    let worker = Outside::unread(&house.settings_file(), house.folder());
    house.publish(delete("a")).await;
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    worker.signal(Signal::TERM);
    let (status, _) = worker.ended().await;
    assert_eq!(status.code(), Some(0));
    house.everything_is_over().await;
}

/// Hundreds in the middle of their steps and thousands not admitted yet: the end is clean and in time, costs nobody an
/// attempt, leaves no lease to run out, and what was not admitted is back in the queue.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_01_a_stop_under_load_hands_everything_back_and_spends_nothing() {
    const MANY: usize = 3_000;
    const DRAIN: Duration = Duration::from_secs(1);
    /// What a halt gives the lanes for their last words, and a machine that compiles beside this for the rest.
    const LAST_WORDS: Duration = Duration::from_secs(6);
    let mut house = House::new().await;
    house.change_settings("drain = \"5s\"", &format!("drain = \"{}ms\"", DRAIN.as_millis()));
    house.also_settings("[intake]\nbatch_max = 50\n");
    // Steps that wait for a lock last longer than the drain: the halt cuts them off. A lease that was left would be seen.
    house.change_settings("lease = \"10s\"", "lease = \"10m\"");
    house.change_settings(
        "max_connections = 4",
        "max_connections = 4\nlock_timeout = \"5m\"\nstatement_timeout = \"5m\"",
    );
    house.plan("thing", &THING.replace("timeout = \"1s\"", "timeout = \"8s\""));
    let ids: Vec<String> = (0..MANY).map(|n| format!("n{n:04}")).collect();
    house
        .things(&ids.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let process = house.process(&[]);
    let (publishing, published) = (house.desk().await, Arc::new(AtomicUsize::new(0)));
    let publisher = tokio::spawn({
        let (ids, published) = (ids.clone(), published.clone());
        async move {
            for some in ids.chunks(100) {
                let all = some.iter().map(|id| async {
                    let message = message(Bytes::from(delete(id).to_string()));
                    publishing.publish(&message).await.expect("a broker");
                });
                futures::future::join_all(all).await;
                published.fetch_add(some.len(), Ordering::SeqCst);
            }
            publishing
        }
    });
    house
        .until(
            "hundreds are under way",
            "select count(*) >= 200 from sexton.open_deletions where lane is not null",
        )
        .await;
    let began = Instant::now();
    process.signal(Signal::TERM);
    let (status, log) = process.ended().await;
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < DRAIN + LAST_WORDS, "{took:?}");
    let desk = publisher.await.expect("all are published");
    assert_eq!(published.load(Ordering::SeqCst), MANY);

    let admitted = house.count("select count(*) from sexton.requests").await;
    let open = house.count("select count(*) from sexton.open_deletions").await;
    assert!(open > 0, "it stopped under load");
    let waiting = i64::from(desk.depth(REQUESTS_QUEUE).await.expect("a queue").ready);
    assert_eq!(
        waiting,
        MANY as i64 - admitted,
        "what was not admitted is back in its queue"
    );
    desk.close().await;
    assert!(
        house
            .is("select bool_and(expires_at <= now()) from sexton.workers")
            .await,
        "no lease is left to run out"
    );
    assert!(
        house
            .is("select bool_and(lane is null and due_at < now() + interval '9 seconds') from sexton.open_deletions")
            .await,
        "everything is handed back"
    );
    assert_eq!(
        spent_by_the_stop(&house).await,
        Vec::<String>::new(),
        "an attempt was spent"
    );

    let second = house.worker();
    house
        .until(
            "all have ended",
            "select count(*) = 3000 from sexton.deletions where result = 'deleted'",
        )
        .await;
    house.everything_is_over().await;
    assert_eq!(
        house.count("select count(*) from shop.effects").await,
        MANY as i64
    );
    second.stop().await;
}

/// Told to stop while it hands back what a dead worker held: its end is clean and in time, and the next one goes on there.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_takeover_is_clean_and_loses_nothing() {
    let house = House::with_short_leases().await;
    house.things(&["a", "b"]).await;
    let mut lock = house.db.begin().await.expect("a transaction");
    sqlx::query("select from shop.things for update")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    let first = house.process(&[]);
    for id in ["a", "b"] {
        house.publish(delete(id)).await;
    }
    house
        .until(
            "both are in the middle of a step",
            "select count(*) = 2 from sexton.open_deletions where effect_ms is not null",
        )
        .await;
    // The second worker can take the lanes, and must wait for what they hold.
    let mut held = house.db.begin().await.expect("a transaction");
    sqlx::query("lock table sexton.open_deletions in exclusive mode")
        .execute(&mut *held)
        .await
        .expect("the lock");
    first.signal(Signal::KILL);
    drop(first);
    let second = house.process(&[]);
    house
        .until(
            "it is in the middle of the takeover",
            "select exists (select from sexton.lanes where taken_over_at is not null)
                and exists (select from pg_stat_activity where query like '%adopt_page%' and wait_event_type = 'Lock'
                            and datname = current_database())",
        )
        .await;
    second.signal(Signal::TERM);
    let (status, log) = second.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        house
            .is("select bool_and(expires_at <= now()) from sexton.workers")
            .await,
        "no lease is left to run out"
    );
    held.rollback().await.expect("free");
    lock.rollback().await.expect("free");
    let third = house.worker();
    for id in ["a", "b"] {
        assert_eq!(
            house.heard.end(&format!("k-{id}")).await.detail("result"),
            Some("deleted")
        );
        let journal = house.state_of(id).await;
        assert!(
            journal.tracks[1].lost <= 1,
            "only the killed one counts: {journal:?}"
        );
    }
    house.everything_is_over().await;
    third.stop().await;
}

/// Those whose steps have more against them than before.
async fn spent_by_the_stop(house: &House) -> Vec<String> {
    let journals: Vec<(String, serde_json::Value)> = sqlx::query_as(
        "select d.target_id, json_agg(j.entries order by j.seq)
         from sexton.open_deletions d join sexton.journal j on j.deletion_id = d.id group by 1",
    )
    .fetch_all(&house.db)
    .await
    .expect("journals");
    let spent = journals.into_iter().filter(|(_, records)| {
        let records: Vec<Vec<sexton::deletion::Entry>> =
            serde_json::from_value(records.clone()).expect("entries");
        let state = sexton::deletion::State::replay(4, &records.concat()).expect("a journal that replays");
        state.tracks.iter().any(|track| track.spent > 0 || track.lost > 0)
    });
    spent.map(|(id, _)| id).collect()
}
