//! A step's `when`: tests of facts and params, as a plan writes them.

use serde_json::Value;
use toml::de::DeValue;

use super::source::{Section, integer};
use super::{Condition, Is, Test};

/// `fact = "x"`, `fact = ["x", "y"]`, `fact = { not = "x" }`, `{ in = […] }`, `{ present = true }`; several must all hold.
pub(super) fn condition(when: &Section<'_>) -> Option<Condition> {
    let mut all = Vec::new();
    let mut fine = true;
    for name in when.keys() {
        match tests(when, name) {
            Some(found) => all.extend(found.into_iter().map(|is| Test {
                name: name.to_owned(),
                is,
            })),
            None => fine = false,
        }
    }
    if all.is_empty() && fine {
        when.error("", "when has no test; wanted { fact = \"value\" }");
        return None;
    }
    fine.then_some(Condition { all })
}

fn tests(when: &Section<'_>, name: &str) -> Option<Vec<Is>> {
    let value = when.get(name)?.get_ref();
    if let DeValue::Table(_) = value {
        let table = when.table(name, "a table")?;
        table.only(&["not", "in", "present"]);
        let mut found = Vec::new();
        for key in table.keys() {
            found.push(match key {
                "not" => Is::Not(plain(&table, key)?),
                "in" => list(&table, key)?,
                "present" => Is::Present(table.flag(key)?),
                _ => return None,
            });
        }
        return Some(found);
    }
    match value {
        DeValue::Array(_) => Some(vec![list(when, name)?]),
        _ => Some(vec![Is::Equal(plain(when, name)?)]),
    }
}

fn list(section: &Section<'_>, key: &str) -> Option<Is> {
    let value = section.get(key)?.get_ref();
    let all = value.as_array().and_then(|all| {
        let all: Option<Vec<Value>> = all.iter().map(|value| json(value.get_ref())).collect();
        all.filter(|all| !all.is_empty())
    });
    if all.is_none() {
        section.wrong(key, value, "a list of texts, whole numbers or booleans");
    }
    all.map(Is::In)
}

fn plain(section: &Section<'_>, key: &str) -> Option<Value> {
    let value = section.get(key)?.get_ref();
    let plain = json(value);
    if plain.is_none() {
        section.wrong(key, value, "a text, a whole number or a boolean");
    }
    plain
}

fn json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Integer(_) => integer(value).map(Value::from),
        _ => None,
    }
}
