//! A plan's text as a person wrote it: where each part stands, and every error with its line.
//!
//! Reading goes on after an error, so that one run names all of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use humantime_serde::re::humantime;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Sql, SystemName};

/// A plan file is read whole; one that is larger is no plan.
const FILE_MAX_BYTES: usize = 1_048_576;
/// A system name is a settings key and a metric label.
const SYSTEM_MAX_CHARS: usize = 64;

/// Which part of a plan something belongs to; steps by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Plan,
    Params,
    Lookup,
    Choose,
    Step(usize),
    Restore,
    RestoreStep(usize),
    Purge,
    PurgeStep(usize),
}

impl Part {
    pub(super) fn is_step(self) -> bool {
        matches!(self, Part::Step(_) | Part::RestoreStep(_) | Part::PurgeStep(_))
    }

    /// Where the only step of a course stands, if it has no table of its own.
    fn around(self) -> Part {
        match self {
            Part::RestoreStep(_) => Part::Restore,
            Part::PurgeStep(_) => Part::Purge,
            part => part,
        }
    }
}

/// A key of a part; nested ones are joined by dots, and the empty one is the part itself.
pub(super) type Place = (Part, String);

/// One thing that is wrong: where, what was found, what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {label}{text}")]
pub struct PlanError {
    pub file: String,
    pub line: usize,
    label: String,
    text: String,
}

/// All that is wrong, in the order of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl std::error::Error for PlanErrors {}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if nth == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

pub(super) struct Source<'t> {
    file: &'t str,
    text: &'t str,
    errors: RefCell<Vec<PlanError>>,
    lines: RefCell<BTreeMap<Place, usize>>,
}

impl<'t> Source<'t> {
    /// The table of the file, or why it is no TOML.
    pub(super) fn read(file: &'t str, text: &'t str) -> Result<(Source<'t>, DeTable<'t>), PlanErrors> {
        let source = Source {
            file,
            text,
            errors: RefCell::default(),
            lines: RefCell::default(),
        };
        if text.len() > FILE_MAX_BYTES {
            let found = format!("{} bytes; wanted at most {FILE_MAX_BYTES}", text.len());
            source.error(1, "", found);
            return Err(source.into_errors());
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(1, |span| source.line(span.start));
            source.error(
                line,
                "",
                format!("not TOML: {}", error.message().replace('\n', "; ")),
            );
        }
        if errors.is_empty() {
            Ok((source, table.into_inner()))
        } else {
            Err(source.into_errors())
        }
    }

    pub(super) fn error(&self, line: usize, label: &str, text: impl Into<String>) {
        self.errors.borrow_mut().push(PlanError {
            file: self.file.to_owned(),
            line,
            label: label.to_owned(),
            text: text.into(),
        });
    }

    /// The line of a key; a step that does not have it took it from the top; else where the part begins.
    pub(super) fn line_of(&self, part: Part, key: &str) -> (Part, usize) {
        let lines = self.lines.borrow();
        let at = |part: Part, key: &str| lines.get(&(part, key.to_owned())).map(|line| (part, *line));
        at(part, key)
            .or_else(|| at(part.around(), key))
            .or_else(|| at(Part::Plan, key).filter(|_| !key.is_empty()))
            .or_else(|| at(part, key.split('.').next().unwrap_or_default()))
            .or_else(|| at(part, ""))
            .or_else(|| at(part.around(), ""))
            .unwrap_or((Part::Plan, 1))
    }

    pub(super) fn is_fine(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    pub(super) fn into_errors(self) -> PlanErrors {
        let mut all = self.errors.into_inner();
        all.sort_by_key(|error| error.line);
        // What many steps took from the top is wrong once.
        let mut seen: Vec<PlanError> = Vec::with_capacity(all.len());
        for error in all {
            if !seen.contains(&error) {
                seen.push(error);
            }
        }
        PlanErrors(seen)
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }
}

/// A table of the file and what it belongs to.
pub(super) struct Section<'s> {
    pub(super) source: &'s Source<'s>,
    table: &'s DeTable<'s>,
    part: Part,
    /// Of the keys: `retry.` inside a step's `retry`.
    prefix: String,
    label: String,
}

impl<'s> Section<'s> {
    pub(super) fn top(source: &'s Source<'s>, table: &'s DeTable<'s>) -> Self {
        Section {
            source,
            table,
            part: Part::Plan,
            prefix: String::new(),
            label: String::new(),
        }
    }

    /// A table that is a part of its own. A step's label is its name where it has one.
    pub(super) fn part(
        source: &'s Source<'s>,
        value: &'s Spanned<DeValue<'s>>,
        part: Part,
        label: &str,
    ) -> Option<Self> {
        let line = source.line(value.span().start);
        let Some(table) = value.get_ref().as_table() else {
            let found = found(value.get_ref());
            source.error(
                line,
                &format!("{label}: "),
                format!("found {found}; wanted a table"),
            );
            return None;
        };
        source.lines.borrow_mut().insert((part, String::new()), line);
        let label = match table.get("name").and_then(|name| name.get_ref().as_str()) {
            Some(name) if part.is_step() => format!("step {name:?}: "),
            _ => format!("{label}: "),
        };
        Some(Section {
            source,
            table,
            part,
            prefix: String::new(),
            label,
        })
    }

