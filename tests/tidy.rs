//! Holds the house of ARCHITECTURE.md to its floors, sizes and words by reading the source as text. What it says when
//! it fails is what to do instead. Its own tests show that each rule can fail.

use std::collections::BTreeMap;
use std::path::Path;

#[path = "tidy/read.rs"]
mod read;

use read::{code_of, imports, in_parentheses, module_of, sources, words};

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (path, text) in sources(root) {
        found.extend(check(&path, &text));
    }
    found.extend(check_lock(
        &std::fs::read_to_string(root.join("Cargo.lock")).expect("Cargo.lock"),
    ));
    assert!(found.is_empty(), "\n\n{}\n", found.join("\n"));
}

/// Where a part stands. What is not in this table has no place in `src/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Words,
    Rules,
    Ground,
    Hands,
    Work,
    Doors,
    Top,
}

fn floor(part: &str) -> Option<Floor> {
    Some(match part {
        "deletion" | "plan" => Floor::Words,
        "decide" => Floor::Rules,
        "clock" | "stopper" | "crash" | "secret" | "telemetry" | "tls" => Floor::Ground,
        "store" | "broker" | "connectors" | "services" => Floor::Hands,
        "engine" | "retention" | "operator" => Floor::Work,
        "intake" | "relay" | "gateway" | "cli" => Floor::Doors,
        "app" | "settings" | "lib" | "main" => Floor::Top,
        _ => return None,
    })
}

/// `Some` is what to do instead.
fn import(from: &str, to: &str) -> Option<&'static str> {
    use Floor::{Doors, Ground, Hands, Rules, Top, Words, Work};
    let (Some(from_floor), Some(to_floor)) = (floor(from), floor(to)) else {
        return None;
    };
    // The command line is the door that starts everything, so it sees what app sees.
    if from == to || from_floor == Top || from == "cli" {
        return None;
    }
    match (from_floor, to_floor) {
        (_, Top) => Some("only app, cli and main know the whole; let app hand in what is needed"),
        (Words, Words) | (Rules, Rules | Words) | (Ground, Ground | Words) => None,
        (Words | Rules, Ground) => {
            Some("floors 0 and 1 are pure; take the value (now, the delay, the id) as an argument")
        }
        (Ground, _) => Some("the ground knows nothing above it; turn the dependency round"),
        (Hands, Hands) => {
            Some("hands never import hands; what both need is a word, what joins them is work (engine/)")
        }
        (Work, Work) => Some("each part of floor 3 stands alone; what both need goes to decide/ or store/"),
        (Doors, Doors) => Some("doors never import doors; what both need goes to operator/ or lower"),
        _ if to_floor > from_floor => {
            Some("imports go down, never up; move the type to the lower floor, or pass a value")
        }
        _ => None,
    }
}

const LINES_MAX: usize = 400;
const EMPTY_NAMES: [&str; 9] = [
    "utils", "common", "helpers", "manager", "misc", "shared", "base", "types", "models",
];

/// What a pure floor must not say, and what to do instead.
const IMPURE: [(&str, &str); 15] = [
    ("async fn", "return what should be done and let a hand do it"),
    ("async {", "return what should be done and let a hand do it"),
    ("async move", "return what should be done and let a hand do it"),
    (".await", "return what should be done and let a hand do it"),
    ("tokio", "return what should be done and let a hand do it"),
    ("reqwest", "return what should be done and let a hand do it"),
    ("std::fs", "take the text as an argument"),
    ("std::net", "return what should be done and let a hand do it"),
    ("std::env", "take the value as an argument"),
    ("std::thread", "return what should be done and let a hand do it"),
    ("Instant::now", "take the time as an argument"),
    ("SystemTime::now", "take the time as an argument"),
    ("OffsetDateTime::now", "take the time as an argument"),
    ("Uuid::now_v7", "take the id as an argument"),
    ("rand::", "take the random number as an argument"),
];

/// Crates that only some parts may name.
const CONFINED: [(&str, &[&str], &str); 2] = [
    (
        "lapin",
        &["broker"],
        "say it in the words of broker/, which alone speaks AMQP",
    ),
    (
        "sqlx",
        &["store", "connectors", "services"],
        "ask store/ (ours) or connectors/ (a target's database)",
    ),
];

