//! The registry of systems: from the names that plans use to the connectors behind them.
//!
//! Nothing is opened when it is built, so a system that is down keeps nobody from starting; its calls say "again".

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::archive::{ArchiveConnector, ArchiveStore};
use super::http::{HttpConnector, Profile};
use super::idle::IdleConnector;
use super::postgres::{Database, JsonRow, PostgresConnector, read_rows};
use super::rehearsed::Rehearsed;
use super::{Bounds, Connector, SystemSettings, WrongSystem, misplaced};
use crate::clock::Boottime;
use crate::deletion::Verdict;
use crate::plan::{Call, Lookup, Plan, Read, SystemKind, SystemName, Values};

/// One row is what reads are for; a second is fetched only to see that there is one.
const ROWS_TOLD_APART: u32 = 2;

pub struct Systems {
    systems: BTreeMap<SystemName, System>,
    bounds: Vec<Bounds>,
    idle: IdleConnector,
}

enum System {
    Postgres {
        database: Arc<Database>,
        statements: Rehearsed<PostgresConnector>,
        archives: Rehearsed<ArchiveConnector>,
    },
    Http(Rehearsed<HttpConnector>),
    Archive(Arc<ArchiveStore>),
}

/// A read before an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadOutcome {
    Row(Values),
    NoRow,
    /// This column is null: what the step needs is not known yet.
    NullIn(String),
    Trouble(Verdict),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Looked {
    Found(Values),
    NotFound,
    Trouble(Verdict),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verified {
    Holds,
    DoesNotHold,
    Trouble(Verdict),
}

impl Systems {
    /// Checks the settings and reads the service profiles; relative paths in them start at `folder`.
    pub fn build(
        settings: &BTreeMap<SystemName, SystemSettings>,
        folder: &Path,
    ) -> Result<Self, WrongSystem> {
        let mut stores = BTreeMap::new();
        for (name, settings) in settings {
            settings.check(name)?;
            if let SystemSettings::Archive(settings) = settings {
                stores.insert(name.clone(), Arc::new(ArchiveStore::new(name, settings, folder)?));
            }
        }
        let stores = Arc::new(stores);
        let mut systems = BTreeMap::new();
        for (name, settings) in settings {
            let system = match settings {
                SystemSettings::Postgres(settings) => {
                    let database = Arc::new(Database::new(name, settings)?);
                    System::Postgres {
                        statements: Rehearsed::new(PostgresConnector::new(database.clone())),
                        archives: Rehearsed::new(ArchiveConnector::new(database.clone(), stores.clone())),
                        database,
                    }
                }
                SystemSettings::Http(settings) => {
                    let profile = HttpConnector::read_profile(name, settings, folder)?;
                    System::Http(Rehearsed::new(HttpConnector::new(name, settings, profile)?))
                }
                SystemSettings::Archive(_) => match stores.get(name) {
                    Some(store) => System::Archive(store.clone()),
                    None => continue,
                },
            };
            systems.insert(name.clone(), system);
        }
        Ok(Systems {
            systems,
            bounds: settings
                .iter()
                .map(|(name, settings)| Bounds::of(name, settings))
                .collect(),
            idle: IdleConnector,
        })
    }

    /// Who carries out this call at this system. The error is what the attempt has to say instead.
    pub fn connector(&self, on: &SystemName, call: &Call) -> Result<&dyn Connector, Verdict> {
        if let Call::Nothing = call {
            return Ok(&self.idle);
        }
        match (self.system(on)?, call) {
            (System::Postgres { statements, .. }, Call::Sql { .. } | Call::Chunks { .. }) => Ok(statements),
            (System::Postgres { archives, .. }, Call::Archive { .. }) => Ok(archives),
            (System::Http(http), Call::Http { .. }) => Ok(http),
            (system, call) => Err(misplaced(system.word(), call)),
        }
    }

    /// What every system is, for checking plans.
    pub fn kinds(&self) -> BTreeMap<SystemName, SystemKind> {
        self.systems
            .iter()
            .map(|(name, system)| (name.clone(), system.kind()))
            .collect()
    }

    /// How much each system bears, for the engine's limits.
    pub fn bounds(&self) -> Vec<Bounds> {
        self.bounds.clone()
    }

    /// Whether these settings have all that the plan needs; the error says what is missing.
    pub fn can_run(&self, plan: &Plan) -> Result<(), String> {
        let kinds = self.kinds();
        if let Some(missing) = plan.systems().into_iter().find(|name| !kinds.contains_key(name)) {
            return Err(format!("the settings have no system named {:?}", missing.0));
        }
        for chosen in plan.all_choices() {
            for step in chosen.all_steps() {
                for call in std::iter::once(&step.call).chain(&step.undo) {
                    self.connector(&step.on, call)
                        .map_err(|verdict| verdict.why().unwrap_or_default().to_owned())?;
                }
            }
            self.check_calls(&chosen)?;
        }
        Ok(())
    }

    pub(super) fn http(&self, name: &SystemName) -> Option<&HttpConnector> {
        match self.systems.get(name)? {
            System::Http(http) => Some(http.inner()),
            _ => None,
        }
    }

    /// The service profile of an http system.
    pub fn profile(&self, of: &SystemName) -> Option<&Profile> {
        self.http(of).map(HttpConnector::profile)
    }

    /// Whether each system can be reached; the error is fit for a person.
    pub async fn check(&self) -> BTreeMap<SystemName, Result<(), String>> {
        let asked = self.systems.iter().map(|(name, system)| async move {
            let ready = match system {
                System::Postgres { statements, .. } => statements.check().await,
                System::Http(http) => http.check().await,
                System::Archive(store) => store.check().await,
            };
            (name.clone(), ready)
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    pub async fn look(&self, lookup: &Lookup, values: &Values) -> Looked {
        let read = Read {
            on: lookup.on.clone(),
            sql: lookup.sql.clone(),
        };
        match self.one_row(&read, values, lookup.timeout).await {
            Ok(Some(row)) => Looked::Found(row.into_iter().collect()),
            Ok(None) => Looked::NotFound,
            Err(verdict) => Looked::Trouble(verdict),
        }
    }

    pub async fn read(&self, read: &Read, values: &Values, timeout: Duration) -> ReadOutcome {
        match self.one_row(read, values, timeout).await {
            Ok(Some(row)) => match row.iter().find(|(_, value)| value.is_null()) {
                Some((column, _)) => ReadOutcome::NullIn(column.clone()),
                None => ReadOutcome::Row(row.into_iter().collect()),
            },
            Ok(None) => ReadOutcome::NoRow,
            Err(verdict) => ReadOutcome::Trouble(verdict),
        }
    }

    /// One row with one boolean; no row and null do not hold.
    pub async fn verify(&self, read: &Read, values: &Values, timeout: Duration) -> Verified {
        match self.one_row(read, values, timeout).await {
            Ok(None) => Verified::DoesNotHold,
            Ok(Some(row)) => match row.as_slice() {
                [(_, Value::Bool(true))] => Verified::Holds,
                [(_, Value::Bool(false) | Value::Null)] => Verified::DoesNotHold,
                _ => Verified::Trouble(Verdict::failed("the step's `verify` has to answer one boolean")),
            },
            Err(verdict) => Verified::Trouble(verdict),
        }
    }

    async fn one_row(
        &self,
        read: &Read,
        values: &Values,
        timeout: Duration,
    ) -> Result<Option<JsonRow>, Verdict> {
        let System::Postgres { database, .. } = self.system(&read.on)? else {
            return Err(Verdict::blocked(
                format!(
                    "`{}` is not a postgres system, and only those can be read",
                    read.on.0
                ),
                "correct the system's kind in the settings, then retry",
            ));
        };
        let deadline = Boottime::now().plus(timeout);
        // In a box of its own: it is kilobytes of a protocol's state, and every step of every deletion has room for it.
        let mut rows = Box::pin(read_rows(database, &read.sql, values, ROWS_TOLD_APART, deadline)).await?;
        match rows.len() {
            0 => Ok(None),
            1 => Ok(rows.pop()),
            // Which of them was meant? Guessing would delete somebody else's.
            _ => Err(Verdict::failed(
                "the query answers more than one row; one target is one row",
            )),
        }
    }

    fn system(&self, name: &SystemName) -> Result<&System, Verdict> {
        self.systems.get(name).ok_or_else(|| {
            Verdict::blocked(
                format!("this worker's settings have no system `{}`", name.0),
                format!("add [systems.{}] to the settings", name.0),
            )
        })
    }
}

impl System {
    fn kind(&self) -> SystemKind {
        match self {
            System::Postgres { .. } => SystemKind::Postgres,
            System::Http(_) => SystemKind::Http,
            System::Archive(_) => SystemKind::Archive,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            System::Postgres { .. } => "postgres",
            System::Http(_) => "http",
            System::Archive(_) => "archive",
        }
    }
}
