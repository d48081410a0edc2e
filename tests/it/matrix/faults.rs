//! Every step in every way that it can go wrong, and every undo.

use sexton::crash::{CrashPoint, Fault};
use sexton::deletion::SignalKind;

use super::judge::Allowed;
use super::rows::ROWS;
use super::script::Script;
use super::stage::{Case, Stage};
use crate::house::patience;

/// What passes by itself is met more than once.
fn times(fault: Fault) -> u32 {
    match fault {
        Fault::FailsOnce | Fault::Throttled => 3,
        _ => 1,
    }
}

fn allowed(fault: Fault) -> Allowed {
    match fault {
        Fault::GoneBefore => Allowed::DoneByOthers,
        _ => Allowed::AsClean,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_05_every_step_of_every_plan_may_go_wrong_in_every_way() {
    let stage = Stage::new().await;
    let mut script = Script::new();
    let mut cases = Vec::new();
    let mut backwards = Vec::new();
    for row in ROWS {
        for step in row.steps {
            for fault in Fault::ALL {
                let case = Case::new(row, &[step.name, fault.name()]);
                script.goes_wrong(fault, (&case.id, step.name, "do"), times(fault));
                cases.push((case, allowed(fault)));
                if step.undone {
                    let case = Case::new(row, &["undo", step.name, fault.name()]);
                    let held = script.hold(CrashPoint::EffectAfterBegin, (&case.id, step.name, "do"));
                    script.goes_wrong(fault, (&case.id, step.name, "undo"), times(fault));
                    backwards.push(held);
                    cases.push((case, Allowed::Cancelled));
                }
            }
        }
    }
    let (all, allowed): (Vec<Case>, Vec<Allowed>) = cases.into_iter().unzip();
    stage.set(&all).await;
    let worker = stage.process(&script);
    stage.ask_all(&all).await;
    script.all_there(&backwards).await;
    for (case, _) in all
        .iter()
        .zip(&allowed)
        .filter(|(_, allowed)| **allowed == Allowed::Cancelled)
    {
        stage.signal(&case.id, SignalKind::Cancel).await;
    }
    script.go_all();
    let parked = parked_and_retried(&stage).await;
    super::say(&format!("{parked} of them waited for a person, who said retry"));
    stage
        .is_judged("a step goes wrong", all.iter().zip(allowed))
        .await;
    drop(worker);
}

/// Only what fails for good waits for a person. One word each lets it go on.
async fn parked_and_retried(stage: &Stage) -> usize {
    let mut told = std::collections::BTreeSet::new();
    let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
    let waited = tokio::time::timeout(patience(), async {
        loop {
            every.tick().await;
            let open = stage.open().await;
            if open.is_empty() {
                return;
            }
            for (id, parked) in open {
                let Some(why) = parked.filter(|_| !told.contains(&id)) else {
                    continue;
                };
                assert!(
                    why["because"] == "failed" && id.ends_with(".fails"),
                    "{id}: {why}"
                );
                stage.signal(&id, SignalKind::Retry).await;
                told.insert(id);
            }
        }
    });
    if waited.await.is_err() {
        panic!("these do not end: {:#?}", stage.open().await);
    }
    told.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_every_third_answer_to_a_commit_may_be_lost() {
    const EACH: usize = 3;
    let stage = Stage::new().await;
    let mut script = Script::new();
    script.lose_every(3);
    let mut cases = Vec::new();
    for row in ROWS {
        cases.extend((0..EACH).map(|number| Case::new(row, &["lost", &number.to_string()])));
    }
    stage.set(&cases).await;
    let worker = stage.process(&script);
    stage.ask_all(&cases).await;
    let allowed = cases.iter().map(|case| (case, Allowed::AsClean));
    stage
        .is_judged("every third answer to a commit is lost", allowed)
        .await;
    drop(worker);
}
