//! The courses of a plan: how its targets are deleted, and, where that can be taken back, how they are restored and, once
//! the window has ended, erased.
//!
//! Each course is a plan of its own steps, so that whoever carries one out needs to know of no other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Plan, Step};
use crate::deletion::Action;

/// So long the end of a deletion is remembered if the plan does not say: longer than any queue keeps a repeat.
pub const TOMBSTONE_DEFAULT: Duration = Duration::from_secs(30 * 86_400);

/// A deletion of such a plan is soft: for a time it can be taken back, and only then is the target erased.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restorable {
    /// Counted from the end of the deletion.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    pub restore: Vec<Step>,
    pub purge: Vec<Step>,
}

/// After its end a target is looked up again: late writers bring back what was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    #[serde(rename = "for", with = "humantime_serde")]
    pub span: Duration,
    #[serde(with = "humantime_serde")]
    pub every: Duration,
}

impl Plan {
    /// What is carried out for a request of this action; without steps if this plan has no such course.
    pub fn course(&self, action: Action) -> Plan {
        let steps = match (action, &self.restorable) {
            (Action::Delete, _) => return self.clone(),
            (Action::Restore, Some(restorable)) => restorable.restore.clone(),
            (Action::Purge, Some(restorable)) => restorable.purge.clone(),
            (Action::Restore | Action::Purge, None) | (Action::Cancel, _) => Vec::new(),
        };
        Plan {
            steps,
            // What the target is was found out when it was deleted; here its statements say what they find.
            lookup: None,
            restorable: None,
            // What was soft and is erased now is watched from now on.
            watch: self.watch.clone().filter(|_| action == Action::Purge),
            ..self.clone()
        }
    }

    /// All that it has, each with its action.
    pub fn courses(&self) -> impl Iterator<Item = (Action, Plan)> + '_ {
        let all: &[Action] = match self.restorable {
            Some(_) => &[Action::Delete, Action::Restore, Action::Purge],
            None => &[Action::Delete],
        };
        all.iter().map(|action| (*action, self.course(*action)))
    }

    /// The steps of every course.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        let more = self
            .restorable
            .iter()
            .flat_map(|of| of.restore.iter().chain(&of.purge));
        self.steps.iter().chain(more)
    }
}

pub(super) fn tombstone_default() -> Duration {
    TOMBSTONE_DEFAULT
}

pub(super) fn is_tombstone_default(age: &Duration) -> bool {
    *age == TOMBSTONE_DEFAULT
}

#[cfg(test)]
mod tests {
    use super::super::parse_plan;
    use super::*;

    const SOFT: &str = r#"
target = "a.b"
on = "db"
[lookup]
sql = "select kind from t where id = :id"
[[step]]
name = "hide"
sql = "update t set gone = now(), g = :generation where id = :id and generation < :generation"
[restore]
window = "1d"
sql = "update t set gone = null where id = :id and generation < :generation"
[purge]
sql = "delete from t where id = :id and generation < :generation"
"#;

    #[test]
    fn each_course_is_a_plan_of_its_own_steps() {
        let plan = parse_plan(SOFT, "soft.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let names = |plan: &Plan| {
            plan.steps
                .iter()
                .map(|step| step.name.clone())
                .collect::<Vec<_>>()
        };
        let courses: Vec<(Action, Vec<String>)> = plan
            .courses()
            .map(|(action, course)| (action, names(&course)))
            .collect();
        let named = |action, name: &str| (action, vec![name.to_owned()]);
        assert_eq!(
            courses,
            [
                named(Action::Delete, "hide"),
                named(Action::Restore, "restore"),
                named(Action::Purge, "purge")
            ]
        );
        let purge = plan.course(Action::Purge);
        assert!(purge.lookup.is_none() && purge.restorable.is_none());
        assert_eq!(purge.pivot(), 0);
        assert_eq!(plan.all_steps().count(), 3);
    }

    #[test]
    fn a_plan_without_a_window_has_one_course() {
        let plan = parse_plan(
            "target = \"a\"\non = \"db\"\nsql = \"delete from t where id = :id\"",
            "a.toml",
        );
        let plan = plan.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plan.courses().count(), 1);
        assert_eq!(plan.course(Action::Restore).steps, []);
        assert_eq!(plan.tombstone, TOMBSTONE_DEFAULT);
    }
}
