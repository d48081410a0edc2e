//! TOML text into a [`Plan`], or all that is wrong with it.
//!
//! The one place where a plan's text is read. What comes out has its shape and keeps the rules of [`super::check`],
//! so nothing behind it has to ask again.
//!
//! All that a plan may say; most plans say little of it:
//!
//!     target   = "factory.session"
//!     on       = "platform"                              # the system of all that names no other
//!     timeout  = "10s"                                   # of each attempt; a step may have its own
//!     retry    = { attempts = 20, base = "1s", max = "5m" }
//!     deadline = { after = "1h", then = "park" }         # or "alert"
//!     params   = { computer_id = "text?", force = "boolean" }    # text, integer, boolean; `?`: may be left out
//!
//!     [lookup]                                           # its one row becomes the facts
//!     sql  = "select kind, size from sessions where key = :id and organization_id = :tenant"
//!     none = "absent"                                    # or "already_gone", "refused"
//!
//!     [[step]]
//!     name      = "fence"
//!     sql       = "update sessions set f = now(), generation = :generation where key = :id and generation < :generation"
//!     none      = "already_gone"                         # what no changed row means; or "again", "refused"
//!     guard     = { sql = "select not busy from sessions where key = :id for update", otherwise = "it is in use" }
//!     undo      = "update sessions set f = null, generation = :generation where key = :id and generation < :generation"
//!     if_failed = "undo"                                 # or "park", the default; from the pivot on "orphan"
//!
//!     [[step]]
//!     name    = "keep"
//!     archive = { rows = "select * from sessions where key = :id", to = "{tenant}/{id}/session", store = "archive" }
//!     undo    = { nothing = true }                       # for a call also { call = "system.call" }; both send {generation}
//!
//!     [[step]]
//!     name   = "tear-down"
//!     pivot  = true                                      # else the first step without undo is
//!     when   = { kind = ["a", "b"], size = { not = 0 }, computer_id = { present = true } }
//!     read   = { on = "platform", sql = "select provider_id from sessions where key = :id" }
//!     call   = "cloud.terminate"
//!     verify = "select provider_id is null from sessions where key = :id"
//!
//!     [[step]]
//!     name   = "history"
//!     chunks = { sql = "delete from jobs where ctid = any (array(select ctid from jobs where session = :id limit :chunk))", size = 1000 }
//!
//!     [[step]]
//!     name    = "rest"
//!     nothing = true
//!
//! A guard is one boolean, asked under a lock in the statement's own transaction: true goes on, false and null are refused
//! with the text `otherwise`, and no row is left to the statement and its `none`. It stands up to the pivot.
//!
//! What a request may choose stands in [`super::parse_params`]; what follows a deletion ([restore], [purge], tombstone,
//! watch) stands in [`super::parse_courses`].

use std::time::Duration;

use super::check::{Problem, Systems, check};
use super::parse_step::{Defaults, SMALL_STEP, small_step, step};
use super::source::{Part, PlanErrors, Section, Source};
use super::{Deadline, Lookup, LookupNone, Overdue, Plan, Retry, Step, StepKind};
use super::{parse_courses, parse_params};
use crate::deletion::TargetType;

