//! The rules for what a request may choose: closed lists, and what each of their values means.

use std::collections::BTreeSet;

use super::check::Check;
use super::source::{Part, one_of};
use super::{Param, Plan, SystemName};

/// A list is read by people, and each value of it is a plan of its own to the engine.
const VALUES_MAX: usize = 64;
/// What Postgres keeps of a name.
const IDENTIFIER_MAX_BYTES: usize = 63;

pub(super) fn check(check: &mut Check<'_>, plan: &Plan) {
    for (name, param) in plan.params.iter().filter(|(_, param)| !param.one_of.is_empty()) {
        list(check, name, param);
    }
    for (name, choice) in &plan.choices {
        systems(check, plan, name, &choice.by);
    }
    let mut places: Vec<(Part, &str, Vec<String>)> = Vec::new();
    if let Some(lookup) = &plan.lookup {
        places.push((Part::Lookup, "sql", lookup.sql.places()));
    }
    let of = |steps: &'_ [super::Step], part: fn(usize) -> Part| {
        let all = steps.iter().enumerate();
        all.flat_map(|(index, step)| {
            step.statements()
                .map(move |(key, sql)| (part(index), key, sql.places()))
        })
        .collect::<Vec<_>>()
    };
    places.extend(of(&plan.steps, Part::Step));
    if let Some(restorable) = &plan.restorable {
        places.extend(of(&restorable.restore, Part::RestoreStep));
        places.extend(of(&restorable.purge, Part::PurgeStep));
    }
    for (part, key, names) in places {
        for name in names
            .iter()
            .filter(|name| !is_of_identifiers(plan.params.get(*name)))
        {
            let text = format!(
                "{key} has {{{name}}}, which is no closed param whose values are plain names (a-z, 0-9 and _, at most \
                 {IDENTIFIER_MAX_BYTES}); wanted one, like params = {{ {name} = [\"sessions\", \"old_sessions\"] }}"
            );
            check.found(part, key, text);
        }
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
