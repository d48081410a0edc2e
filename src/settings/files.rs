//! Secrets from files: whatever a secret may be said as text may be said as `{ file = "…" }`, which in the environment is
//! `SEXTON__STORE__URL__FILE`. So it is with secrets that an orchestrator mounts; nothing of them stands in an environment
//! that child processes inherit and that `/proc` shows.

use std::path::{Path, PathBuf};

use config::{Value, ValueKind};

use super::SettingsError;

/// Every key that holds a secret; `*` is any name.
pub(super) const SECRETS: [&str; 8] = [
    "store.url",
    "broker.url",
    "systems.*.url",
    "systems.*.auth.bearer",
    "systems.*.auth.value",
    "systems.*.auth.headers.*",
    "systems.*.s3.access_key_id",
    "systems.*.s3.secret_access_key",
];
/// The longest secret is a URL or a token of some kilobytes; whatever is larger is another file.
const SECRET_MAX_BYTES: u64 = 64 * 1024;
const FILE: &str = "file";

/// Puts what the files say in the place of their names. `files` are those of the settings, where relative names start.
pub(super) fn fill_in(root: &mut Value, files: &[&Path]) -> Result<(), SettingsError> {
    for key in SECRETS {
        let steps: Vec<&str> = key.split('.').collect();
        walk(root, &steps, &mut Vec::new(), files)?;
    }
    Ok(())
}

fn walk(
    value: &mut Value,
    steps: &[&str],
    at: &mut Vec<String>,
    files: &[&Path],
) -> Result<(), SettingsError> {
    let ValueKind::Table(table) = &mut value.kind else {
        return Ok(());
    };
    let Some((step, rest)) = steps.split_first() else {
        let only = table.get(FILE).filter(|_| table.len() == 1);
        let Some((name, said_in)) = only.and_then(named) else {
            // A section has its keys from several places; the first of them is a start.
            let origin = table.values().find_map(Value::origin);
            let said_in = origin.map_or_else(String::new, |origin| format!(" (in {origin})"));
            return Err(SettingsError(format!(
                "{}: found a section; wanted text, or {{ file = \"…\" }}{said_in}",
                at.join(".")
            )));
        };
        let file = anchored(&name, said_in.as_deref(), files);
        let said_in = said_in.unwrap_or_default();
        let secret = read(&file).map_err(|(found, wanted)| {
            let (key, file) = (at.join("."), file.display());
            SettingsError(format!(
                "{key}: found {found} ({file}); wanted {wanted} (in {said_in})"
            ))
        })?;
        *value = Value::new(Some(&format!("{}, named in {said_in}", file.display())), secret);
        return Ok(());
    };
    for (name, inside) in table.iter_mut().filter(|(name, _)| *step == "*" || step == name) {
        at.push(name.clone());
        walk(inside, rest, at, files)?;
        at.pop();
    }
    Ok(())
}

fn named(value: &Value) -> Option<(String, Option<String>)> {
    let ValueKind::String(name) = &value.kind else {
        return None;
    };
    Some((name.clone(), value.origin().map(str::to_owned)))
}

fn anchored(name: &str, said_in: Option<&str>, files: &[&Path]) -> PathBuf {
    let folder = files
        .iter()
        .find(|file| said_in == Some(&file.display().to_string()))
        .and_then(|file| file.parent());
    folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
}

/// Without the line break that editors and `echo` put at the end.
fn read(file: &Path) -> Result<String, (String, &'static str)> {
    const WANTED: &str = "a file that holds the secret and nothing else";
    let no_file = |error: std::io::Error| (format!("no file that can be read: {error}"), WANTED);
    let size = std::fs::metadata(file).map_err(no_file)?.len();
    if size > SECRET_MAX_BYTES {
        return Err((format!("{size} bytes"), WANTED));
    }
    let bytes = std::fs::read(file).map_err(no_file)?;
    let text = String::from_utf8(bytes).map_err(|_| ("bytes that are not UTF-8".to_owned(), WANTED))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(("an empty file".to_owned(), WANTED));
    }
    if secret.contains(['\n', '\r', '\0']) {
        return Err(("more than one line".to_owned(), WANTED));
    }
    Ok(secret.to_owned())
}
