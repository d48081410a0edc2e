//! One sentence out of what `config` and `serde` say: key, found, wanted, where.

use config::ConfigError;

use super::origins::Origins;

pub(super) fn sentence(error: &ConfigError, origins: &Origins) -> String {
    let mut keys = Vec::new();
    let said = innermost(error, &mut keys);
    let section = keys.join(".");
    if let Some((name, wanted)) = unknown_key(&said) {
        let key = if section.is_empty() {
            name.clone()
        } else {
            format!("{section}.{name}")
        };
        return origins.add_to(format!("{key}: found an unknown key; wanted {wanted}"));
    }
    let said = match said.split_once(", expected ") {
        Some((found, wanted)) => compare(found, wanted),
        None if said.starts_with("found ") => said,
        None => format!("found what cannot be read: {said}; wanted it as the sample settings show"),
    };
    let key = if section.is_empty() { "settings" } else { &section };
    origins.add_to(format!("{key}: {said}"))
}

/// On one line, and with nothing that a terminal would obey: a key or a value is repeated as somebody wrote it.
pub(super) fn one_line(sentence: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' => " ".to_owned(),
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => letter.to_string(),
    };
    sentence.chars().map(shown).collect()
}

/// A value is repeated only where one plain word was wanted: text in the place of a section may be a password.
fn compare(found: &str, wanted: &str) -> String {
    const PLAIN: [&str; 6] = ["integer", "bool", "float", "duration", "address", "one of"];
    let found = found
        .trim_start_matches("invalid type: ")
        .trim_start_matches("invalid value: ");
    let found = found.trim_start_matches("64-bit ");
    let wanted = if wanted.contains("struct ") || wanted.contains("enum ") || wanted.contains("map") {
        "a section with keys of its own"
    } else {
        wanted
    };
    if PLAIN.iter().any(|word| wanted.contains(word)) {
        format!("found {found}; wanted {wanted}")
    } else {
        let kind = found.split(['`', '"']).next().unwrap_or(found).trim_end();
        format!("found {kind}; wanted {wanted}")
    }
}

/// The cause itself, with the keys that lead to it.
fn innermost(error: &ConfigError, keys: &mut Vec<String>) -> String {
    match error {
        ConfigError::At { error, key, .. } => {
            keys.extend(key.clone().map(|key| key.trim_end_matches('.').to_owned()));
            innermost(error, keys)
        }
        ConfigError::Type {
            unexpected,
            expected,
            key,
            ..
        } => {
            keys.extend(key.clone().map(|key| key.trim_end_matches('.').to_owned()));
            format!("{unexpected}, expected {expected}")
        }
        ConfigError::NotFound(key) => {
            keys.push(key.clone());
            "found nothing; wanted this key".to_owned()
        }
        other => other.to_string(),
    }
}

/// From serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_key(said: &str) -> Option<(String, String)> {
    let (name, wanted) = said.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    // The names stand between backticks, whatever the words around them.
    let known: Vec<&str> = wanted.split('`').skip(1).step_by(2).collect();
    let wanted = match known.as_slice() {
        [] => "none".to_owned(),
        [only] => format!("only {only}"),
        several => format!("one of {}", several.join(", ")),
    };
    Some((name.to_owned(), wanted))
}
