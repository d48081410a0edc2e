//! Each crash window of the flow: a process aborts there, another finishes, and the world is as if nothing had been.

use rustix::process::Signal;
use serde_json::json;
use sexton::crash::CrashPoint;

use crate::house::House;
use crate::shop::{delete, with};

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Six things, one asked for twice, one that is not there; a process that aborts at `at`; another that finishes.
async fn survives(at: CrashPoint, pass: u32) -> House {
    let house = House::with_short_leases().await;
    house.things(&IDS).await;
    for id in IDS {
        house.publish(delete(id)).await;
    }
    house.publish(delete("a")).await;
    house.publish(with(delete("a"), json!({"key": "again"}))).await;
    house.publish(delete("nobody")).await;

    let armed = format!("{}#{pass}", at.name());
    let (status, log) = house.process(&[("SEXTON_CRASH_AT", &armed)]).ended().await;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(
        signal,
        Some(Signal::ABORT.as_raw()),
        "it did not crash at {armed}:\n{log}"
    );

    let second = house.worker();
    for id in IDS {
        let end = house.heard.end(&format!("k-{id}")).await;
        assert_eq!(
            (end.kind(), end.detail("result")),
            ("completed", Some("deleted")),
            "{id}"
        );
    }
    assert_eq!(house.heard.end("k-nobody").await.detail("result"), Some("absent"));
    house.heard.end("again").await;
    house.everything_is_over().await;
    second.stop().await;

    for id in IDS {
        assert_eq!(
            house.heard.ends(&format!("k-{id}")).len(),
            1,
            "one outcome for {id}, under one id"
        );
        for step in ["fence", "mark", "finish"] {
            let runs = house.runs(step, id).await;
            assert!((1..=2).contains(&runs), "{step} of {id} ran {runs} times");
        }
    }
    assert_eq!(house.heard.ends("k-nobody").len(), 1);
    assert_eq!(house.heard.ends("again").len(), 1);
    assert_eq!(house.count("select count(*) from shop.effects").await, 6);
    assert_eq!(
        house
            .count("select count(*) from shop.things where gone_at is null")
            .await,
        0
    );
    assert_eq!(house.count("select count(*) from sexton.requests").await, 8);
    assert_eq!(house.count("select count(*) from sexton.rejections").await, 0);
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_01_a_crash_before_the_commit_of_an_admission_loses_no_request() {
    let house = survives(CrashPoint::AdmissionBeforeCommit, 1).await;
    // Nothing had begun, so nothing was done twice.
    assert_eq!(
        house
            .count("select count(*) from shop.runs where step = 'mark'")
            .await,
        6
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_09_a_crash_after_the_commit_of_an_admission_makes_no_second_deletion() {
    let house = survives(CrashPoint::AdmissionAfterCommit, 1).await;
    assert_eq!(
        house
            .count("select count(*) from shop.runs where step = 'mark'")
            .await,
        6
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_02_a_crash_after_an_intent_is_looked_into_before_anything_else() {
    let house = survives(CrashPoint::IntentAfterCommit, 2).await;
    assert!(
        house
            .is("select exists (select from sexton.journal where entries::jsonb @> '[{\"e\": \"verdict\", \"found_out\": true}]')")
            .await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_05_a_crash_after_an_effect_repeats_it_and_changes_nothing_more() {
    // The tenth effect is somewhere in the middle of the six sagas.
    let house = survives(CrashPoint::EffectAfterBegin, 10).await;
    assert!(
        house.count("select count(*) from shop.runs").await > 24,
        "one step ran twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_crash_before_the_commit_of_verdicts_is_taken_over() {
    survives(CrashPoint::VerdictBeforeCommit, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_06_a_crash_after_an_end_still_tells_the_outcome() {
    survives(CrashPoint::EndAfterCommit, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_06_a_crash_after_a_publish_tells_it_again_under_the_same_id() {
    let house = survives(CrashPoint::OutboxAfterPublish, 1).await;
    let all = house.heard.all();
    let ends = all.iter().filter(|event| event.is_end()).count();
    assert!(ends > 8, "something was said twice: {ends}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_04_steps_that_were_settled_before_a_crash_are_not_run_again() {
    let house = House::with_short_leases().await;
    house.things(&["a"]).await;
    house.publish(delete("a")).await;
    // One deletion: its fourth effect is its last step's.
    let (status, log) = house
        .process(&[("SEXTON_CRASH_AT", "effect-after-begin#4")])
        .ended()
        .await;
    assert!(!status.success(), "{log}");
    let second = house.worker();
    house.heard.end("k-a").await;
    second.stop().await;
    house.everything_is_over().await;
    let mut runs = Vec::new();
    for step in ["fence", "mark", "finish"] {
        runs.push(house.runs(step, "a").await);
    }
    assert_eq!(runs, [1, 1, 2]);
}
