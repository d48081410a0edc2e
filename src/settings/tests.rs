//! Every sentence that wrong settings end with.

use std::io::Write;
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::NamedTempFile;

use super::*;

fn file(text: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .expect("a file");
    file.write_all(text.as_bytes()).expect("a file");
    file
}

pub(super) fn read(files: &[&str], environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let files: Vec<NamedTempFile> = files.iter().map(|text| file(text)).collect();
    let paths: Vec<&Path> = files.iter().map(NamedTempFile::path).collect();
    let environment: BTreeMap<String, String> = environment
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let settings = Settings::read(&paths, &environment)?;
    // Whether the folder of plans is there is another matter.
    let parts: Vec<Part> = Part::ALL
        .iter()
        .copied()
        .filter(|part| *part != Part::Plans)
        .collect();
    settings.check(&parts)?;
    Ok(settings)
}

pub(super) fn wrong(files: &[&str], environment: &[(&str, &str)]) -> String {
    let sentence = read(files, environment).expect_err("these are wrong").to_string();
    assert!(!sentence.contains('\n'), "one sentence: {sentence}");
    sentence
}

pub(super) const STORE: (&str, &str) = ("DATABASE_URL", "postgres://sexton:hunter2@127.0.0.1/sexton");

#[test]
fn later_sources_win_and_the_well_known_urls_fill_in() {
    let amqp = ("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/other");
    let settings = read(
        &["[store]\nlanes = 3\npool_max = 9", "[store]\nlanes = 4"],
        &[STORE, amqp],
    )
    .expect("fine");
    assert_eq!((settings.store.lanes, settings.store.pool_max), (4, 9));
    assert_eq!(settings.store.url.expose_secret(), STORE.1);
    assert_eq!(settings.broker.url.expose_secret(), amqp.1);

    let own = "[store]\nurl = \"postgres://own\"\nlanes = 3";
    let environment = [
        STORE,
        ("SEXTON__STORE__LANES", "5"),
        ("SEXTON__STORE__LEASE", "90s"),
    ];
    let settings = read(&[own], &environment).expect("fine");
    assert_eq!(
        settings.store.url.expose_secret(),
        "postgres://own",
        "a file wins over DATABASE_URL"
    );
    assert_eq!(
        (settings.store.lanes, settings.store.lease),
        (5, Duration::from_secs(90))
    );
    let settings = read(
        &[own],
        &[
            ("SEXTON__STORE__URL", "postgres://4711"),
            ("SEXTON__BROKER__NAME", "007"),
        ],
    );
    let settings = settings.expect("text stays text");
    assert_eq!(settings.broker.name, "007");
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let sentence = wrong(&["[broker]\nprefech = 7"], &[STORE]);
    assert!(
        sentence.starts_with("broker.prefech: found an unknown key; wanted one of url, ca_file, name,"),
        "{sentence}"
    );
    assert!(sentence.ends_with(".toml)"), "{sentence}");
    let sentence = wrong(&["[brokr]\nprefetch = 7"], &[STORE]);
    assert!(
        sentence.starts_with("brokr: found an unknown key; wanted one of store, broker, "),
        "{sentence}"
    );
    let sentence = wrong(&[], &[STORE, ("SEXTON__BROKER__PREFECH", "7")]);
    assert!(
        sentence.starts_with("broker.prefech: found an unknown key"),
        "{sentence}"
    );
    assert!(sentence.ends_with("(in SEXTON__BROKER__PREFECH)"), "{sentence}");
}

#[test]
fn a_value_of_another_type_is_named_with_what_is_wanted() {
    let sentence = wrong(&["[broker]\nprefetch = \"many\""], &[STORE]);
    assert!(
        sentence.starts_with("broker.prefetch: found string \"many\"; wanted an "),
        "{sentence}"
    );
    assert!(sentence.contains(".toml)"), "{sentence}");
    let sentence = wrong(&[], &[STORE, ("SEXTON__BROKER__PREFETCH", "-1")]);
    assert!(sentence.starts_with("broker.prefetch: found "), "{sentence}");
    assert!(sentence.ends_with("(in SEXTON__BROKER__PREFETCH)"), "{sentence}");
    let sentence = wrong(&["[store]\nlease = \"soon\""], &[STORE]);
    assert!(sentence.starts_with("store.lease: found "), "{sentence}");
    let sentence = wrong(&["[telemetry]\nformat = \"xml\""], &[STORE]);
    assert!(
        sentence.starts_with("telemetry.format: found another word; wanted auto, human or json"),
        "{sentence}"
    );
    let sentence = wrong(&["store = 5"], &[]);
    assert!(
        sentence.starts_with("store: found integer; wanted a section with keys of its own"),
        "{sentence}"
    );
}

