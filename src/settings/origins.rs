//! Which file or variable said what, so that a wrong setting can be found as well as named.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

/// By key, as `broker.prefetch`.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    pub(super) fn of(root: &Value) -> Self {
        let mut origins = Origins::default();
        origins.walk("", root);
        origins
    }

    fn walk(&mut self, at: &str, value: &Value) {
        if let Some(origin) = value.origin().filter(|_| !at.is_empty()) {
            self.0.insert(at.to_owned(), origin.to_owned());
        }
        if let ValueKind::Table(table) = &value.kind {
            for (name, value) in table {
                let dot = if at.is_empty() { "" } else { "." };
                self.walk(&format!("{at}{dot}{name}"), value);
            }
        }
    }

    /// A section has its keys from several places; the first of them is a start.
    pub(super) fn find(&self, key: &str) -> Option<&str> {
        let inside = || {
            let section = format!("{key}.");
            self.0
                .range(section.clone()..)
                .find(|(name, _)| name.starts_with(&section))
                .map(|(_, origin)| origin)
        };
        self.0.get(key).or_else(inside).map(String::as_str)
    }

    /// Completes a sentence that begins with its key. A default has no place to name.
    pub(super) fn add_to(&self, sentence: String) -> String {
        let key = sentence.split(": ").next().unwrap_or_default();
        let key = key.trim_start_matches("setting ").trim_matches('`');
        match self.find(key) {
            Some(origin) => format!("{sentence} (in {origin})"),
            None => sentence,
        }
    }
}
