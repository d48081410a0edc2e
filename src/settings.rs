//! The settings: files, environment, and one sentence if they are wrong.
//!
//! Each part owns its section, in its own folder; a section is one line here. All of what a command needs is checked
//! before anything is opened, so that a typing error costs a second and not a half-started process.

mod files;
mod origins;
mod shown;
mod sources;
mod wording;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::origins::Origins;
use crate::connectors::SystemSettings;
use crate::plan::SystemName;
use crate::{app, broker, engine, gateway, intake, retention, store, telemetry};

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
        #[derive(Debug, Default, Deserialize, Serialize)]
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
    plans: app::PlansSettings, Plans, app::PlansSettings::check;
    /// How requests are taken in.
    intake: intake::Settings, Intake, intake::Settings::check;
    /// How much at once, and how patient.
    engine: engine::Settings, Engine, engine::Settings::check;
    /// Where HTTP is served, and within which bounds.
    gateway: gateway::Settings, Gateway, gateway::Settings::check;
    /// Whose credentials are believed, and how often they may come.
    access: gateway::access::Settings, Access, gateway::access::Settings::check;
    /// When windows are ended and watches looked at.
    retention: retention::Settings, Retention, retention::Settings::check;
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
            let mut config = sources::merge(files, environment, typed)?;
            files::fill_in(&mut config.cache, files)?;
            let origins = Origins::of(&config.cache);
            match config.try_deserialize::<Settings>() {
                Ok(settings) => {
                    let mut settings = Settings { origins, ..settings };
                    settings.anchor_paths(files);
                    return Ok(settings);
                }
                Err(error) => {
                    first_error.get_or_insert_with(|| wording::sentence(&error, &origins));
                }
            }
        }
        Err(SettingsError(wording::one_line(&first_error.unwrap_or_default())))
    }

    /// A relative path in a file starts at that file's folder, so that a file means the same from wherever it is
    /// read. One from the environment, or a default, starts at the working folder.
    fn anchor_paths(&mut self, files: &[&Path]) {
        let mut paths = vec![("plans.folder".to_owned(), &mut self.plans.folder)];
        for (key, path) in [
            ("access.jwt_keys", &mut self.access.jwt_keys),
            ("broker.ca_file", &mut self.broker.ca_file),
            ("gateway.tls_certificate", &mut self.gateway.tls_certificate),
            ("gateway.tls_key", &mut self.gateway.tls_key),
        ] {
            paths.extend(path.as_mut().map(|path| (key.to_owned(), path)));
        }
        for (name, system) in &mut self.systems {
            paths.extend(
                system
                    .paths_mut()
                    .map(|(key, path)| (format!("systems.{}.{key}", name.0), path)),
            );
        }
        for (key, path) in paths {
            let said_in = self.origins.find(&key);
            let file = files
                .iter()
                .find(|file| said_in == Some(&file.display().to_string()));
            if let Some(folder) = file.and_then(|file| file.parent()) {
                *path = folder.join(&path);
            }
        }
    }

    pub fn check(&self, parts: &[Part]) -> Result<(), SettingsError> {
        for part in parts {
            self.check_part(*part)
                .map_err(|sentence| SettingsError(wording::one_line(&self.origins.add_to(sentence))))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod secret_tests;
#[cfg(test)]
mod tests;
