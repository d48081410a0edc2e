//! What follows a deletion, as a plan says it. All of it may be left out; `[restore]` and `[purge]` go together:
//!
//!     target    = "factory.session"
//!     on        = "platform"
//!     tombstone = "30d"                        # so long its end is remembered for repeats; "0s": not at all
//!     watch     = { for = "15m", every = "1m" }    # so long it is looked up again, and removed again if it is back
//!
//!     [lookup]
//!     sql = "select kind from sessions where key = :id and organization_id = :tenant"
//!
//!     [[step]]
//!     name = "hide"
//!     sql  = "update sessions set hidden_at = now(), generation = :generation where key = :id and generation < :generation"
//!
//!     [restore]                                # the deletion is soft, and can be taken back
//!     window = "30d"                           # for so long after it has ended
//!     sql    = "update sessions set hidden_at = null, generation = :generation where key = :id and generation < :generation"
//!
//!     [purge]                                  # then it is erased
//!     sql = "delete from sessions where key = :id and hidden_at is not null and generation < :generation"
//!
//! Either may have `[[restore.step]]`, `[[purge.step]]` in place of `sql`, as the plan has `[[step]]`. Their statements
//! know the params of the deletion, and no facts. Every one of the three compares `:generation`: a worker that was
//! frozen and wakes late must not repeat what somebody newer has reversed.

use std::time::Duration;

use super::parse::steps;
use super::parse_step::Defaults;
use super::source::{Part, Section};
use super::{Restorable, TOMBSTONE_DEFAULT, Watch};

const COURSE_KEYS: [&str; 4] = ["on", "sql", "none", "step"];
/// A watch that does not say looks this often in its time: soon enough, and no burden.
const LOOKS_DEFAULT: u32 = 4;

pub(super) fn tombstone(top: &Section<'_>) -> Duration {
    top.duration("tombstone").unwrap_or(TOMBSTONE_DEFAULT)
}

/// `None` is an error that has been said; `Some(None)` is a plan without one.
pub(super) fn watch(top: &Section<'_>) -> Option<Option<Watch>> {
    let Some(watch) = top.table("watch", "{ for = \"15m\" }") else {
        return (!top.has("watch")).then_some(None);
    };
    watch.only(&["for", "every"]);
    if !watch.has("for") {
        watch.missing("for", "a time like \"15m\"");
    }
    let span = watch.duration("for")?;
    let every = match watch.has("every") {
        true => watch.duration("every")?,
        false => span / LOOKS_DEFAULT,
    };
    Some(Some(Watch { span, every }))
}

