//! The rules for what a request may choose: closed lists, and what each of their values means.

use std::collections::BTreeSet;

use serde_json::Value;

use super::check::Check;
use super::source::{Part, one_of};
use super::{Is, Param, Plan, Sql, Step, SystemName, Systems, Test};

/// A list is read by people, and each value of it is a plan of its own to the engine.
const VALUES_MAX: usize = 64;
/// It is a name that people write; and all of a list stand in the rejection of what is none of them.
const VALUE_MAX_CHARS: usize = 64;
/// What Postgres keeps of a name.
const IDENTIFIER_MAX_BYTES: usize = 63;

pub(super) fn check(check: &mut Check<'_>, plan: &Plan) {
    for (name, param) in plan.params.iter().filter(|(_, param)| !param.one_of.is_empty()) {
        list(check, name, param);
    }
    for (name, choice) in &plan.choices {
        systems(check, plan, name, &choice.by);
    }
    if let Some(lookup) = &plan.lookup {
        places(check, plan, Part::Lookup, "sql", &lookup.sql);
    }
    course(check, plan, &plan.steps, Part::Step);
    if let Some(restorable) = &plan.restorable {
        course(check, plan, &restorable.restore, Part::RestoreStep);
        course(check, plan, &restorable.purge, Part::PurgeStep);
    }
}

fn course(check: &mut Check<'_>, plan: &Plan, steps: &[Step], part: fn(usize) -> Part) {
    for (index, step) in steps.iter().enumerate() {
        for (key, sql) in step.statements() {
            places(check, plan, part(index), key, sql);
        }
        for test in step.when.iter().flat_map(|when| &when.all) {
            compared(check, plan, part(index), test);
        }
    }
}

/// A brace in a statement is a place for an identifier or a mistake: Postgres knows none outside of quotes.
fn places(check: &mut Check<'_>, plan: &Plan, part: Part, key: &str, sql: &Sql) {
    for name in sql.places() {
        if is_of_identifiers(plan.params.get(&name)) {
            continue;
        }
        let text = format!(
            "{key} has {{{name}}}, which is no closed param whose values are plain names (a-z, 0-9 and _, at most \
             {IDENTIFIER_MAX_BYTES}); wanted one, like params = {{ {name} = [\"sessions\", \"old_sessions\"] }}"
        );
        check.found(part, key, text);
    }
    if !sql.has_plain_places() {
        let text = format!(
            "{key} has a brace that is no {{name}} by itself; wanted blanks or a point around it, and the whole name as the \
             param's value, or the brace in quotes"
        );
        check.found(part, key, text);
    }
}

/// A test of a closed param for what it never is would skip its step for ever, or never.
fn compared(check: &mut Check<'_>, plan: &Plan, part: Part, test: &Test) {
    let Some(param) = plan
        .params
        .get(&test.name)
        .filter(|param| !param.one_of.is_empty())
    else {
        return;
    };
    let values = match &test.is {
        Is::Equal(value) | Is::Not(value) => std::slice::from_ref(value),
        Is::In(values) => values,
        Is::Present(_) => &[],
    };
    let listed = |value: &Value| param.one_of.iter().any(|one| value == one);
    for value in values.iter().filter(|value| !listed(value)) {
        let name = &test.name;
        let wanted = one_of(&param.one_of);
        let text = format!("when compares {name} with {value}, which it cannot be; wanted {wanted}");
        check.found(part, &format!("when.{name}"), text);
    }
}

fn list(check: &mut Check<'_>, name: &str, param: &Param) {
    let values = param.one_of.len();
    if values > VALUES_MAX {
        check.found(
            Part::Params,
            name,
            format!("{name} lists {values} values; wanted at most {VALUES_MAX}"),
        );
    }
    let mut seen = BTreeSet::new();
    for value in &param.one_of {
        if value.is_empty() || value.contains(char::is_control) {
            check.found(
                Part::Params,
                name,
                format!("{name} lists a text that nobody can send; wanted a plain one"),
            );
        }
        if value.chars().count() > VALUE_MAX_CHARS {
            check.found(
                Part::Params,
                name,
                format!(
                    "{name} lists a text of more than {VALUE_MAX_CHARS} characters; wanted a shorter one"
                ),
            );
        }
        if !seen.insert(value) {
            check.found(
                Part::Params,
                name,
                format!("{name} lists {value:?} twice; wanted it once"),
            );
        }
    }
    if let Some(default) = &param.default
        && !param.one_of.contains(default)
    {
        let text = format!("{name}.default is {default:?}; wanted {}", one_of(&param.one_of));
        check.found(Part::Params, name, text);
    }
}

fn systems(check: &mut Check<'_>, plan: &Plan, name: &SystemName, by: &str) {
    let name_of = &name.0;
    let values = match plan.params.get(by) {
        Some(param) if !param.one_of.is_empty() => &param.one_of,
        _ => {
            let text = format!(
                "choose.{name_of} goes by {by:?}, which is no closed param; wanted one of the params with a list"
            );
            return check.found(Part::Choose, name_of, text);
        }
    };
    let Some(choice) = plan.choices.get(name) else {
        return;
    };
    if !plan.named_systems().contains(name) {
        let text = format!("choose.{name_of} is named nowhere; wanted it as the system of something");
        check.found(Part::Choose, name_of, text);
    }
    for other in choice
        .systems
        .values()
        .filter(|other| plan.choices.contains_key(*other))
    {
        let text = format!(
            "choose.{name_of} leads to {:?}, which is chosen itself; wanted a system of the settings",
            other.0
        );
        check.found(Part::Choose, name_of, text);
    }
    for value in values.iter().filter(|value| !choice.systems.contains_key(*value)) {
        let text =
            format!("choose.{name_of} says nothing for {value:?}, which {by} may be; wanted a system for it");
        check.found(Part::Choose, name_of, text);
    }
    for value in choice.systems.keys().filter(|value| !values.contains(value)) {
        let text = format!(
            "choose.{name_of} has {value:?}, which {by} cannot be; wanted only {}",
            one_of(values)
        );
        check.found(Part::Choose, name_of, text);
    }
}

/// One name means one thing: a system of the settings or a choice.
pub(super) fn shadows(check: &mut Check<'_>, plan: &Plan, settings: &Systems) {
    for name in plan.choices.keys().filter(|name| settings.contains_key(*name)) {
        let text = format!(
            "choose.{0} has the name of a system in the settings; wanted another, so that {0:?} means one thing",
            name.0
        );
        check.found(Part::Choose, &name.0, text);
    }
}

fn is_of_identifiers(param: Option<&Param>) -> bool {
    let plain = |value: &String| {
        value.len() <= IDENTIFIER_MAX_BYTES
            && value.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && value
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    param.is_some_and(|param| {
        !param.one_of.is_empty() && !param.may_be_null() && param.one_of.iter().all(plain)
    })
}