#[test]
fn invariant_12_a_secret_in_the_wrong_place_is_not_repeated() {
    let http = "kind = \"http\"\nurl = \"http://h\"\nprofile = \"p\"";
    for text in [
        "broker = \"amqp://u:hunter2@h\"".to_owned(),
        "[broker]\nurl = [\"hunter2\"]".to_owned(),
        "[broker]\nurl = { password = \"hunter2\" }".to_owned(),
        format!("[systems.cloud]\nauth = \"hunter2\"\n{http}"),
        format!("[systems.cloud]\nauth = {{ bearer = [\"hunter2\"] }}\n{http}"),
        "[systems]\ncloud = \"hunter2\"".to_owned(),
        "[broker]\nurl = \"amqp://u:hunter2@h".to_owned(),
    ] {
        let sentence = wrong(&[&text], &[STORE]);
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
    for name in [
        "SEXTON__BROKER",
        "SEXTON__BROKER__URL__X",
        "SEXTON__SYSTEMS__CLOUD",
        "SEXTON__STORE__URL ",
    ] {
        let sentence = wrong(&[], &[STORE, (name, "hunter2")]);
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}

#[test]
fn a_value_out_of_bounds_is_named_with_its_place() {
    let sentence = wrong(&["[store]\nlanes = 0"], &[STORE]);
    assert!(
        sentence.starts_with("store.lanes: found 0; wanted 1 to 64 (in "),
        "{sentence}"
    );
    let sentence = wrong(&[], &[STORE, ("SEXTON__STORE__LANES", "99")]);
    assert_eq!(
        sentence,
        "store.lanes: found 99; wanted 1 to 64 (in SEXTON__STORE__LANES)"
    );
    let sentence = wrong(&[], &[STORE, ("AMQP_URL", "http://guest:hunter2@h")]);
    assert!(
        sentence.starts_with("broker.url: ") && sentence.ends_with("(in AMQP_URL)"),
        "{sentence}"
    );
    assert!(!sentence.contains("hunter2"), "{sentence}");
}

#[test]
fn a_system_can_be_completed_and_corrected_from_the_environment() {
    let shop = "[systems.shop]\nkind = \"postgres\"\n";
    let url = (
        "SEXTON__SYSTEMS__SHOP__URL",
        "postgres://shop:hunter2@127.0.0.1/shop",
    );
    let settings = read(&[shop], &[STORE, url, ("SEXTON__SYSTEMS__SHOP__LIMIT", "3")]).expect("fine");
    let system = &settings.systems[&SystemName("shop".into())];
    assert_eq!(system.limit(), 3);
    let sentence = wrong(&[shop], &[STORE, url, ("SEXTON__SYSTEMS__SHOP__LIMIT", "0")]);
    assert_eq!(
        sentence,
        "systems.shop.limit: found 0; wanted 1 to 1000 (in SEXTON__SYSTEMS__SHOP__LIMIT)"
    );
    let sentence = wrong(&[shop], &[STORE]);
    assert!(
        sentence.starts_with("systems.shop.url: found nothing; wanted this key"),
        "{sentence}"
    );
    let sentence = wrong(&[shop, "[systems.shop]\nlimits = 3"], &[STORE, url]);
    assert!(
        sentence.starts_with("systems.shop.limits: found an unknown key; wanted one of url, "),
        "{sentence}"
    );
    let sentence = wrong(&["[systems.shop]\nkind = \"mongo\""], &[STORE]);
    assert!(sentence.starts_with("systems.shop.kind: found "), "{sentence}");
    let sentence = wrong(&["[systems.shop]\nlimit = 3"], &[STORE]);
    assert!(
        sentence.starts_with("systems.shop.kind: found nothing; wanted"),
        "{sentence}"
    );
    let sentence = wrong(&["[systems]\nshop = 3"], &[STORE]);
    assert!(sentence.starts_with("systems.shop: found "), "{sentence}");
}

#[test]
fn a_relative_path_starts_at_the_folder_of_the_file_that_says_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("s.toml");
    let text = "[plans]\nfolder = \"plans\"\n\
                [systems.cloud]\nkind = \"http\"\nurl = \"http://h\"\nprofile = \"p/cloud.toml\"\n\
                [systems.kept]\nkind = \"archive\"\nfolder = \"/var/kept\"";
    std::fs::write(&file, text).expect("a file");
    let paths = |settings: &mut Settings| {
        let mut all = vec![settings.plans.folder.clone()];
        for system in settings.systems.values_mut() {
            all.extend(system.paths_mut().map(|(_, path)| path.clone()));
        }
        all
    };
    let mut from_file = Settings::read(&[&file], &BTreeMap::new()).expect("fine");
    let here = folder.path();
    assert_eq!(
        paths(&mut from_file),
        [here.join("plans"), here.join("p/cloud.toml"), "/var/kept".into()]
    );
    let environment = BTreeMap::from([("SEXTON__PLANS__FOLDER".to_owned(), "plans".to_owned())]);
    let mut said_later = Settings::read(&[&file], &environment).expect("fine");
    assert_eq!(
        paths(&mut said_later)[0],
        Path::new("plans"),
        "from the environment it starts at the working folder"
    );
}

#[test]
fn a_missing_url_is_asked_for_only_by_what_needs_it() {
    assert!(wrong(&[], &[]).starts_with("store.url: found nothing; wanted postgres://"));
    let settings = Settings::read(&[], &BTreeMap::new()).expect("nothing is wrong yet");
    assert_eq!(settings.check(&[Part::Broker, Part::Telemetry]), Ok(()));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_line() {
    let sentence = wrong(&["[broker]\nname = \"a\"\nurl = amqp://u:hunter2@h"], &[]);
    assert!(
        sentence.contains(".toml, line 3: found text that is not TOML"),
        "{sentence}"
    );
    assert!(!sentence.contains("hunter2"), "{sentence}");
    let missing = Settings::read(&[Path::new("no/such.toml")], &BTreeMap::new()).expect_err("no file");
    assert!(
        missing
            .to_string()
            .starts_with("no/such.toml: cannot read this file"),
        "{missing}"
    );
}
