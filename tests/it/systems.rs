//! Whether every test that `systems.md` names is there: a promise without one would be a sentence and nothing else.

use std::path::Path;

/// `` `module::of::it::name` `` in the last column of each table.
fn named(text: &str) -> Vec<&str> {
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| sentence"));
    rows.map(|row| {
        let cell = row
            .trim_end_matches([' ', '|'])
            .rsplit('|')
            .next()
            .unwrap_or_default();
        cell.trim().trim_matches('`')
    })
    .collect()
}

/// Whether it stands in its module as a test.
fn is_there(folder: &Path, test: &str) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else {
        return false;
    };
    let path = module.replace("::", "/");
    let texts = [format!("{path}.rs"), format!("{path}/mod.rs")]
        .map(|file| std::fs::read_to_string(folder.join(file)));
    texts.into_iter().flatten().any(|text| {
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().enumerate().any(|(at, line)| {
            let declares = line
                .trim_start_matches("async ")
                .strip_prefix("fn ")
                .is_some_and(|rest| rest.starts_with(&format!("{name}(")));
            declares && at > 0 && (lines[at - 1].starts_with("#[tokio::test") || lines[at - 1] == "#[test]")
        })
    })
}

#[test]
fn every_sentence_has_a_test_that_exists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let tests = named(include_str!("systems.md"));
    assert!(tests.len() > 50, "{tests:?}");
    let missing: Vec<&str> = tests
        .into_iter()
        .filter(|test| !is_there(&folder, test))
        .collect();
    assert!(
        missing.is_empty(),
        "systems.md names what is not there: {missing:#?}"
    );
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    assert!(is_there(&folder, "systems::a_test_that_is_not_there_is_noticed"));
    for wrong in [
        "systems::is_there",
        "systems::nobody",
        "nowhere::a_test",
        "nobody",
    ] {
        assert!(!is_there(&folder, wrong), "{wrong}");
    }
    assert_eq!(
        named("| sentence | test |\n|---|---|\n| a | b | `c::d` |"),
        ["c::d"]
    );
}
