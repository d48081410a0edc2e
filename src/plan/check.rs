//! The rules of a plan beyond its shape: what would go wrong at the first deletion is said before it.
//!
//! Names and statements have their own file, [`super::check_names`]; here are order, bounds and systems.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::source::{Part, one_of};
use super::{
    Call, IfFailed, Plan, Retry, Step, StepKind, SystemName, ZeroRows, check_choices, check_courses,
    check_names,
};
use crate::deletion::Action;

/// A saga is read by people; one that needs more is several plans.
pub const STEPS_MAX: usize = 32;
/// Hard timeouts lie below the lease of 30 s, with time left to record what became of the attempt.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(20);
/// Below this a healthy round trip under load would already count as unknown.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// At the longest delays this is days of trying; a person knows more by then.
pub const ATTEMPTS_MAX: u32 = 100;
/// A first delay under this hammers a system that is in trouble.
const DELAY_MIN: Duration = Duration::from_millis(10);
/// A longer wait between attempts looks like a deletion that is stuck.
const DELAY_MAX: Duration = Duration::from_secs(86_400);
/// More rows in one statement hold locks for longer than its timeout is worth.
pub const CHUNK_MAX_ROWS: u32 = 10_000;
/// A mean year: an erasure that may take longer has no deadline.
const DEADLINE_MAX: Duration = Duration::from_secs(31_557_600);
const DEADLINE_MIN: Duration = Duration::from_secs(1);
/// Step names stand in tables, metrics and paths of the console.
const NAME_MAX_CHARS: usize = 48;

/// What a system of the settings is, as far as plans care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemKind {
    Postgres,
    Http,
    Archive,
}

impl fmt::Display for SystemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SystemKind::Postgres => "a postgres system",
            SystemKind::Http => "an http system",
            SystemKind::Archive => "an archive system",
        })
    }
}

pub type Systems = BTreeMap<SystemName, SystemKind>;

/// One broken rule. [`super::parse_plan`] turns it into a line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub part: Part,
    pub key: String,
    pub text: String,
    step: Option<String>,
}

impl Problem {
    pub(super) fn label(&self) -> String {
        match (self.part, &self.step) {
            (part, Some(name)) if part.is_step() => format!("step {name:?}: "),
            (Part::Step(index) | Part::RestoreStep(index) | Part::PurgeStep(index), _) => {
                format!("step {}: ", index + 1)
            }
            (Part::Restore, _) => "restore: ".to_owned(),
            (Part::Purge, _) => "purge: ".to_owned(),
            (Part::Lookup, _) => "lookup: ".to_owned(),
            (Part::Params, _) => "params: ".to_owned(),
            (Part::Choose, _) => String::new(),
            (Part::Plan, _) => String::new(),
        }
    }
}

/// Every broken rule of a plan whose text is not at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            let sign = if nth == 0 { "" } else { "; " };
            write!(f, "{sign}{}{}", problem.label(), problem.text)?;
        }
        Ok(())
    }
}

/// Without `systems` nothing is asked about the settings.
pub fn check(plan: &Plan, systems: Option<&Systems>) -> Result<(), Problems> {
    let mut problems = Vec::new();
    for (action, course) in plan.courses() {
        let mut check = Check {
            plan: &course,
            course: action,
            restorable: plan.restorable.is_some(),
            problems,
        };
        check.whole();
        for (index, step) in course.steps.iter().enumerate() {
            check.order(index, step);
            check.bounds(index, step);
        }
        check_names::check(&mut check);
        if action == Action::Delete {
            check_courses::check(&mut check, plan);
            check_choices::check(&mut check, plan);
            systems
                .iter()
                .for_each(|systems| check_choices::shadows(&mut check, plan, systems));
        }
        problems = check.problems;
        // Whatever is chosen must be there and fit; what is wrong for each is wrong once.
        for chosen in systems.iter().flat_map(|_| course.all_choices()) {
            let mut check = Check {
                plan: &chosen,
                course: action,
                restorable: plan.restorable.is_some(),
                problems: Vec::new(),
            };
            if let Some(systems) = systems {
                check.systems(systems);
            }
            let found = check.problems.into_iter();
            problems.extend(
                found
                    .filter(|problem| !problems.contains(problem))
                    .collect::<Vec<_>>(),
            );
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problems(problems))
    }
}

