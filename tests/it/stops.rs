//! Signals a person sends: the first one finishes what runs, the second one hands it back at once. And who does not listen
//! to what a worker says stops nothing.

use rustix::process::Signal;

use crate::house::{House, THING, delete};
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
