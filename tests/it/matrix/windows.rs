//! Every step cut off in every window, and every plan started again from every record of its journal: once by a kill, and
//! once by a worker that sleeps past its lease and wakes when others have done its work.

use rustix::process::Signal;
use sexton::crash::{CrashPoint, Fault};
use sexton::deletion::SignalKind;

use super::judge::Allowed;
use super::rows::ROWS;
use super::script::Script;
use super::stage::{Case, Stage};

/// More than any row has, in its longest story: lookup, intents and verdicts apart, an end.
const RECORDS_MAX: usize = 16;

struct Held {
    script: Script,
    cases: Vec<(Case, Allowed)>,
    /// Whom to say cancel to, once they are held here; then they may go on, to where the second name holds them.
    cancelled: Vec<(String, String)>,
    /// Where each case is held.
    names: Vec<String>,
}

impl Held {
    fn case(&mut self, case: Case, at: CrashPoint, step: &str, aim: &str, allowed: Allowed) {
        self.names.push(self.script.hold(at, (&case.id, step, aim)));
        self.cases.push((case, allowed));
    }

    fn everywhere(records: &[(&'static str, usize)]) -> Self {
        let mut held = Held {
            script: Script::new(),
            cases: Vec::new(),
            cancelled: Vec::new(),
            names: Vec::new(),
        };
        for row in ROWS {
            let claimed = Case::new(row, &["claim"]);
            held.case(claimed, CrashPoint::ClaimAfterCommit, "", "do", Allowed::AsClean);
            let written = records
                .iter()
                .find(|(name, _)| *name == row.name)
                .map_or(0, |(_, count)| *count);
            for record in 1..=written {
                let number = record.to_string();
                let case = Case::new(row, &["record", &number]);
                held.case(
                    case,
                    CrashPoint::RecordAfterCommit,
                    &number,
                    "do",
                    Allowed::AsClean,
                );
            }
            for (nth, step) in row.steps.iter().enumerate() {
                let mut windows = vec![CrashPoint::IntentAfterCommit, CrashPoint::EffectAfterBegin];
                windows.extend((nth > 0).then_some(CrashPoint::CombinedAfterCommit));
                for at in windows {
                    let case = Case::new(row, &[step.name, at.name()]);
                    held.case(case, at, step.name, "do", Allowed::AsClean);
                }
                let case = Case::new(row, &[step.name, CrashPoint::LookBeforeRecord.name()]);
                held.script
                    .goes_wrong(Fault::UnknownDid, (&case.id, step.name, "do"), 1);
                held.case(
                    case,
                    CrashPoint::LookBeforeRecord,
                    step.name,
                    "do",
                    Allowed::AsClean,
                );
                if step.undone {
                    for at in [
                        CrashPoint::SignalBeforeRecord,
                        CrashPoint::IntentAfterCommit,
                        CrashPoint::EffectAfterBegin,
                    ] {
                        let case = Case::new(row, &["undo", step.name, at.name()]);
                        let first = held
                            .script
                            .hold(CrashPoint::EffectAfterBegin, (&case.id, step.name, "do"));
                        held.cancelled.push((case.id.clone(), first));
                        let (step, aim) = match at {
                            CrashPoint::SignalBeforeRecord => ("", "do"),
                            _ => (step.name, "undo"),
                        };
                        held.case(case, at, step, aim, Allowed::Cancelled);
                    }
                }
            }
        }
        held
    }

    fn all(&self) -> impl Iterator<Item = (&Case, Allowed)> {
        self.cases.iter().map(|(case, allowed)| (case, *allowed))
    }
}

/// How many records a clean run of each row writes.
async fn records(stage: &Stage) -> Vec<(&'static str, usize)> {
    let mut all = Vec::new();
    for row in ROWS {
        let count: i64 = sqlx::query_scalar(
            "select count(*) from sexton.journal where deletion_id =
                 (select id from sexton.deletions where target_id = $1 and action = $2)",
        )
        .bind(Case::clean(row).id)
        .bind(row.end().0)
        .fetch_one(&stage.house.db)
        .await
        .expect("a count");
        let count = usize::try_from(count).expect("a count");
        assert!(
            (2..=RECORDS_MAX).contains(&count),
            "{}: {count} records",
            row.name
        );
        // After the last one nothing is left to go on with.
        all.push((row.name, count - 1));
    }
    all
}

/// Everything of everybody held where the script says, in one process; then the world is as `act` leaves it.
async fn held_everywhere() -> (Stage, Held, crate::workers::Outside) {
    let stage = Stage::new().await;
    // The clean ones tell how many records there are; the others are made afterwards.
    stage.set(&[]).await;
    let held = Held::everywhere(&records(&stage).await);
    let cases: Vec<&Case> = held.cases.iter().map(|(case, _)| case).collect();
    stage.add(&cases).await;
    let process = stage.process(&held.script);
    for case in &cases {
        stage.ask(case).await;
    }
    held.script
        .all_there(held.cancelled.iter().map(|(_, name)| name))
        .await;
    for (target, first) in &held.cancelled {
        stage.signal(target, SignalKind::Cancel).await;
        held.script.go(first);
    }
    stage.all_held(&held).await;
    (stage, held, process)
}

impl Stage {
    /// Until each is held, or has ended: a record that was not needed this time holds nobody.
    async fn all_held(&self, held: &Held) {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
        let mut missing = Vec::new();
        let waited = tokio::time::timeout(crate::house::patience(), async {
            loop {
                every.tick().await;
                let ended = self.ends().await;
                let cases = held.cases.iter().zip(&held.names);
                missing = cases
                    .filter(|((case, _), name)| !held.script.is_there(name) && !ended.contains_key(&case.id))
                    .map(|(_, name)| name.clone())
                    .collect();
                if missing.is_empty() {
                    return;
                }
            }
        });
        if waited.await.is_err() {
            panic!("these were never held: {missing:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_04_every_step_may_be_cut_off_in_every_window_by_a_kill() {
    let (stage, held, process) = held_everywhere().await;
    process.signal(Signal::KILL);
    let _ = process.ended().await;
    let rescuer = stage.house.worker();
    stage.is_judged("killed in a window", held.all()).await;
    rescuer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_03_a_worker_that_wakes_in_any_window_after_others_did_its_work_changes_nothing() {
    let (stage, held, process) = held_everywhere().await;
    process.signal(Signal::STOP);
    let rescuer = stage.house.worker();
    stage.is_judged("asleep in a window", held.all()).await;
    held.script.go_all();
    process.signal(Signal::CONT);
    process.says("begins again under a new name").await;
    // Told to stop, it has to let go of all that it still believes to have.
    process.signal(Signal::TERM);
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");
    stage.is_judged("awake again in a window", held.all()).await;
    assert!(
        stage
            .house
            .is(
                "select not exists (select from sexton.journal j join sexton.lanes l on l.lane = j.lane
                where l.taken_over_at is not null and j.at > l.taken_over_at)"
            )
            .await,
        "the lost lane wrote after it was taken over"
    );
    rescuer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_05_a_chunked_step_may_be_killed_after_any_of_its_chunks() {
    for pass in 1..=3 {
        let stage = Stage::new().await;
        let chunked = ROWS
            .iter()
            .filter(|row| row.steps.iter().any(|step| step.chunked));
        let cases: Vec<Case> = chunked.map(|row| Case::new(row, &["chunk"])).collect();
        stage.set(&cases).await;
        let armed = format!("{}#{pass}", CrashPoint::ChunkAfterCommit.name());
        let process = stage.house.process(&[("SEXTON_CRASH_AT", &armed)]);
        stage.ask_all(&cases).await;
        let (status, log) = process.ended().await;
        assert!(!status.success(), "{log}");
        let rescuer = stage.house.worker();
        let what = format!("killed after chunk {pass}");
        stage
            .is_judged(&what, cases.iter().map(|case| (case, Allowed::AsClean)))
            .await;
        rescuer.stop().await;
    }
}
