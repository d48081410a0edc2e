//! The sample is what a person reads to learn every setting: held to the types, key by key, and to their defaults.

use super::tests::{STORE, read, wrong};
use super::*;

const SAMPLE: &str = include_str!("../../deploy/sexton.toml");

/// Keys of systems that have no default, or none that a sample could show: what stands there is an example.
const EXAMPLES: [&str; 14] = [
    "kind",
    "url",
    "profile",
    "ca_file",
    "folder",
    "values.account",
    "auth.bearer",
    "auth.header",
    "auth.value",
    "auth.headers.X-Project-Key",
    "s3.bucket",
    "s3.endpoint",
    "s3.access_key_id",
    "s3.secret_access_key",
];

/// The sample with its keys and sections in force, and its sentences still comments.
fn uncommented() -> String {
    let shown = |line: &str| line.contains(" = ") || line.starts_with('[');
    let in_force = |line: &'static str| line.strip_prefix("# ").filter(|rest| shown(rest)).unwrap_or(line);
    SAMPLE
        .lines()
        .map(in_force)
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The lines of a section, its head not among them.
fn section<'a>(text: &'a str, name: &str) -> &'a str {
    text.split("\n[")
        .find_map(|text| text.strip_prefix(&format!("{name}]")))
        .unwrap_or_else(|| panic!("[{name}] stands in the sample"))
}

/// The keys that the last section of `text` may have, as the sentence about an unknown one lists them.
fn keys_of(text: &str) -> Vec<String> {
    let sentence = wrong(&[&format!("{text}\nno_such_key = 1")], &[STORE]);
    assert!(
        sentence.contains(".no_such_key: found an unknown key; wanted "),
        "{sentence}"
    );
    let keys = sentence
        .split("; wanted ")
        .nth(1)
        .and_then(|rest| rest.split(" (in").next())
        .map(|keys| keys.trim_start_matches("one of ").trim_start_matches("only "));
    let keys = keys.expect("the list of keys");
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_sample_names_every_key_and_is_right_as_it_is_and_uncommented() {
    read(&[SAMPLE], &[STORE]).expect("as it is");
    let uncommented = uncommented();
    let mut shown = read(&[&uncommented], &[]).expect("uncommented");
    // These have no default; Debug leaves the URLs out.
    shown.telemetry.otlp_endpoint = None;
    shown.gateway.listen = None;
    shown.access.jwt_keys = None;
    shown.broker.ca_file = None;
    (shown.gateway.tls_certificate, shown.gateway.tls_key) = (None, None);
    shown.systems.clear();
    // A path in a file starts at the file's folder.
    let folder = shown.plans.folder.file_name().map(PathBuf::from);
    shown.plans.folder = folder.expect("a folder");
    shown.origins = Origins::default();
    assert_eq!(
        format!("{shown:?}"),
        format!("{:?}", Settings::default()),
        "each key is shown with its default"
    );
    for part in Part::ALL.iter().filter(|part| **part != Part::Systems) {
        let name = part.name();
        let section = section(&uncommented, name);
        for key in keys_of(&format!("[{name}]")) {
            assert!(
                section.contains(&format!("\n{key} = ")),
                "{name}.{key} stands in the sample"
            );
        }
    }
}

#[test]
fn the_sample_names_every_key_of_every_kind_of_system() {
    let uncommented = uncommented();
    let kinds = wrong(&["[systems.x]\nkind = \"no_such_kind\""], &[STORE]);
    for kind in ["postgres", "http", "archive"] {
        assert!(kinds.contains(kind), "{kinds}");
        assert!(uncommented.contains(&format!("kind = \"{kind}\"")), "{kind}");
    }
    assert_eq!(
        kinds.matches('`').count(),
        2 * 4,
        "a kind is not in this test: {kinds}"
    );

    let shop = "[systems.shop]\nkind = \"postgres\"\nurl = \"postgres://u@h/d\"";
    let cloud = "[systems.cloud]\nkind = \"http\"\nurl = \"http://h\"\nprofile = \"p\"";
    let archive = "[systems.archive]\nkind = \"archive\"\nfolder = \"f\"";
    let vault = "[systems.vault]\nkind = \"archive\"";
    for (name, text) in [
        ("systems.shop", shop.to_owned()),
        ("systems.cloud", cloud.to_owned()),
        ("systems.cloud.auth", format!("{cloud}\n[systems.cloud.auth]")),
        ("systems.archive", archive.to_owned()),
        (
            "systems.vault.s3",
            format!("{vault}\n[systems.vault.s3]\nbucket = \"b\""),
        ),
    ] {
        let keys = keys_of(&text);
        assert!(keys.len() > 3, "{name}: {keys:?}");
        for key in keys {
            let as_section = uncommented.contains(&format!("\n[{name}.{key}]\n"));
            // A bucket is shown in a system of its own: an archive has one or the other.
            let elsewhere = key == "s3" && uncommented.contains("\n[systems.vault.s3]\n");
            assert!(
                as_section || elsewhere || section(&uncommented, name).contains(&format!("\n{key} = ")),
                "{name}.{key} stands in the sample"
            );
        }
    }
}

#[test]
fn what_the_sample_shows_of_systems_are_their_defaults() {
    let uncommented = uncommented();
    // The same folder for both, so that their paths are the same.
    let said = |text: &str| {
        let mut settings = read(&[text], &[STORE]).expect("as the sample says");
        for system in settings.systems.values_mut() {
            for (_, path) in system.paths_mut() {
                *path = PathBuf::from(path.file_name().expect("a name"));
            }
        }
        format!("{:?}", settings.systems)
    };
    let whole = said(&uncommented);
    let mut at = String::new();
    let mut looked_at = 0;
    let lines: Vec<&str> = uncommented.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        if let Some(head) = line.strip_prefix('[') {
            at = head.trim_end_matches(']').to_owned();
        }
        let (Some(section), Some((key, _))) = (at.strip_prefix("systems."), line.split_once(" = ")) else {
            continue;
        };
        if line.starts_with('#') {
            continue;
        }
        let below = section
            .split_once('.')
            .map_or(String::new(), |(_, below)| format!("{below}."));
        if EXAMPLES.contains(&format!("{below}{key}").as_str()) {
            continue;
        }
        let mut without = lines.clone();
        without.remove(number);
        assert_eq!(
            said(&without.join("\n")),
            whole,
            "{at}: the default is another than `{line}`"
        );
        looked_at += 1;
    }
    assert!(looked_at > 15, "only {looked_at}: looked in the wrong place");
}