/// As [`watch`].
pub(super) fn restorable(top: &Section<'_>, defaults: &Defaults) -> Option<Option<Restorable>> {
    let section = |key: &str, part: Part| {
        top.get(key)
            .and_then(|value| Section::part(top.source, value, part, key))
    };
    let (restore, purge) = (section("restore", Part::Restore), section("purge", Part::Purge));
    let (restore, purge) = match (restore, purge) {
        (Some(restore), Some(purge)) => (restore, purge),
        (None, None) if !top.has("restore") && !top.has("purge") => return Some(None),
        _ => {
            let (there, missing) = match top.has("restore") {
                true => ("restore", "[purge], which erases it after the window"),
                false => (
                    "purge",
                    "[restore] with its window, in which it can be taken back",
                ),
            };
            if !(top.has("restore") && top.has("purge")) {
                top.error(there, format!("found [{there}] alone; wanted also {missing}"));
            }
            return None;
        }
    };
    restore.only(&[&["window"], COURSE_KEYS.as_slice()].concat());
    purge.only(&COURSE_KEYS);
    if !restore.has("window") {
        restore.missing(
            "window",
            "a time like \"30d\", in which a deletion can be taken back",
        );
    }
    let window = restore.duration("window");
    let course = |section: &Section<'_>, name: &str, part: fn(usize) -> Part| {
        let defaults = Defaults {
            on: match section.has("on") {
                true => section.system("on"),
                false => defaults.on.clone(),
            },
            timeout: defaults.timeout,
            retry: defaults.retry.clone(),
        };
        steps(section, &defaults, name, part)
    };
    Some(Some(Restorable {
        restore: course(&restore, "restore", Part::RestoreStep)?,
        purge: course(&purge, "purge", Part::PurgeStep)?,
        window: window?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, parse_plan};
    use super::*;

    fn written_above() -> String {
        let lines = include_str!("parse_courses.rs").lines();
        let sample = lines.filter_map(|line| line.strip_prefix("//!     "));
        sample.collect::<Vec<_>>().join("\n")
    }

    fn parsed(text: &str) -> Result<Plan, String> {
        parse_plan(text, "p.toml").map_err(|errors| errors.to_string())
    }

    #[test]
    fn what_follows_is_read_as_it_is_written_above() {
        let plan = parsed(&written_above()).unwrap_or_else(|errors| panic!("{errors}"));
        let restorable = plan.restorable.as_ref().expect("it can be restored");
        assert_eq!(restorable.window, Duration::from_secs(30 * 86_400));
        assert_eq!((restorable.restore.len(), restorable.purge.len()), (1, 1));
        let watch = plan.watch.as_ref().expect("it is watched");
        assert_eq!((watch.span.as_secs(), watch.every.as_secs()), (900, 60));
        let (text, _) = crate::plan::canonical(&plan);
        assert_eq!(crate::plan::from_canonical(&text).ok(), Some(plan));
    }

    #[test]
    fn several_steps_stand_where_one_statement_would() {
        let text = written_above().replace(
            "[purge]                                  # then it is erased\nsql =",
            "[purge]\n[[purge.step]]\nname = \"rows\"\nsql = \"delete from m where key = :id and generation < :generation\"\n\
             [[purge.step]]\nname = \"head\"\nsql =",
        );
        let plan = parsed(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let names: Vec<&str> = plan
            .restorable
            .iter()
            .flat_map(|of| &of.purge)
            .map(|step| step.name.as_str())
            .collect();
        assert_eq!(names, ["rows", "head"]);
    }

    #[test]
    fn invariant_03_what_can_be_reversed_compares_the_generation() {
        let all = written_above();
        let line = |of: &str| {
            all.lines()
                .position(|line| line.starts_with(of))
                .map_or(0, |at| at + 1)
        };
        let without = |from: &str, to: &str| parsed(&all.replace(from, to)).expect_err(from);
        let late = without(" and hidden_at is not null and generation < :generation", "");
        assert!(
            late.starts_with(&format!(
                "p.toml:{}: purge: sql does not compare :generation, and the plan can be restored; wanted",
                line("[purge]") + 1
            )),
            "{late}"
        );
        let soft = without(
            "now(), generation = :generation where key = :id and generation < :generation",
            "now() where key = :id",
        );
        assert!(
            soft.contains("step \"hide\": sql does not compare :generation"),
            "{soft}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_is_wanted() {
        let all = written_above();
        let line = |of: &str| {
            all.lines()
                .position(|line| line.starts_with(of))
                .map_or(0, |at| at + 1)
        };
        let without = |from: &str, to: &str| parsed(&all.replace(from, to)).expect_err(from);
        let purge = all.find("[purge]").expect("it is there");
        assert_eq!(
            parsed(&all[..purge]).expect_err("no purge"),
            format!(
                "p.toml:{}: found [restore] alone; wanted also [purge], which erases it after the window",
                line("[restore]")
            )
        );
        assert_eq!(
            without("window = \"30d\"", "# "),
            format!(
                "p.toml:{}: restore: window is missing; wanted a time like \"30d\", in which a deletion can be taken back",
                line("[restore]")
            )
        );
        let fact = without(
            "delete from sessions where",
            "delete from sessions where kind = :kind and",
        );
        assert!(fact.contains("uses kind, which is not known here"), "{fact}");
        let blind = without("[lookup]\nsql =", "[params]\nx = \"text?\"\n#");
        assert!(
            blind.contains("watch looks the target up again, and the plan has no [lookup]"),
            "{blind}"
        );
    }
}
