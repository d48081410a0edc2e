//! The plans in force: the files of one folder, held against the systems before anything is opened.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::AppError;
use crate::connectors::Systems;
use crate::plan::{Plan, parse_plan_for};

/// `[plans]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlansSettings {
    /// The folder whose `*.toml` are the plans in force for new requests; relative to the settings file.
    pub folder: PathBuf,
}

impl Default for PlansSettings {
    fn default() -> Self {
        PlansSettings {
            folder: PathBuf::from("plans"),
        }
    }
}

impl PlansSettings {
    pub fn check(&self) -> Result<(), String> {
        if self.folder.is_dir() {
            return Ok(());
        }
        Err(format!(
            "plans.folder: found {:?}, which is no folder; wanted the folder of the plans",
            self.folder
        ))
    }
}

/// All plans of the folder, in the order of their names.
pub fn plans(folder: &Path, systems: Option<&Systems>) -> Result<Vec<Plan>, AppError> {
    let unreadable = |source| AppError::PlanFolder {
        folder: folder.to_owned(),
        source,
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut plans: Vec<(Plan, String)> = Vec::new();
    for file in files {
        let plan = plan(&file, systems)?;

        let name = file.display().to_string();
        if let Some((_, first)) = plans.iter().find(|(other, _)| other.target == plan.target) {
            let target = plan.target.as_str().to_owned();
            return Err(AppError::TwoPlans {
                target,
                first: first.clone(),
                second: name,
            });
        }
        plans.push((plan, name));
    }
    Ok(plans.into_iter().map(|(plan, _)| plan).collect())
}

/// One plan file, held against the systems if they are known: what it calls at a service must be there, with all that
/// the call asks for, before the first deletion finds out.
pub fn plan(file: &Path, systems: Option<&Systems>) -> Result<Plan, AppError> {
    let text = std::fs::read_to_string(file).map_err(|source| AppError::PlanFolder {
        folder: file.to_owned(),
        source,
    })?;
    let name = file.display().to_string();
    let wrong = |source| AppError::Plans { source };
    let Some(systems) = systems else {
        return crate::plan::parse_plan(&text, &name).map_err(wrong);
    };
    let plan = parse_plan_for(&text, &name, &systems.kinds()).map_err(wrong)?;
    let called = plan
        .all_choices()
        .iter()
        .try_for_each(|chosen| systems.check_calls(chosen));
    match called {
        Ok(()) => Ok(plan),
        Err(why) => Err(AppError::Calls {
            file: file.to_owned(),
            why,
        }),
    }
}
