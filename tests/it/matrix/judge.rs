//! Holds what happened against a clean run.

use std::collections::BTreeMap;

use super::ledger::Changes;
use super::rows::{Course, ROWS, Row};
use super::stage::{Case, Stage};

/// How a case may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// As the clean one.
    AsClean,
    /// The same, if somebody else has done it: then it may say so.
    DoneByOthers,
    /// Taken back, with nothing left of it.
    Cancelled,
    Either,
}

pub(super) struct Judge {
    clean: BTreeMap<&'static str, Changes>,
    ends: BTreeMap<String, (String, String)>,
    changes: BTreeMap<String, Changes>,
}

impl Judge {
    pub(super) async fn of(stage: &Stage) -> Self {
        let changes = stage.changes().await;
        let clean = ROWS.iter().map(|row| {
            let clean = changes.get(&Case::clean(row).id).cloned().unwrap_or_default();
            assert!(!clean.is_empty(), "{}: a clean run changes something", row.name);
            (row.name, clean)
        });
        Judge {
            clean: clean.collect(),
            ends: stage.ends().await,
            changes,
        }
    }

    /// What is wrong with it, if anything.
    pub(super) fn judge(&self, case: &Case, allowed: Allowed) -> Option<String> {
        let nothing = Changes::new();
        let changes = self.changes.get(&case.id).unwrap_or(&nothing);
        let clean = &self.clean[case.row.name];
        let Some((course, result)) = self.ends.get(&case.id) else {
            return Some(format!("{} has not ended: {changes:?}", case.id));
        };
        let as_clean = (course.as_str(), result.as_str()) == case.row.end() && changes == clean;
        let by_others = changes == clean && ["already_gone", "refused"].contains(&result.as_str());
        let cancelled = result == "cancelled" && is_taken_back(case.row, changes);
        let is_fine = match allowed {
            Allowed::AsClean => as_clean,
            Allowed::DoneByOthers => as_clean || by_others,
            Allowed::Cancelled => cancelled,
            Allowed::Either => as_clean || cancelled,
        };
        (!is_fine).then(|| {
            format!(
                "{}: {course} ended {result}, {allowed:?} is allowed; it changed {changes:?}; a clean run {clean:?}",
                case.id
            )
        })
    }
}

/// Every row either was not touched, or something of it was set and unset again, once. A course that ends or takes back a
/// soft deletion leaves that one as it was.
fn is_taken_back(row: &Row, changes: &Changes) -> bool {
    if row.course != Course::Delete {
        return *changes == Changes::from([(("sessions".into(), "deleted_at=set".into()), 1)]);
    }
    changes.keys().all(|(_, story)| {
        let mut steps = story.split(' ');
        let (Some(set), Some(unset), None) = (steps.next(), steps.next(), steps.next()) else {
            return false;
        };
        match (set.split_once('='), unset.split_once('=')) {
            (Some((one, "set" | "true")), Some((other, "null" | "false"))) => one == other,
            _ => false,
        }
    })
}

impl Stage {
    /// All that was asked for has ended; every case is as it may be, every request had one outcome; and says how many
    /// cases there were, and how many attempts were made that changed nothing.
    pub(super) async fn is_judged<'a>(
        &self,
        what: &str,
        cases: impl IntoIterator<Item = (&'a Case, Allowed)>,
    ) {
        let cases: Vec<(&Case, Allowed)> = cases.into_iter().collect();
        self.all_end(cases.iter().map(|(case, _)| *case)).await;
        self.house.everything_is_over().await;
        let judge = Judge::of(self).await;
        let mut wrong = Vec::new();
        let mut count = 0;
        for (case, allowed) in cases {
            count += 1;
            wrong.extend(judge.judge(case, allowed));
            let key = format!("k-{}", case.id);
            if case.row.prelude(&case.id).is_none() && self.house.heard.ends(&key).len() != 1 {
                wrong.push(format!("{}: outcomes {:?}", case.id, self.house.heard.ends(&key)));
            }
        }
        let repeats = self.repeats().await;
        super::say(&format!(
            "{count} cases, {what}: {} wrong; {repeats} attempts more than in a clean run",
            wrong.len()
        ));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Attempts beyond the one that each step needs.
    async fn repeats(&self) -> i64 {
        sqlx::query_scalar(
            "select coalesce(sum(times - 1), 0)::bigint from (
                 select count(*) as times from sexton.journal j cross join lateral jsonb_array_elements(j.entries::jsonb) e
                 where e ->> 'e' = 'intent' group by j.deletion_id, e ->> 'step', e ->> 'aim') one",
        )
        .fetch_one(&self.house.db)
        .await
        .expect("a count")
    }
}
