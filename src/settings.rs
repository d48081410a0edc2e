//! The settings: files, environment, and one sentence if they are wrong.
//!
//! Each part owns its section, in its own folder; a section is one line here. All of what a command needs is checked
//! before anything is opened, so that a typing error costs a second and not a half-started process.

mod origins;
mod sources;
mod wording;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::origins::Origins;
use crate::connectors::SystemSettings;
use crate::plan::SystemName;
use crate::{broker, engine, store, telemetry};

/// What a process ends with when its settings are wrong (`EX_USAGE` of sysexits.h).
pub const EXIT_CODE: u8 = 64;
/// Read if it is there, before any file that is named.
pub const DEFAULT_FILE: &str = "sexton.toml";

/// Key, what was found, what is wanted, and where; never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $part:ident, $check:expr;)+) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[$doc])* pub $name: $type,)+
            #[serde(skip)]
            origins: Origins,
        }

        /// A section by name: a command checks what it needs, and no more.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Part {
            $($(#[$doc])* $part,)+
        }

        impl Part {
            pub const ALL: &[Part] = &[$(Part::$part,)+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Part::$part => stringify!($name),)+
                }
            }
        }

        impl Settings {
            fn check_part(&self, part: Part) -> Result<(), String> {
                match part {
                    $(Part::$part => $check(&self.$name),)+
                }
            }
        }
    };
}

sections! {
    /// Sexton's own tables.
    store: store::Settings, Store, store::Settings::check;
    /// RabbitMQ.
    broker: broker::BrokerSettings, Broker, broker::BrokerSettings::check;
    /// Which plans are in force.
    plans: crate::app::PlansSettings, Plans, crate::app::PlansSettings::check;
    /// How requests are taken in.
    intake: crate::intake::Settings, Intake, crate::intake::Settings::check;
    /// How much at once, and how patient.
    engine: engine::Settings, Engine, engine::Settings::check;
    /// Where targets live, by name; plans name systems, and only here stand their addresses and secrets.
    systems: Systems, Systems, check_systems;
    /// Log, traces, metrics.
    telemetry: telemetry::Settings, Telemetry, telemetry::Settings::check;
}

type Systems = BTreeMap<SystemName, SystemSettings>;

fn check_systems(systems: &Systems) -> Result<(), String> {
    for (name, system) in systems {
        system.check(name).map_err(|wrong| {
            format!(
                "systems.{}.{}: found {}; wanted {}",
                wrong.system, wrong.key, wrong.found, wrong.wanted
            )
        })?;
    }
    Ok(())
}

impl Settings {
    /// Reads `sexton.toml` of this folder if it is there, then `files`, then `SEXTON__SECTION__KEY`; what comes later
    /// wins. `DATABASE_URL` and `AMQP_URL` fill in what nothing else says. Then checks `parts`.
    pub fn load(files: &[PathBuf], parts: &[Part]) -> Result<Self, SettingsError> {
        let default = Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists());
        let all: Vec<&Path> = default
            .into_iter()
            .chain(files.iter().map(PathBuf::as_path))
            .collect();
        let environment = sources::environment()?;
        let settings = Self::read(&all, &environment)?;
        settings.check(parts)?;
        Ok(settings)
    }

    fn read(files: &[&Path], environment: &sources::Environment) -> Result<Self, SettingsError> {
        let mut first_error = None;
        // Under a section with a choice of kinds, numbers must be numbers; elsewhere a password may be all digits.
        for typed in [true, false] {
            let config = sources::merge(files, environment, typed)?;
            let origins = Origins::of(&config.cache);
            match config.try_deserialize::<Settings>() {
                Ok(settings) => return Ok(Settings { origins, ..settings }),
                Err(error) => {
                    first_error.get_or_insert_with(|| wording::sentence(&error, &origins));
                }
            }
        }
        Err(SettingsError(first_error.unwrap_or_default()))
    }

    pub fn check(&self, parts: &[Part]) -> Result<(), SettingsError> {
        for part in parts {
            self.check_part(*part)
                .map_err(|sentence| SettingsError(self.origins.add_to(sentence)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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

    fn read(files: &[&str], environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let files: Vec<NamedTempFile> = files.iter().map(|text| file(text)).collect();
        let paths: Vec<&Path> = files.iter().map(NamedTempFile::path).collect();
        let environment: BTreeMap<String, String> = environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let settings = Settings::read(&paths, &environment)?;
        settings.check(Part::ALL)?;
        Ok(settings)
    }

    fn wrong(files: &[&str], environment: &[(&str, &str)]) -> String {
        let sentence = read(files, environment).expect_err("these are wrong").to_string();
        assert!(!sentence.contains('\n'), "one sentence: {sentence}");
        println!("{sentence}");
        sentence
    }

    const STORE: (&str, &str) = ("DATABASE_URL", "postgres://sexton:hunter2@127.0.0.1/sexton");

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
            sentence.starts_with("broker.prefech: found an unknown key; wanted one of url, name,"),
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
        assert!(sentence.starts_with("store: found "), "{sentence}");
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

    #[test]
    fn the_sample_names_every_key_and_is_right_as_it_is_and_uncommented() {
        let sample = include_str!("../deploy/sexton.toml");
        read(&[sample], &[STORE]).expect("as it is");
        let shown = |line: &str| line.contains(" = ") || line.starts_with('[');
        let uncommented: String = sample
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| shown(rest)).unwrap_or(line))
            .fold(String::new(), |all, line| all + line + "\n");
        read(&[&uncommented], &[]).expect("uncommented");
        // Systems have sections of their own, by name and kind.
        for part in Part::ALL.iter().filter(|part| **part != Part::Systems) {
            let name = part.name();
            let section = uncommented
                .split("\n[")
                .find_map(|text| text.strip_prefix(&format!("{name}]")));
            let section = section.unwrap_or_else(|| panic!("[{name}] stands in the sample"));
            let sentence = wrong(&[&format!("[{name}]\nno_such_key = 1")], &[STORE]);
            let keys = sentence
                .split("one of ")
                .nth(1)
                .and_then(|rest| rest.split(" (in").next());
            for key in keys.expect("the list of keys").split(", ") {
                assert!(
                    section.contains(&format!("\n{key} = ")),
                    "{name}.{key} stands in the sample"
                );
            }
        }
    }
}
