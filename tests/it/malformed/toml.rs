//! TOML that is nearly right: plans and settings with lines left out, doubled, moved, and with other values.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Remove,
    Twice,
    Move(Index),
    Value(String),
    Name(String),
    Add(String),
    /// A piece of another line in place of this one's end.
    Cross(Index, Index),
}

fn odd_value() -> impl Strategy<Value = String> {
    let fixed = [
        "",
        "\"\"",
        "1",
        "0",
        "-1",
        "1.5",
        "inf",
        "nan",
        "true",
        "[]",
        "{}",
        "[[]]",
        "\"\\u0000\"",
        "\"a\\u0000\"",
        "\"0s\"",
        "\"1ns\"",
        "\"10s\"",
        "\"99999999999999999999y\"",
        "\"1h\"",
        "\"-1s\"",
        "9223372036854775807",
        "9223372036854775808",
        "2030-01-01",
        "\"text\"",
        "\"text?\"",
        "\"integer\"",
        "\"shop\"",
        "\"delete from t\"",
        "\"select :id::text, ':x', $1\"",
        "\"delete from t where id = :id\"",
        "\"delete from t where id = :\"",
        "\"select $$:id$$ /* :x */ -- :y\"",
        "'''",
        "\"\"\"",
        "\"{id}/{tenant}\"",
        "\"{id\"",
        "\"}\"",
        "\"../../{id}\"",
        "{ attempts = 0, base = \"0s\", max = \"1s\" }",
        "{ attempts = 5000000000 }",
        "{ nothing = true }",
        "{ name = \"x\", is = 1 }",
        "[\"a\", 1]",
        "\"absent\"",
        "\"already_gone\"",
        "\"again\"",
        "\"refused\"",
        "\"park\"",
        "\"orphan\"",
        "\"undo\"",
        "{ after = \"1s\", then = \"park\" }",
        "\"http://127.0.0.1:1\"",
        "\"\u{1f600}\"",
    ];
    let long = (1_usize..3_000).prop_map(|times| format!("\"{}\"", "x".repeat(times)));
    let deep = (1_usize..200).prop_map(|times| format!("{}{}", "[".repeat(times), "]".repeat(times)));
    prop_oneof![
        12 => select(fixed.to_vec()).prop_map(str::to_owned),
        1 => long,
        1 => deep,
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ]
}

fn odd_line() -> impl Strategy<Value = String> {
    let fixed = [
        "[",
        "[]",
        "[[step]]",
        "[step]",
        "[lookup]",
        "[params]",
        "[restore]",
        "[[restore.step]]",
        "[purge]",
        "[[purge.step]]",
        "[watch]",
        "[choose.x]",
        "pivot = true",
        "undo = { nothing = true }",
        "none = \"again\"",
        "if_failed = \"orphan\"",
        "verify = \"select true\"",
        "chunk = 0",
        "a.b.c = 1",
        "\"\" = 1",
        "x",
        "= 1",
        "\0",
        "[systems.\"\"]",
        "[systems.x]",
        "kind = \"http\"",
        "[store]",
        "[access.jwt]",
        "deadline = \"1s\"",
        "#",
    ];
    select(fixed.to_vec()).prop_map(str::to_owned)
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Remove),
        1 => Just(Change::Twice),
        1 => any::<Index>().prop_map(Change::Move),
        6 => odd_value().prop_map(Change::Value),
        1 => select(vec!["target", "sql", "on", "step", "url", "kind", "x", "\"a b\"", "a.b"]).prop_map(|name| Change::Name(name.to_owned())),
        2 => odd_line().prop_map(Change::Add),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(line, at)| Change::Cross(line, at)),
    ]
}

pub(crate) fn changed(example: &str, changes: &[(Index, Change)]) -> String {
    let mut lines: Vec<String> = example.lines().map(str::to_owned).collect();
    for (place, change) in changes {
        if lines.is_empty() {
            break;
        }
        let at = place.index(lines.len());
        match change {
            Change::Remove => drop(lines.remove(at)),
            Change::Twice => lines.insert(at, lines[at].clone()),
            Change::Move(to) => {
                let line = lines.remove(at);
                lines.insert(to.index(lines.len() + 1), line);
            }
            Change::Value(value) => {
                if let Some((name, _)) = lines[at].split_once('=') {
                    lines[at] = format!("{name}= {value}");
                }
            }
            Change::Name(name) => {
                if let Some((_, value)) = lines[at].split_once('=') {
                    lines[at] = format!("{name} ={value}");
                }
            }
            Change::Add(line) => lines.insert(at, line.clone()),
            Change::Cross(line, cut) => {
                let other: Vec<char> = lines[line.index(lines.len())].chars().collect();
                let end: String = other[cut.index(other.len() + 1)..].iter().collect();
                let half = lines[at].chars().count() / 2;
                lines[at] = lines[at].chars().take(half).chain(end.chars()).collect();
            }
        }
    }
    lines.join("\n")
}
