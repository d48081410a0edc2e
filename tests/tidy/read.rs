//! Reads Rust source as text, as far as the rules of tests/tidy.rs need it: without comments and strings, which paths it
//! names. Where a line is unclear it sees less rather than more, so that it never forbids what is right.

use std::path::{Path, PathBuf};

/// All that has Rust of ours. Not every package has all of them.
const FOLDERS: [&str; 6] = ["src", "tests", "examples", "benches", "model", "fuzz"];

/// `src/a/b.rs` is [a, b], `src/a/mod.rs` is [a], `src/lib.rs` is [lib].
pub(crate) fn module_of(path: &str) -> Vec<&str> {
    let folder = |path: &&str| FOLDERS.contains(path);
    let inside = match path.split_once('/') {
        Some((first, inside)) if folder(&first) => inside,
        _ => path,
    };
    let mut module: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
    if module.last() == Some(&"mod") {
        module.pop();
    }
    module
}

/// One line without its comment and without what its strings say.
pub(crate) fn code_of(line: &str) -> String {
    let mut code = String::new();
    let (mut in_string, mut escaped, mut before) = (false, false, ' ');
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' if !in_string && before == '\'' => {}
            '"' => in_string = !in_string,
            '/' if !in_string && letters.peek() == Some(&'/') => break,
            _ if !in_string => code.push(letter),
            _ => {}
        }
        before = letter;
    }
    code
}

/// The parts that `crate::` and `super::` paths lead to, from anywhere in the code.
pub(crate) fn imports(code: &str, module: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (start, length) in [("crate::", 7), ("super::", 7)] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || "_$".contains(before) || code[..at].ends_with("super::") {
                continue;
            }
            let mut rest = &code[at + length..];
            if start == "super::" {
                let mut above = module.len().saturating_sub(1);
                while let Some(further) = rest.strip_prefix("super::") {
                    (rest, above) = (further, above.saturating_sub(1));
                }
                if above > 0 || module.len() < 2 && rest.starts_with('*') {
                    continue;
                }
            }
            found.extend(heads(rest));
        }
    }
    found
}

/// The first name of a path, or of each path of a group: `{store::Row, clock}` leads to store and clock.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let text = text.trim();
        if text.starts_with('*') {
            return "*".into();
        }
        text.chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                found.push(name(&group[from..at]));
                from = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

pub(crate) fn in_parentheses(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 1 => return &text[..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// Whether the text is there, and not as the end of another word.
pub(crate) fn says(code: &str, text: &str) -> bool {
    let inside = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(text)
        .any(|(at, _)| !text.starts_with(inside) || !code[..at].ends_with(inside))
}

pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// All of ours, with paths relative to the package.
pub(crate) fn sources(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let there = |folder: &str| Some(root.join(folder)).filter(|folder| folder.is_dir());
    let mut folders: Vec<PathBuf> = FOLDERS.into_iter().filter_map(there).collect();
    // A fuzzer's package has a target folder of its own, full of what is not ours.
    let built = root.join("fuzz/target");
    while let Some(folder) = folders.pop() {
        if folder == built {
            continue;
        }
        for entry in std::fs::read_dir(folder).expect("a folder of the package") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root)
                    .expect("inside the package")
                    .to_string_lossy()
                    .replace('\\', "/");
                found.push((name, std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    for folder in &FOLDERS[..4] {
        let in_it = |(name, _): &&(String, String)| name.starts_with(&format!("{folder}/"));
        let files = found.iter().filter(in_it).count();
        assert!(
            files > 3,
            "only {files} files in {folder}/: looked in the wrong place"
        );
    }
    found
}
