//! A cancel and a halt that arrive in every window of every step.

use sexton::crash::{CrashPoint, Fault};
use sexton::deletion::SignalKind;

use super::judge::Allowed;
use super::rows::{Course, ROWS};
use super::script::Script;
use super::stage::{Case, Stage};
use crate::house::patience;

struct Spoken {
    case: Case,
    held: String,
    kind: SignalKind,
    allowed: Allowed,
    /// It is held after the effect of its last step.
    is_over: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_07_what_is_cancelled_or_halted_in_any_window_is_so() {
    let stage = Stage::new().await;
    let mut script = Script::new();
    let mut all = Vec::new();
    for row in ROWS {
        for (nth, step) in row.steps.iter().enumerate() {
            let last_before =
                step.until_the_pivot && !row.steps.get(nth + 1).is_some_and(|next| next.until_the_pivot);
            let mut windows = vec![CrashPoint::IntentAfterCommit, CrashPoint::EffectAfterBegin];
            windows.extend((nth == 0).then_some(CrashPoint::ClaimAfterCommit));
            windows.extend((nth > 0).then_some(CrashPoint::CombinedAfterCommit));
            // It has its effect, and nobody has heard of it: what is taken back then is not only what is known to be done.
            windows.push(CrashPoint::LookBeforeRecord);
            for at in windows {
                // A cancel wins before the pivot's intent. What comes once that is granted may be too late, and after its
                // effect it is.
                let cancelled = match at {
                    _ if row.course != Course::Delete => Allowed::Either,
                    _ if !step.until_the_pivot => Allowed::AsClean,
                    CrashPoint::EffectAfterBegin | CrashPoint::LookBeforeRecord if last_before => {
                        Allowed::AsClean
                    }
                    CrashPoint::IntentAfterCommit | CrashPoint::CombinedAfterCommit if last_before => {
                        Allowed::Either
                    }
                    _ => Allowed::Cancelled,
                };
                for (kind, allowed) in [
                    (SignalKind::Cancel, cancelled),
                    (SignalKind::Halt, Allowed::AsClean),
                    (SignalKind::Retry, Allowed::AsClean),
                ] {
                    let case = Case::new(row, &[kind.word(), step.name, at.name()]);
                    let step = if at == CrashPoint::ClaimAfterCommit {
                        ""
                    } else {
                        step.name
                    };
                    if at == CrashPoint::LookBeforeRecord {
                        script.goes_wrong(Fault::UnknownDid, (&case.id, step, "do"), 1);
                    }
                    let held = script.hold(at, (&case.id, step, "do"));
                    all.push(Spoken {
                        case,
                        held,
                        kind,
                        allowed,
                        is_over: at == CrashPoint::EffectAfterBegin && nth + 1 == row.steps.len(),
                    });
                }
            }
        }
    }
    let cases: Vec<&Case> = all.iter().map(|spoken| &spoken.case).collect();
    stage.set(&[]).await;
    stage.add(&cases).await;
    let worker = stage.process(&script);
    for case in &cases {
        stage.ask(case).await;
    }
    script.all_there(all.iter().map(|spoken| &spoken.held)).await;
    let before = stage.changes().await;
    // Halts first, for they must be heard before an effect begins: what is said last may be heard a moment after all go on.
    for kind in [SignalKind::Halt, SignalKind::Cancel, SignalKind::Retry] {
        for spoken in all.iter().filter(|spoken| spoken.kind == kind) {
            stage.signal(&spoken.case.id, kind).await;
        }
    }
    script.go_all();
    only_the_halted_are_left(&stage, &all).await;
    // A halt that came before an effect is in force before it: nothing has changed since.
    let (after, open) = (stage.changes().await, stage.open().await);
    for spoken in all.iter().filter(|spoken| spoken.kind == SignalKind::Halt) {
        let id = &spoken.case.id;
        assert_eq!(
            before.get(id),
            after.get(id),
            "{id}: it went on while it was halted"
        );
        // After the effect of the last step there is nothing left to be halted.
        assert_eq!(
            open.contains_key(id),
            !spoken.is_over,
            "{id}: open while it is halted"
        );
        if !spoken.is_over {
            stage.signal(id, SignalKind::Resume).await;
        }
    }
    let judged = all.iter().map(|spoken| (&spoken.case, spoken.allowed));
    stage
        .is_judged("cancelled, halted or retried in a window", judged)
        .await;
    drop(worker);
}

async fn only_the_halted_are_left(stage: &Stage, all: &[Spoken]) {
    let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
    let mut left = Vec::new();
    let waited = tokio::time::timeout(patience(), async {
        loop {
            every.tick().await;
            let open = stage.open().await;
            let halted = |id: &String| {
                all.iter()
                    .any(|spoken| spoken.case.id == *id && spoken.kind == SignalKind::Halt)
            };
            left = open.into_keys().filter(|id| !halted(id)).collect();
            let carried = stage
                .house
                .count("select count(*) from sexton.open_deletions where lane is not null")
                .await;
            if left.is_empty() && carried == 0 {
                return;
            }
        }
    });
    if waited.await.is_err() {
        panic!("these do not end: {left:#?}");
    }
}
