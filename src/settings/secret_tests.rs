//! Every secret, planted with a marker, said as text and by a file; then looked for in all that is shown.

use secrecy::ExposeSecret;

use super::files::SECRETS;
use super::tests::read;
use super::*;

const MARKER: &str = "hunter2";

/// Settings with every secret; `secret` says how the one of that key is written.
fn with_secrets(secret: &dyn Fn(&str, &str) -> String) -> String {
    let postgres = "postgres://u:hunter2@127.0.0.1:1/x";
    format!(
        "[store]\nurl = {}\n[broker]\nurl = {}\n\
         [systems.shop]\nkind = \"postgres\"\nurl = {}\n\
         [systems.cloud]\nkind = \"http\"\nurl = \"https://h\"\nprofile = \"p\"\n\
         [systems.cloud.auth]\nbearer = {}\nheader = \"X-Key\"\nvalue = {}\n\
         [systems.cloud.auth.headers]\nx-project = {}\n\
         [systems.vault]\nkind = \"archive\"\n[systems.vault.s3]\nbucket = \"b\"\n\
         access_key_id = {}\nsecret_access_key = {}\n",
        secret("store.url", postgres),
        secret("broker.url", "amqp://u:hunter2@127.0.0.1:1/x"),
        secret("systems.*.url", postgres),
        secret("systems.*.auth.bearer", "hunter2-bearer"),
        secret("systems.*.auth.value", "hunter2-value"),
        secret("systems.*.auth.headers.*", "hunter2-header"),
        secret("systems.*.s3.access_key_id", "hunter2-id"),
        secret("systems.*.s3.secret_access_key", "hunter2-key"),
    )
}

fn as_text(_: &str, secret: &str) -> String {
    format!("{secret:?}")
}

#[test]
fn invariant_12_no_secret_is_shown_and_every_origin_is() {
    let settings = read(&[&with_secrets(&as_text)], &[("SEXTON__STORE__LANES", "3")]).expect("fine");
    let shown = settings.shown();
    assert!(!shown.contains(MARKER), "{shown}");
    assert!(!format!("{settings:?} {settings:#?}").contains(MARKER));
    let hidden: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split_once(" = \"(secret)\"  # ").map(|(key, _)| key))
        .collect();
    let given = [
        "broker.url",
        "store.url",
        "systems.cloud.auth.bearer",
        "systems.cloud.auth.headers.x-project",
        "systems.cloud.auth.value",
        "systems.shop.url",
        "systems.vault.s3.access_key_id",
        "systems.vault.s3.secret_access_key",
    ];
    assert_eq!(hidden, given, "every secret is known to be one, and nothing else");
    assert_eq!(given.len(), SECRETS.len());
    for line in [
        "store.lanes = 3  # SEXTON__STORE__LANES",
        "store.pool_max = 8  # default",
        "store.lease = \"30s\"  # default",
        "gateway.dialects = [\"native\",\"factory\",\"powerdrill\",\"pave\",\"agno\"]  # default",
    ] {
        assert!(shown.lines().any(|one| one == line), "{line} in {shown}");
    }
    assert!(
        shown.contains("systems.cloud.auth.header = \"X-Key\"  # /"),
        "{shown}"
    );
    // What is shown can be read again, but for the secrets.
    shown.parse::<toml::Table>().expect("TOML");
}

#[test]
fn every_secret_may_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let by_file = |key: &str, secret: &str| {
        let file = folder.path().join(key.replace('*', "any"));
        // As editors and `echo` leave it, also from elsewhere.
        let end = if key.ends_with("url") { "\r\n" } else { "\n" };
        std::fs::write(&file, format!("{secret}{end}")).expect("a file");
        format!("{{ file = {file:?} }}")
    };
    let settings = read(&[&with_secrets(&by_file)], &[]).expect("fine");
    assert_eq!(
        settings.store.url.expose_secret(),
        "postgres://u:hunter2@127.0.0.1:1/x"
    );
    assert_eq!(
        settings.broker.url.expose_secret(),
        "amqp://u:hunter2@127.0.0.1:1/x"
    );
    let SystemSettings::Http(cloud) = &settings.systems[&SystemName("cloud".into())] else {
        panic!("http")
    };
    let said = |secret: &Option<secrecy::SecretString>| secret.as_ref().map(|s| s.expose_secret().to_owned());
    assert_eq!(said(&cloud.auth.bearer).as_deref(), Some("hunter2-bearer"));
    assert_eq!(cloud.auth.headers["x-project"].expose_secret(), "hunter2-header");
    let SystemSettings::Archive(vault) = &settings.systems[&SystemName("vault".into())] else {
        panic!("archive")
    };
    let s3 = vault.s3.as_ref().expect("a bucket");
    assert_eq!(said(&s3.secret_access_key).as_deref(), Some("hunter2-key"));
    let shown = settings.shown();
    assert!(!shown.contains(MARKER), "{shown}");
    let origin = format!("# {}, named in /", folder.path().join("store.url").display());
    assert!(shown.contains(&origin), "{shown}");
}

