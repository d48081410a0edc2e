//! Each crash window of the flow: a process aborts there, another finishes, and the world is as if nothing had been.

use rustix::process::Signal;
use serde_json::json;
use sexton::crash::CrashPoint;

use crate::cli::{hasty, one_parked, sexton};
use crate::house::House;
use crate::shop::{THING, delete, with};
use crate::workers::Outside;

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// It aborts where it is told to.
pub(crate) async fn crashes(armed: &str, process: Outside) {
    let (status, log) = process.ended().await;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(
        signal,
        Some(Signal::ABORT.as_raw()),
        "it did not crash at {armed}:\n{log}"
    );
}

/// Six things, one asked for twice, one that is not there; a process that aborts at `at`; another that finishes.
async fn survives(at: CrashPoint, pass: u32) -> House {
    survives_in_turn(&[(at, pass)], &[]).await
}

/// The same with several processes, each of which aborts where it is told to.
async fn survives_in_turn(windows: &[(CrashPoint, u32)], environment: &[(&str, &str)]) -> House {
    let house = House::with_short_leases().await;
    house.things(&IDS).await;
    for id in IDS {
        house.publish(delete(id)).await;
    }
    house.publish(delete("a")).await;
    house.publish(with(delete("a"), json!({"key": "again"}))).await;
    house.publish(delete("nobody")).await;

    for (at, pass) in windows {
        let armed = format!("{}#{pass}", at.name());
        let environment = [environment, &[("SEXTON_CRASH_AT", armed.as_str())]].concat();
        crashes(&armed, house.process(&environment)).await;
    }

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
            let most = 1 + windows.len() as i64;
            assert!((1..=most).contains(&runs), "{step} of {id} ran {runs} times");
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

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_crash_just_after_a_claim_is_taken_over() {
    // What a lane admits it has already; what it admitted before it died is claimed.
    let windows = [
        (CrashPoint::AdmissionAfterCommit, 1),
        (CrashPoint::ClaimAfterCommit, 2),
    ];
    survives_in_turn(&windows, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_02_a_crash_after_a_verdict_and_the_next_intent_in_one_record_is_taken_over() {
    survives(CrashPoint::CombinedAfterCommit, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_04_a_crash_after_a_commit_whose_answer_nobody_hears_is_taken_over() {
    survives(CrashPoint::CommitBeforeAnswer, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_crash_between_two_heartbeats_is_taken_over() {
    survives(CrashPoint::HeartbeatAfterRenewal, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_crash_in_the_middle_of_a_takeover_is_taken_over() {
    let windows = [
        (CrashPoint::EffectAfterBegin, 5),
        (CrashPoint::TakeoverBetweenPages, 1),
    ];
    survives_in_turn(&windows, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_05_a_crash_while_an_unknown_outcome_is_looked_into_is_looked_into_again() {
    let windows = [
        (CrashPoint::EffectAfterBegin, 5),
        (CrashPoint::LookBeforeRecord, 1),
    ];
    survives_in_turn(&windows, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_06_a_crash_in_the_middle_of_a_sweep_is_swept_again() {
    let windows = [
        (CrashPoint::EndAfterCommit, 1),
        (CrashPoint::OutboxBeforePublish, 1),
    ];
    survives_in_turn(&windows, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_crash_while_what_nobody_carries_is_handed_back_is_taken_over() {
    // The answer to every commit is lost, so what was admitted is found among the lane's own rows.
    let script = tempfile::tempdir().expect("a folder");
    std::fs::write(script.path().join("script"), "lose 1\n").expect("a script");
    let folder = script.path().to_str().expect("a path");
    let windows = [(CrashPoint::StraysBeforeRelease, 1)];
    survives_in_turn(&windows, &[("SEXTON_SCRIPT", folder)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_crash_in_the_middle_of_a_drain_is_taken_over() {
    let house = House::with_short_leases().await;
    house.things(&["a"]).await;
    let armed = CrashPoint::DrainAfterBegin.name();
    let process = house.process(&[("SEXTON_CRASH_AT", armed)]);
    let mut lock = house.db.begin().await.expect("a transaction");
    sqlx::query("select from shop.things where id = 'a' for update")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    house.publish(delete("a")).await;
    house
        .until(
            "it is in the middle of a step",
            "select exists (select from sexton.open_deletions where effect_ms is not null)",
        )
        .await;
    process.signal(Signal::TERM);
    crashes(armed, process).await;
    lock.rollback().await.expect("free");
    let second = house.worker();
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    house.everything_is_over().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_an_operator_whose_adoption_is_cut_off_leaves_the_deletion_as_it_was() {
    let house = House::new().await;
    house.things(&["a"]).await;
    house.plan("thing", &hasty());
    let worker = house.worker();
    one_parked(&house, "a").await;
    let right = house.folder().join("right.toml");
    std::fs::write(&right, THING).expect("a plan");
    let right = right.display().to_string();
    let adopt = ["plan", "adopt", right.as_str(), "--all"];
    let cut_off = tokio::process::Command::new(env!("CARGO_BIN_EXE_sexton"))
        .arg("--config")
        .arg(house.settings_file())
        .args(adopt)
        .env("SEXTON_CRASH_AT", CrashPoint::AdoptionBeforeRecord.name())
        .output()
        .await
        .expect("the binary");
    assert_eq!(cut_off.status.code(), None, "{cut_off:?}");
    assert!(
        house
            .is("select parked is not null and lane is not null from sexton.open_deletions")
            .await,
        "the dead operator's lane has it"
    );
    assert_eq!(house.count("select count(*) from sexton.audit").await, 0);
    // Half a minute later.
    house
        .sql("update sexton.workers set expires_at = now() where worker = (select l.worker from sexton.open_deletions d join sexton.lanes l using (lane))")
        .await;
    house
        .until(
            "somebody hands it back",
            "select lane is null from sexton.open_deletions",
        )
        .await;
    sexton(&house, &adopt).await.ended_with(0);
    assert_eq!(house.heard.end("k-a").await.detail("result"), Some("deleted"));
    house.everything_is_over().await;
    worker.stop().await;
}

/// Every window stands in the book with what makes it good, and is met by a test of this file or of the matrix.
#[test]
fn every_window_is_described_and_met() {
    let book = include_str!("../../ARCHITECTURE.md");
    let tests = concat!(
        include_str!("crashes.rs"),
        include_str!("matrix/windows.rs"),
        include_str!("matrix/signals.rs"),
    );
    for at in CrashPoint::ALL {
        assert!(
            book.contains(&format!("\n| `{}` |", at.name())),
            "ARCHITECTURE.md does not tell of {}",
            at.name()
        );
        assert!(
            tests.contains(&format!("CrashPoint::{at:?}")),
            "no test meets {at:?}"
        );
    }
}
