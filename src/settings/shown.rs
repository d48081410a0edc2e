//! The settings in force, for whoever wonders which they are: each with where it was said, and no secret.

use serde_json::Value;

use super::Settings;

/// Where nothing says a setting.
const DEFAULT: &str = "default";

impl Settings {
    /// As TOML, a line each: `store.lanes = 2  # default`. What is left out is not there.
    pub fn shown(&self) -> String {
        let mut lines = Vec::new();
        // It has no keys that are no text and no numbers that are none.
        let all = serde_json::to_value(self).unwrap_or_default();
        self.walk(&mut String::new(), &all, &mut lines);
        lines.join("\n")
    }

    fn walk(&self, at: &mut String, value: &Value, lines: &mut Vec<String>) {
        match value {
            Value::Null => {}
            Value::Object(table) if !table.is_empty() => {
                for (name, inside) in table {
                    let before = at.len();
                    if before > 0 {
                        at.push('.');
                    }
                    at.push_str(&bare_or_quoted(name));
                    self.walk(at, inside, lines);
                    at.truncate(before);
                }
            }
            plain => {
                let origin = self.origins.find(at).unwrap_or(DEFAULT);
                lines.push(format!("{at} = {plain}  # {origin}"));
            }
        }
    }
}

fn bare_or_quoted(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        Value::String(name.to_owned()).to_string()
    }
}