/// Everything about one file; `path` is relative to the package, as `src/engine/lanes.rs`.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: String, instead: &str| found.push(format!("{path}: {what}. Instead: {instead}."));
    let in_source = path.starts_with("src/");
    let module: Vec<&str> = module_of(path);
    let part = module.first().copied().unwrap_or("lib");

    let lines = text.lines().count();
    if lines >= LINES_MAX {
        say(
            format!("{lines} lines, {LINES_MAX} is too long"),
            "split it where its second subject begins",
        );
    }
    if let Some(name) = module.iter().find(|name| EMPTY_NAMES.contains(name)) {
        say(
            format!("`{name}` says nothing about what is inside"),
            "name the file after the one thing it does",
        );
    }
    if !text.starts_with("//!") {
        say(
            "opens without `//!`".into(),
            "begin with why it exists and which invariant it keeps",
        );
    }
    let code: Vec<String> = text.lines().map(code_of).collect();
    let joined = code.join("\n");
    for attribute in ["[allow(", "[expect("] {
        for (at, _) in joined.match_indices(attribute) {
            if !in_parentheses(&joined[at..]).contains("reason") {
                say(
                    format!("`#{attribute}…)]` without a reason"),
                    "add `, reason = \"…\"`, or do what the lint wants",
                );
            }
        }
    }
    let test_code = if path.starts_with("tests/") {
        &joined
    } else {
        joined.find("#[cfg(test)]").map_or("", |at| &joined[at..])
    };
    for sleep in ["sleep(", "sleep_until(", "park_timeout("] {
        if test_code.contains(sleep) {
            say(
                format!("`{sleep}` in a test"),
                "wait for the event: a channel, a barrier, a row, an exit",
            );
        }
    }
    if !in_source {
        return found;
    }
    let Some(own_floor) = floor(part) else {
        say(
            format!("`{part}` has no floor"),
            "put it into a part of the house, or give it a floor in tests/tidy.rs",
        );
        return found;
    };
    for (name, parts, instead) in CONFINED {
        if !parts.contains(&part) && words(&joined).any(|word| word == name) {
            say(format!("says `{name}`"), instead);
        }
    }
    if own_floor <= Floor::Rules {
        for (word, instead) in IMPURE.iter().filter(|(word, _)| read::says(&joined, word)) {
            say(format!("`{word}` on a pure floor"), instead);
        }
    }
    for to in imports(&joined, &module) {
        if to == "*" {
            say("imports everything there is".into(), "name what you import");
        } else if let Some(instead) = import(part, &to) {
            say(format!("imports `{to}`"), instead);
        }
    }
    found
}

fn check_lock(lock: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    /// The packages of this workspace.
    const OURS: [&str; 3] = ["sexton", "sexton-bench", "sexton-model"];
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for package in lock
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
    {
        let field = |name| package.get(name).and_then(toml::Value::as_str);
        let name = field("name").unwrap_or_default();
        *versions.entry(name).or_default() += 1;
        match field("source") {
            None if OURS.contains(&name) => {}
            Some("registry+https://github.com/rust-lang/crates.io-index") => {}
            source => found.push(format!(
                "Cargo.lock: {name} comes from {source:?}. Instead: depend on a release from crates.io."
            )),
        }
        if ["backoff", "instant"].contains(&name) {
            found.push(format!(
                "Cargo.lock: {name} is unmaintained. Instead: backon, and std::time."
            ));
        }
    }
    for (name, count) in versions {
        let spans = name.starts_with("opentelemetry") || name == "tracing" || name.starts_with("tracing-");
        if spans && count > 1 {
            found.push(format!(
                "Cargo.lock: {count} versions of {name}, which silently loses spans. Instead: choose releases that pair."
            ));
        }
    }
    found
}