/// One course of a plan.
pub(super) struct Check<'p> {
    pub(super) plan: &'p Plan,
    course: Action,
    /// What this course does may be taken back, or takes something back.
    pub(super) restorable: bool,
    problems: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn found(&mut self, part: Part, key: &str, text: impl Into<String>) {
        let step = match part {
            Part::Step(index) => self.plan.steps.get(index).map(|step| step.name.clone()),
            _ => None,
        };
        let part = match (part, self.course) {
            (Part::Step(index), Action::Restore) => Part::RestoreStep(index),
            (Part::Step(index), Action::Purge) => Part::PurgeStep(index),
            // Params and deadline are the plan's, and were looked at with its first course.
            (Part::Plan, Action::Restore) => Part::Restore,
            (Part::Plan, Action::Purge) => Part::Purge,
            (part, _) => part,
        };
        self.problems.push(Problem {
            part,
            key: key.to_owned(),
            text: text.into(),
            step,
        });
    }

    /// The plan's own: the others share its params.
    pub(super) fn is_first_course(&self) -> bool {
        self.course == Action::Delete
    }

    fn whole(&mut self) {
        let steps = self.plan.steps.len();
        if !(1..=STEPS_MAX).contains(&steps) {
            self.found(
                Part::Plan,
                "step",
                format!("{steps} steps; wanted 1 to {STEPS_MAX}"),
            );
        }
        let mut seen = BTreeSet::new();
        for (index, step) in self.plan.steps.iter().enumerate() {
            let part = Part::Step(index);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            if step.name.is_empty() || step.name.len() > NAME_MAX_CHARS || !step.name.chars().all(plain) {
                let text = format!("name wants 1 to {NAME_MAX_CHARS} of a-z, 0-9, `-` and `_`");
                self.found(part, "name", text);
            }
            if !seen.insert(step.name.as_str()) {
                self.found(part, "name", "another step has this name; wanted one of its own");
            }
        }
        if let Some(lookup) = &self.plan.lookup {
            self.between(Part::Lookup, "timeout", lookup.timeout, TIMEOUT_MIN, TIMEOUT_MAX);
        }
        if let (Some(deadline), Action::Delete) = (&self.plan.deadline, self.course) {
            self.between(
                Part::Plan,
                "deadline.after",
                deadline.after,
                DEADLINE_MIN,
                DEADLINE_MAX,
            );
        }
    }

    /// Undo, then the point of no return, then only forward.
    fn order(&mut self, index: usize, step: &Step) {
        let part = Part::Step(index);
        let pivot = self.plan.pivot();
        let pivot_name = self.plan.steps.get(pivot).map_or("", |step| step.name.as_str());
        if step.kind == StepKind::Pivot && index != pivot {
            let text = format!("is a second pivot; wanted only one, and {pivot_name:?} is it");
            self.found(part, "pivot", text);
        }
        if (step.kind == StepKind::Compensable && index > pivot)
            || (step.kind == StepKind::Retriable && index < pivot)
        {
            self.found(part, "", "stands on the wrong side of the point of no return");
        }
        let before = step.kind == StepKind::Compensable;
        if before && step.undo.is_none() {
            let text = format!(
                "has no undo and stands before the pivot {pivot_name:?}; wanted an undo, or undo = {{ nothing = true }} \
                 if nothing is to be taken back, or its place after the pivot"
            );
            self.found(part, "", text);
        }
        if !before && step.undo.is_some() {
            let text = if index == pivot {
                "has an undo and is the pivot; wanted one or the other".to_owned()
            } else {
                format!(
                    "has an undo after the point of no return, {pivot_name:?}; wanted it before that, or without undo"
                )
            };
            self.found(part, "undo", text);
        }
        if !before && step.if_failed == IfFailed::Undo {
            let text = "if_failed = \"undo\" stands only before the pivot; wanted \"park\" or \"orphan\"";
            self.found(part, "if_failed", text);
        }
        if before && step.if_failed == IfFailed::Orphan {
            let text = "if_failed = \"orphan\" stands only from the pivot on; wanted \"park\" or \"undo\"";
            self.found(part, "if_failed", text);
        }
        let refuses = matches!(
            step.call,
            Call::Sql {
                none: ZeroRows::Refused,
                ..
            }
        );
        if step.kind == StepKind::Retriable && matches!(step.call, Call::Sql { guard: Some(_), .. }) {
            let text =
                "guard stands only up to the pivot: after it nothing is refused any more; wanted it before";
            self.found(part, "guard", text);
        }
        if step.kind == StepKind::Retriable && refuses {
            let text = "none = \"refused\" stands only up to the pivot; wanted \"already_gone\" or \"again\"";
            self.found(part, "none", text);
        }
        match (&step.call, &step.undo) {
            (Call::Http { .. }, Some(Call::Sql { .. })) => {
                let text =
                    "undo is a statement and the step is a call; wanted undo = { call = \"system.call\" }";
                self.found(part, "undo", text);
            }
            (Call::Sql { .. } | Call::Chunks { .. } | Call::Archive { .. }, Some(Call::Http { .. })) => {
                self.found(
                    part,
                    "undo",
                    "undo is a call and the step is at a database; wanted a statement",
                );
            }
            _ => {}
        }
    }

    fn bounds(&mut self, index: usize, step: &Step) {
        let part = Part::Step(index);
        self.between(part, "timeout", step.timeout, TIMEOUT_MIN, TIMEOUT_MAX);
        let Retry { attempts, base, max } = step.retry;
        if !(1..=ATTEMPTS_MAX).contains(&attempts) {
            let text = format!("retry.attempts is {attempts}; wanted 1 to {ATTEMPTS_MAX}");
            self.found(part, "retry.attempts", text);
        }
        self.between(part, "retry.base", base, DELAY_MIN, DELAY_MAX);
        self.between(
            part,
            "retry.max",
            max,
            base.clamp(DELAY_MIN, DELAY_MAX),
            DELAY_MAX,
        );
        if let Call::Chunks { size, .. } = step.call
            && !(1..=CHUNK_MAX_ROWS).contains(&size)
        {
            self.found(
                part,
                "chunks.size",
                format!("chunks.size is {size}; wanted 1 to {CHUNK_MAX_ROWS}"),
            );
        }
    }

    pub(super) fn between(&mut self, part: Part, key: &str, found: Duration, min: Duration, max: Duration) {
        if !(min..=max).contains(&found) {
            let text = format!("{key} is {}; wanted {} to {}", Time(found), Time(min), Time(max));
            self.found(part, key, text);
        }
    }

    fn systems(&mut self, systems: &Systems) {
        let mut wanted: Vec<(Part, &str, &SystemName, Option<SystemKind>)> = Vec::new();
        let postgres = Some(SystemKind::Postgres);
        if let Some(lookup) = &self.plan.lookup {
            wanted.push((Part::Lookup, "on", &lookup.on, postgres));
        }
        for (index, step) in self.plan.steps.iter().enumerate() {
            let part = Part::Step(index);
            match &step.call {
                Call::Nothing => wanted.push((part, "on", &step.on, None)),
                Call::Http { .. } => wanted.push((part, "call", &step.on, Some(SystemKind::Http))),
                Call::Sql { .. } | Call::Chunks { .. } => wanted.push((part, "on", &step.on, postgres)),
                Call::Archive { store, .. } => {
                    wanted.push((part, "on", &step.on, postgres));
                    wanted.push((part, "archive.store", store, Some(SystemKind::Archive)));
                }
            }
            for (key, read) in [("read", &step.read), ("verify", &step.verify)] {
                wanted.extend(read.iter().map(|read| (part, key, &read.on, postgres)));
            }
        }
        for (part, key, name, kind) in wanted {
            match (systems.get(name), kind) {
                (None, _) => {
                    let known: Vec<&str> = systems.keys().map(|name| name.0.as_str()).collect();
                    let text = format!(
                        "system {:?} is not in the settings; wanted {}",
                        name.0,
                        one_of(&known)
                    );
                    self.found(part, key, text);
                }
                (Some(found), Some(kind)) if *found != kind => {
                    self.found(
                        part,
                        key,
                        format!("system {:?} is {found}; wanted {kind}", name.0),
                    );
                }
                _ => {}
            }
        }
    }
}

/// A duration as a person writes it.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime_serde::re::humantime::format_duration(self.0).fmt(f)
    }
}