    pub(super) fn only(&self, wanted: &[&str]) {
        for (key, _) in self.table {
            if !wanted.contains(&key.get_ref().as_ref()) {
                let line = self.source.line(key.span().start);
                let text = format!(
                    "unknown key {:?}; wanted {}",
                    format!("{}{}", self.prefix, key.get_ref()),
                    one_of(wanted)
                );
                self.source.error(line, &self.label, text);
            }
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'s str> {
        self.table.keys().map(|key| key.get_ref().as_ref())
    }

    pub(super) fn get(&self, key: &str) -> Option<&'s Spanned<DeValue<'s>>> {
        let (found, value) = self.table.get_key_value(key)?;
        let place = (self.part, format!("{}{key}", self.prefix));
        let line = self.source.line(found.span().start);
        self.source.lines.borrow_mut().insert(place, line);
        Some(value)
    }

    /// At the line of the key, or of the table if it has none such.
    pub(super) fn error(&self, key: &str, text: impl Into<String>) {
        let line = match self.table.get_key_value(key) {
            Some((found, _)) => self.source.line(found.span().start),
            None => {
                self.source
                    .line_of(self.part, self.prefix.trim_end_matches('.'))
                    .1
            }
        };
        self.source.error(line, &self.label, text);
    }

    pub(super) fn wrong(&self, key: &str, value: &DeValue<'_>, wanted: &str) {
        let text = format!("{}{key} is {}; wanted {wanted}", self.prefix, found(value));
        self.error(key, text);
    }

    pub(super) fn missing(&self, key: &str, wanted: &str) {
        self.error(key, format!("{}{key} is missing; wanted {wanted}", self.prefix));
    }

    pub(super) fn text(&self, key: &str, wanted: &str) -> Option<&'s str> {
        let value = self.get(key)?.get_ref();
        let text = value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(key, value, wanted);
        }
        text
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?.get_ref();
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false");
        }
        flag
    }

    pub(super) fn whole(&self, key: &str) -> Option<u32> {
        let value = self.get(key)?.get_ref();
        let number = integer(value).and_then(|number| u32::try_from(number).ok());
        if number.is_none() {
            self.wrong(key, value, "a whole number");
        }
        number
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        let value = self.get(key)?.get_ref();
        let duration = value
            .as_str()
            .and_then(|text| humantime::parse_duration(text).ok());
        if duration.is_none() {
            self.wrong(key, value, "a time like \"500ms\", \"10s\" or \"1h\"");
        }
        duration
    }

    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(key)?.get_ref();
        let chosen = choices.iter().find(|(word, _)| value.as_str() == Some(*word));
        if chosen.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.wrong(key, value, &one_of(&words));
        }
        chosen.map(|(_, choice)| *choice)
    }

    pub(super) fn system(&self, key: &str) -> Option<SystemName> {
        let name = self.text(key, "the name of a system of the settings")?;
        self.system_name(key, name)
    }

    pub(super) fn system_name(&self, key: &str, name: &str) -> Option<SystemName> {
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
        if !plain || name.len() > SYSTEM_MAX_CHARS {
            let wanted = "a system's name: a-z, 0-9, `_` or `-`, at most 64 characters";
            self.error(
                key,
                format!("{}{key} names {name:?}; wanted {wanted}", self.prefix),
            );
            return None;
        }
        Some(SystemName(name.to_owned()))
    }

    pub(super) fn sql(&self, key: &str) -> Option<Sql> {
        let text = self.text(key, "a statement")?;
        match Sql::parse(text) {
            Ok(sql) => Some(sql),
            Err(why) => {
                self.error(key, format!("{}{key}: {why}", self.prefix));
                None
            }
        }
    }

    /// A table inside this one, of the same part.
    pub(super) fn table(&self, key: &str, wanted: &str) -> Option<Section<'s>> {
        let value = self.get(key)?.get_ref();
        let Some(table) = value.as_table() else {
            self.wrong(key, value, wanted);
            return None;
        };
        Some(Section {
            source: self.source,
            table,
            part: self.part,
            prefix: format!("{}{key}.", self.prefix),
            label: self.label.clone(),
        })
    }
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

pub(super) fn one_of<T: AsRef<str>>(all: &[T]) -> String {
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    match all.as_slice() {
        [one] => (*one).to_owned(),
        all => format!("one of: {}", all.join(", ")),
    }
}

/// What stands there, short: a plan has no secrets, but it has long statements.
fn found(value: &DeValue<'_>) -> String {
    const SHOWN_MAX_CHARS: usize = 60;
    match value {
        DeValue::String(text) if text.is_empty() => "an empty text".to_owned(),
        DeValue::String(text) if text.chars().count() <= SHOWN_MAX_CHARS => format!("{text:?}"),
        DeValue::String(_) => "a long text".to_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
