//! What a request may say to a plan, and what it may choose by that:
//!
//!     [params]
//!     owner = "text?"                                    # text, integer, boolean; `?`: may be left out
//!     db_id = ["main", "second"]                         # a closed list: one of these, and needed
//!     table = { one_of = ["sessions", "old_sessions"], default = "sessions" }    # may be left out
//!
//!     [choose.store]                                     # `store` is a system by a closed param,
//!     by     = "db_id"                                   # for `on = "store"` wherever a system is named
//!     main   = "store-main"
//!     second = "store-second"
//!
//! In a statement `{table}` stands for the chosen value as an identifier, in double quotes. Only the values that the plan
//! lists can ever get there.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::source::{Part, Section, one_of};
use super::tokens::is_bind_name;
use super::{Choice, Param, ParamKind, SystemName};

pub(super) fn params(top: &Section<'_>) -> BTreeMap<String, Param> {
    let Some(value) = top.get("params") else {
        return BTreeMap::new();
    };
    let Some(section) = Section::part(top.source, value, Part::Params, "params") else {
        return BTreeMap::new();
    };
    let mut params = BTreeMap::new();
    for name in section.keys() {
        if !is_bind_name(name) {
            section.error(
                name,
                format!("{name:?} cannot be written as :name; wanted a-z, 0-9 and _"),
            );
        }
        let found = match section.get(name).map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => texts(&section, name).map(|one_of| closed(one_of, None)),
            Some(DeValue::Table(_)) => listed(&section, name),
            Some(word) => by_word(&section, name, word),
            None => None,
        };
        params.extend(found.map(|param| (name.to_owned(), param)));
    }
    params
}

fn closed(one_of: Vec<String>, default: Option<String>) -> Param {
    Param {
        kind: ParamKind::Text,
        required: default.is_none(),
        one_of,
        default,
    }
}

fn by_word(section: &Section<'_>, name: &str, word: &DeValue<'_>) -> Option<Param> {
    let kinds = [ParamKind::Text, ParamKind::Integer, ParamKind::Boolean];
    let words: Vec<(String, Param)> = kinds
        .into_iter()
        .flat_map(|kind| [(kind, true), (kind, false)])
        .map(|(kind, required)| {
            let mark = if required { "" } else { "?" };
            let param = Param {
                kind,
                required,
                one_of: Vec::new(),
                default: None,
            };
            (format!("{}{mark}", kind.word()), param)
        })
        .collect();
    let known = words.iter().find(|(known, _)| word.as_str() == Some(known));
    if known.is_none() {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        section.wrong(name, word, &format!("{} (a `?` may be left out)", one_of(&words)));
    }
    known.map(|(_, param)| param.clone())
}

/// `{ one_of = […], default = "…" }`.
fn listed(section: &Section<'_>, name: &str) -> Option<Param> {
    let table = section.table(name, "a table")?;
    table.only(&["one_of", "default"]);
    for key in ["one_of", "default"] {
        if !table.has(key) {
            table.missing(key, "{ one_of = [\"a\", \"b\"], default = \"a\" }");
        }
    }
    let default = table.text("default", "one of the texts of the list");
    let one_of = texts(&table, "one_of");
    Some(closed(one_of?, Some(default?.to_owned())))
}

fn texts(section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let value = section.get(key)?.get_ref();
    let all = value.as_array().and_then(|all| {
        let all: Option<Vec<String>> = all
            .iter()
            .map(|one| one.get_ref().as_str().map(str::to_owned))
            .collect();
        all.filter(|all| !all.is_empty())
    });
    if all.is_none() {
        section.wrong(key, value, "a list of texts");
    }
    all
}

/// `None` is an error that has been said.
pub(super) fn choices(top: &Section<'_>) -> Option<BTreeMap<SystemName, Choice>> {
    let Some(value) = top.get("choose") else {
        return Some(BTreeMap::new());
    };
    let section = Section::part(top.source, value, Part::Choose, "choose")?;
    let mut all = BTreeMap::new();
    let mut fine = true;
    for name in section.keys() {
        match choice(&section, name) {
            Some(choice) => drop(all.insert(SystemName(name.to_owned()), choice)),
            None => fine = false,
        }
    }
    fine.then_some(all)
}

fn choice(section: &Section<'_>, name: &str) -> Option<Choice> {
    const WANTED: &str = "{ by = \"param\", value = \"system\" }";
    section.system_name(name, name)?;
    let table = section.table(name, WANTED)?;
    if !table.has("by") {
        table.missing("by", "the closed param that decides");
    }
    let by = table.text("by", "the closed param that decides");
    let mut systems = BTreeMap::new();
    for value in table.keys().filter(|key| *key != "by") {
        systems.insert(value.to_owned(), table.system(value)?);
    }
    Some(Choice {
        by: by?.to_owned(),
        systems,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse_plan;
    use super::*;

    #[test]
    fn what_may_be_chosen_is_read_as_it_is_written_above() {
        let lines = include_str!("parse_params.rs").lines();
        let sample = lines.filter_map(|line| line.strip_prefix("//!     "));
        let head = "target = \"a.b\"\non = \"store\"\nsql = \"delete from {table} where id = :id\"\n";
        let text = format!("{head}{}", sample.collect::<Vec<_>>().join("\n"));
        let plan = parse_plan(&text, "p.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let of = |name: &str| plan.params.get(name).cloned().expect(name);
        assert!(of("owner").may_be_null() && of("db_id").required && !of("table").may_be_null());
        assert_eq!(of("table").default.as_deref(), Some("sessions"));
        let choice = plan.choices.get(&SystemName("store".into())).expect("a choice");
        assert_eq!((choice.by.as_str(), choice.systems.len()), ("db_id", 2));
    }
}