/// Long enough for a statement that waits for a lock or a service that thinks; below the lease by far.
pub(super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// With the delays below: about half an hour of trouble at the other side, then a person looks.
pub(super) const RETRY_DEFAULT: Retry = Retry {
    attempts: 20,
    // Soon, since most trouble is a lost connection.
    base: Duration::from_secs(1),
    // No system in long trouble is asked more often, and none that recovers waits for longer.
    max: Duration::from_secs(300),
};

const TOP_KEYS: [&str; 15] = [
    "target",
    "on",
    "params",
    "choose",
    "lookup",
    "step",
    "sql",
    "none",
    "timeout",
    "retry",
    "deadline",
    "tombstone",
    "watch",
    "restore",
    "purge",
];

/// Shape and rules, without knowing the settings.
pub fn parse_plan(text: &str, file: &str) -> Result<Plan, PlanErrors> {
    parse(text, file, None)
}

/// Also that the systems which the plan names exist and are of the right kind.
pub fn parse_plan_for(text: &str, file: &str, systems: &Systems) -> Result<Plan, PlanErrors> {
    parse(text, file, Some(systems))
}

fn parse(text: &str, file: &str, systems: Option<&Systems>) -> Result<Plan, PlanErrors> {
    let (source, table) = Source::read(file, text)?;
    let plan = read(&Section::top(&source, &table));
    match plan {
        Some(plan) if source.is_fine() => {
            let problems = check(&plan, systems).err().map(|all| all.0).unwrap_or_default();
            if problems.is_empty() {
                return Ok(plan);
            }
            for problem in &problems {
                locate(&source, problem);
            }
            Err(source.into_errors())
        }
        _ => Err(source.into_errors()),
    }
}

/// What a step took from the top is wrong once, at the top.
fn locate(source: &Source<'_>, problem: &Problem) {
    let (part, line) = source.line_of(problem.part, &problem.key);
    let label = match part {
        _ if part == problem.part => problem.label(),
        Part::Restore => "restore: ".to_owned(),
        Part::Purge => "purge: ".to_owned(),
        _ => String::new(),
    };
    source.error(line, &label, problem.text.as_str());
}

fn read(top: &Section<'_>) -> Option<Plan> {
    top.only(&TOP_KEYS);
    let target = target(top);
    let timeout = top.duration("timeout").unwrap_or(TIMEOUT_DEFAULT);
    let defaults = Defaults {
        on: top.system("on"),
        timeout,
        retry: retry(top, &RETRY_DEFAULT),
    };
    let params = parse_params::params(top);
    let choices = parse_params::choices(top);
    let lookup = top
        .get("lookup")
        .and_then(|value| Section::part(top.source, value, Part::Lookup, "lookup"))
        .map(|section| lookup(&section, &defaults));
    let deadline = top
        .table("deadline", "{ after = \"1h\", then = \"alert\" }")
        .map(|section| deadline(&section));
    let tombstone = parse_courses::tombstone(top);
    let watch = parse_courses::watch(top);
    let restorable = parse_courses::restorable(top, &defaults);
    let steps = steps(top, &defaults, SMALL_STEP, Part::Step)?;
    Some(Plan {
        target: target?,
        params,
        choices: choices?,
        lookup: match lookup {
            Some(found) => Some(found?),
            None => None,
        },
        steps,
        deadline: match deadline {
            Some(found) => Some(found?),
            None => None,
        },
        tombstone,
        restorable: restorable?,
        watch: watch?,
    })
}

fn target(top: &Section<'_>) -> Option<TargetType> {
    const WANTED: &str = "a type like \"factory.computer\"";
    if !top.has("target") {
        top.missing("target", WANTED);
    }
    match TargetType::parse(top.text("target", WANTED)?) {
        Ok(target) => Some(target),
        Err(why) => {
            top.error("target", format!("target is {why}"));
            None
        }
    }
}

fn lookup(section: &Section<'_>, defaults: &Defaults) -> Option<Lookup> {
    section.only(&["sql", "on", "none", "timeout"]);
    const NONE: [(&str, LookupNone); 3] = [
        ("absent", LookupNone::Absent),
        ("already_gone", LookupNone::AlreadyGone),
        ("refused", LookupNone::Refused),
    ];
    if !section.has("sql") {
        section.missing("sql", "a query for the one row that is the target");
    }
    let (on, sql) = (defaults.system(section, "on"), section.sql("sql"));
    Some(Lookup {
        none: section.choice("none", &NONE).unwrap_or(LookupNone::Absent),
        timeout: section.duration("timeout").unwrap_or(defaults.timeout),
        on: on?,
        sql: sql?,
    })
}

fn deadline(section: &Section<'_>) -> Option<Deadline> {
    section.only(&["after", "then"]);
    if !section.has("after") {
        section.missing("after", "a time like \"1h\"");
    }
    let then = [("alert", Overdue::Alert), ("park", Overdue::Park)];
    Some(Deadline {
        then: section.choice("then", &then).unwrap_or(Overdue::Alert),
        after: section.duration("after")?,
    })
}

/// What is not said is as in `standard`.
pub(super) fn retry(section: &Section<'_>, standard: &Retry) -> Retry {
    let Some(retry) = section.table("retry", "{ attempts = 20, base = \"1s\", max = \"5m\" }") else {
        return standard.clone();
    };
    retry.only(&["attempts", "base", "max"]);
    Retry {
        attempts: retry.whole("attempts").unwrap_or(standard.attempts),
        base: retry.duration("base").unwrap_or(standard.base),
        max: retry.duration("max").unwrap_or(standard.max),
    }
}

/// The steps of one course, with their kinds; `part` says which course.
pub(super) fn steps(
    top: &Section<'_>,
    defaults: &Defaults,
    small: &str,
    part: fn(usize) -> Part,
) -> Option<Vec<Step>> {
    let mut steps = unkinded(top, defaults, small, part)?;
    give_kinds(&mut steps);
    Some(steps.into_iter().map(|(step, _)| step).collect())
}

/// Each with whether it calls itself the pivot.
fn unkinded(
    top: &Section<'_>,
    defaults: &Defaults,
    small: &str,
    part: fn(usize) -> Part,
) -> Option<Vec<(Step, bool)>> {
    if top.has("sql") || !top.has("step") {
        if top.has("step") {
            top.error(
                "sql",
                "found both sql and [[step]]; wanted sql alone for a plan of one step",
            );
        }
        return small_step(top, defaults, small).map(|step| vec![(step, false)]);
    }
    if top.has("none") {
        top.error(
            "none",
            "none stands beside sql; wanted it in the step or the lookup that it is about",
        );
    }
    let value = top.get("step")?.get_ref();
    let Some(all) = value.as_array().filter(|all| !all.is_empty()) else {
        top.wrong("step", value, "[[step]] tables");
        return None;
    };
    let read = all.iter().enumerate().map(|(index, value)| {
        let section = Section::part(top.source, value, part(index), &format!("step {}", index + 1))?;
        step(&section, defaults)
    });
    // All are read before the first wrong one ends it.
    read.collect::<Vec<_>>().into_iter().collect()
}

/// A plan that says nothing: steps with an undo are compensable, the first without is the pivot.
fn give_kinds(steps: &mut [(Step, bool)]) {
    let said = steps.iter().position(|(_, pivot)| *pivot);
    let pivot = said
        .or_else(|| steps.iter().position(|(step, _)| step.undo.is_none()))
        .unwrap_or(steps.len());
    for (index, (step, says_pivot)) in steps.iter_mut().enumerate() {
        step.kind = match index {
            _ if *says_pivot || index == pivot => StepKind::Pivot,
            _ if index < pivot => StepKind::Compensable,
            _ => StepKind::Retriable,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, IfFailed, Is, LookupNone};
    use super::*;

    fn written_above() -> String {
        let lines = include_str!("parse.rs").lines();
        let sample = lines.filter_map(|line| line.strip_prefix("//!     "));
        sample.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn all_that_a_plan_may_say_is_read_as_it_is_written_above() {
        let plan = parse_plan(&written_above(), "above.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let kinds: Vec<StepKind> = plan.steps.iter().map(|step| step.kind).collect();
        use StepKind::{Compensable, Pivot, Retriable};
        assert_eq!(kinds, [Compensable, Compensable, Pivot, Retriable, Retriable]);
        assert_eq!(plan.pivot(), 2);
        assert_eq!(
            plan.lookup.as_ref().map(|lookup| lookup.none),
            Some(LookupNone::Absent)
        );
        assert_eq!(
            plan.params.get("computer_id").map(|param| param.required),
            Some(false)
        );
        assert_eq!(plan.params.get("force").map(|param| param.required), Some(true));
        assert_eq!(plan.steps[0].if_failed, IfFailed::Undo);
        assert!(
            matches!(&plan.steps[0].call, Call::Sql { guard: Some(guard), .. } if guard.otherwise == "it is in use")
        );
        assert_eq!(plan.steps[1].undo, Some(Call::Nothing));
        let down = &plan.steps[2];
        assert_eq!(down.on.0, "cloud");
        assert_eq!(
            down.verify.as_ref().map(|verify| verify.on.0.as_str()),
            Some("platform")
        );
        let when = down.when.as_ref().expect("it has one");
        assert_eq!(when.all.len(), 3);
        assert!(
            when.all
                .iter()
                .any(|test| test.name == "size" && test.is == Is::Not(0.into()))
        );
        let systems: Vec<&str> = plan.systems().into_iter().map(|name| name.0.as_str()).collect();
        assert_eq!(systems, ["archive", "cloud", "platform"]);
    }

    #[test]
    fn a_plan_that_says_nothing_turns_at_its_first_step_without_undo() {
        let plan = written_above()
            .replace("pivot  = true", "")
            .replace("undo    =", "# undo =");
        let plan = parse_plan(&plan, "above.toml").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((plan.pivot(), plan.steps[1].kind), (1, StepKind::Pivot));
        let all = written_above();
        let until = all.find("[[step]]\nname   = \"tear-down\"").expect("it is there");
        let plan = parse_plan(&all[..until], "above.toml").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plan.pivot(), plan.steps.len());
    }
}