/// Each row: a file, its text after the opening line, and a piece of what must be said, or nothing.
#[test]
fn each_rule_can_fail() {
    let rows = [
        (
            "src/engine/lanes.rs",
            "use crate::{store::{Row, Lane}, clock, deletion::Verdict};",
            "",
        ),
        (
            "src/engine/lanes.rs",
            "use crate::{store::Row,\n    intake::Inlet};",
            "imports `intake`",
        ),
        (
            "src/store/admit.rs",
            "fn f() -> crate::broker::Inlet {}",
            "imports `broker`",
        ),
        (
            "src/store/admit.rs",
            "use super::super::broker::Inlet;",
            "imports `broker`",
        ),
        ("src/store/admit.rs", "use super::{broker::Inlet, outbox};", ""),
        ("src/store/mod.rs", "use super::engine::Lane;", "imports `engine`"),
        ("src/store/mod.rs", "use crate::*;", "imports everything"),
        ("src/store/mod.rs", "mod tests { use super::*; }", ""),
        (
            "src/relay/mod.rs",
            "use crate::intake::Inlet;",
            "doors never import doors",
        ),
        ("src/cli/run.rs", "use crate::intake::Inlet;", ""),
        ("src/app.rs", "use crate::{intake, engine};", ""),
        ("src/intake/mod.rs", "use crate::app::App;", "only app"),
        ("src/operator/why.rs", "use crate::engine::Lane;", "stands alone"),
        (
            "src/clock.rs",
            "use crate::store::Row;",
            "the ground knows nothing",
        ),
        (
            "src/decide/next.rs",
            "use crate::clock::now;",
            "floors 0 and 1 are pure",
        ),
        ("src/decide/next.rs", "use crate::store::Row;", "never up"),
        (
            "src/decide/next.rs",
            "use crate::deletion::Verdict; // crate::store",
            "",
        ),
        (
            "src/plan/parse.rs",
            "async fn parse() {}",
            "`async fn` on a pure floor",
        ),
        (
            "src/plan/parse.rs",
            "let at = OffsetDateTime::now_utc();",
            "on a pure floor",
        ),
        (
            "src/plan/parse.rs",
            "let text = \"tokio lapin .await\"; // rand::random",
            "",
        ),
        ("src/engine/lanes.rs", "let at = Instant::now();", ""),
        ("src/engine/lanes.rs", "use lapin::Channel;", "says `lapin`"),
        ("src/broker/inlet.rs", "use lapin::Channel;", ""),
        ("src/intake/mod.rs", "fn f(pool: &sqlx::PgPool) {}", "says `sqlx`"),
        ("src/services/mod.rs", "use sqlx::PgPool;", ""),
        ("src/engine/utils.rs", "", "`utils` says nothing"),
        ("src/shared/rows.rs", "", "`shared` says nothing"),
        ("examples/demo/utils.rs", "", "`utils` says nothing"),
        ("benches/saga/types.rs", "", "`types` says nothing"),
        ("fuzz/fuzz_targets/common.rs", "", "`common` says nothing"),
        ("benches/saga/a.rs", "#[allow(dead_code)]", "without a reason"),
        ("examples/demo/a.rs", "tokio::time::sleep(d).await;", ""),
        ("src/kernel/rows.rs", "", "`kernel` has no floor"),
        ("src/engine/a.rs", "#[allow(dead_code)]", "without a reason"),
        (
            "src/engine/a.rs",
            "#[expect(\n    dead_code,\n    reason = \"because\"\n)]",
            "",
        ),
        ("src/engine/a.rs", "value.expect(\"why\");", ""),
        (
            "src/engine/a.rs",
            "sleep(d).await;\n#[cfg(test)]\nmod tests {}",
            "",
        ),
        (
            "src/engine/a.rs",
            "#[cfg(test)]\nmod tests { fn f() { sleep(d); } }",
            "`sleep(` in a test",
        ),
        (
            "tests/it/a.rs",
            "tokio::time::sleep(d).await;",
            "`sleep(` in a test",
        ),
    ];
    for (path, text, expected) in rows {
        let found = check(path, &format!("//! Why.\n{text}\n")).join("\n");
        assert_eq!(found.is_empty(), expected.is_empty(), "{path}: {text}\n{found}");
        assert!(
            found.contains(expected),
            "{path}: {text}\nsaid: {found}\nnot: {expected}"
        );
    }
    assert!(
        check("src/engine/a.rs", "fn f() {}")
            .join("")
            .contains("opens without")
    );
    let long = "//! Why.\n".repeat(LINES_MAX);
    for path in ["tests/it/a.rs", "examples/a.rs", "benches/a/b.rs", "fuzz/a.rs"] {
        assert!(check(path, &long).join("").contains("too long"), "{path}");
    }
    assert!(check("tests/it/a.rs", &long[9..]).is_empty());
}

#[test]
fn each_rule_for_the_lock_file_can_fail() {
    let package = |name: &str, version: &str, source: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{source}\n")
    };
    let index = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let one = |name: &str| package(name, "1.0.0", index);
    let fine =
        package("sexton", "0.1.0", "") + &one("syn") + &package("syn", "2.0.0", index) + &one("tracing");
    assert_eq!(check_lock(&fine), Vec::<String>::new());
    for (bad, expected) in [
        (
            one("tracing") + &package("tracing", "0.2.0", index),
            "2 versions of tracing",
        ),
        (
            one("opentelemetry_sdk") + &package("opentelemetry_sdk", "2.0.0", index),
            "loses spans",
        ),
        (one("backoff"), "unmaintained"),
        (one("instant"), "unmaintained"),
        (
            package("mine", "1.0.0", "source = \"git+https://example.org/mine\""),
            "comes from",
        ),
        (package("beside", "1.0.0", ""), "comes from None"),
    ] {
        assert!(check_lock(&bad).join("").contains(expected), "{bad}");
    }
}