#[test]
fn a_file_is_named_in_the_environment_too_and_wins_over_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    std::fs::write(&file, "postgres://later@h/d\n").expect("a file");
    let said = ("SEXTON__STORE__URL__FILE", file.to_str().expect("text"));
    let settings = read(&["[store]\nurl = \"postgres://earlier@h/d\""], &[said]).expect("fine");
    assert_eq!(settings.store.url.expose_secret(), "postgres://later@h/d");
    // And text that is said later wins over a file.
    let text = ("SEXTON__STORE__URL", "postgres://text@h/d");
    let settings = read(&[&format!("[store]\nurl = {{ file = {file:?} }}")], &[text]).expect("fine");
    assert_eq!(settings.store.url.expose_secret(), "postgres://text@h/d");
    // A relative name starts at the folder of the settings that say it.
    let settings_file = folder.path().join("s.toml");
    std::fs::write(&settings_file, "[store]\nurl = { file = \"url\" }").expect("a file");
    let settings = Settings::read(&[&settings_file], &BTreeMap::new()).expect("fine");
    assert_eq!(settings.store.url.expose_secret(), "postgres://later@h/d");
}

#[test]
fn what_is_wrong_with_a_file_is_one_sentence_without_the_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).expect("a file");
        file
    };
    for (file, found) in [
        (folder.path().join("none"), "no file that can be read: "),
        (folder.path().to_owned(), "no file that can be read: "),
        (written("empty", b"\n"), "an empty file"),
        (written("lines", b"hunter2\nhunter2\n"), "more than one line"),
        (written("bytes", b"hunter2\xff"), "bytes that are not UTF-8"),
        (written("large", &vec![b'h'; 70_000]), "70000 bytes"),
    ] {
        let sentence = tests::wrong(&[&format!("[broker]\nurl = {{ file = {file:?} }}")], &[]);
        let wanted = format!("broker.url: found {found}");
        assert!(sentence.starts_with(&wanted), "{sentence}; wanted {wanted}");
        assert!(
            sentence.contains("; wanted a file that holds the secret and nothing else (in /"),
            "{sentence}"
        );
        assert!(!sentence.contains(MARKER), "{sentence}");
    }
    for text in [
        "{ fil = \"hunter2\" }",
        "{ file = [\"hunter2\"] }",
        "{ file = \"x\", more = \"hunter2\" }",
    ] {
        let sentence = tests::wrong(&[&format!("[broker]\nurl = {text}")], &[]);
        assert!(
            sentence.starts_with("broker.url: found a section; wanted text, or { file = \"…\" } (in "),
            "{sentence}"
        );
        assert!(!sentence.contains(MARKER), "{sentence}");
    }
}

#[test]
fn invariant_12_a_wrong_secret_is_named_and_not_repeated() {
    for (key, wrong) in [
        ("store.url", "hunter2"),
        ("store.url", "postgres://u:hunter2@h/d?sslmode=hunter2"),
        ("broker.url", "hunter2"),
        ("systems.*.url", "hunter2"),
        ("systems.*.url", "mysql://u:hunter2@h/d"),
    ] {
        let instead = |at: &str, secret: &str| {
            let text = if at == key { wrong } else { secret };
            format!("{text:?}")
        };
        let sentence = tests::wrong(&[&with_secrets(&instead)], &[]);
        assert!(sentence.contains("url"), "{key}: {sentence}");
        assert!(!sentence.contains(MARKER), "{sentence}");
    }
    for key in SECRETS {
        for wrong in ["[\"hunter2\"]", "[[\"hunter2\"]]", "{ hunter2 = \"hunter2\" }"] {
            let instead = |at: &str, secret: &str| {
                if at == key {
                    wrong.to_owned()
                } else {
                    format!("{secret:?}")
                }
            };
            let sentence = tests::wrong(&[&with_secrets(&instead)], &[]);
            assert!(!sentence.contains(MARKER), "{key}: {sentence}");
        }
    }
    let with_key = "[systems.vault]\nkind = \"archive\"\n[systems.vault.s3]\nbucket = \"b\"\n\
                    endpoint = \"https://u:hunter2@h\"";
    let sentence = tests::wrong(&[with_key], &[tests::STORE]);
    assert!(
        sentence.contains("systems.vault.s3.endpoint: found credentials in it"),
        "{sentence}"
    );
    assert!(!sentence.contains(MARKER), "{sentence}");
}
