//! `sexton plan`: is it right, what does it do, and moving parked deletions to it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{By, CliError, EXIT_DATA, print};
use crate::app::{self, AppError};
use crate::connectors::Systems;
use crate::deletion::{Count, DeletionId, TargetType};
use crate::operator::{Adopted, Operator, OperatorError};
use crate::plan::{Plan, canonical, show as in_words};
use crate::settings::{Part, Settings};
use crate::store::{Filter, PAGE_MAX_ROWS, Which};

#[derive(Subcommand)]
pub(super) enum PlanCommand {
    /// Say whether plan files are right, against the systems of the settings if there are any
    ///
    /// With --json: {"plans": [{file, ok, target, version, steps, errors: [{line, error}]}]}.
    Check(CheckArgs),
    /// Show a plan as a person's list
    ///
    /// With --json: {"target", "version", "plan"}, the plan in the form that is stored.
    Show(ShowArgs),
    /// Move parked deletions to this version of their plan; those it does not fit stay as they are
    ///
    /// With --json: {"version", "deletions": [{id, adopted, why}]}. Ends with 65 if one stays as it is.
    Adopt(AdoptArgs),
}

#[derive(Args)]
pub(super) struct CheckArgs {
    /// Plan files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// A plan file, or the type whose plan stands in the folder of plans
    #[arg(value_name = "FILE or TYPE")]
    plan: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct AdoptArgs {
    /// The plan to follow: a file, or the type whose plan stands in the folder of plans
    #[arg(value_name = "FILE or TYPE")]
    plan: String,
    /// The parked deletions to move
    #[arg(
        value_name = "DELETION",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    ids: Vec<Uuid>,
    /// All parked deletions of the plan's type
    #[arg(long)]
    all: bool,
    /// Of all, only those that follow this version (its first letters are enough)
    #[arg(long, value_name = "VERSION", requires = "all")]
    from: Option<String>,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn carry_out(settings: &Settings, what: PlanCommand) -> Result<ExitCode, CliError> {
    match what {
        PlanCommand::Check(args) => check(settings, &args),
        PlanCommand::Show(args) => show(settings, &args),
        PlanCommand::Adopt(args) => adopt(settings, args).await,
    }
}

/// Without any system in the settings a plan is held against none.
fn systems(settings: &Settings) -> Result<Option<Systems>, CliError> {
    if settings.systems.is_empty() {
        return Ok(None);
    }
    settings.check(&[Part::Systems])?;
    Ok(Some(app::systems(settings)?))
}

fn check(settings: &Settings, args: &CheckArgs) -> Result<ExitCode, CliError> {
    let systems = systems(settings)?;
    let mut answers = Vec::new();
    let mut wrong = false;
    for file in &args.files {
        let name = file.display().to_string();
        match app::plan(file, systems.as_ref()) {
            Ok(plan) => {
                let (_, version) = canonical(&plan);
                let steps = plan.steps.len();
                if !args.json {
                    let steps = Count(steps as u64, "step");
                    print::line(&format!(
                        "{name}: right; {} in {steps}, version {}",
                        plan.target,
                        version.short()
                    ));
                }
                answers.push(json!({
                    "file": name, "ok": true, "target": plan.target, "version": version, "steps": steps, "errors": []
                }));
            }
            Err(AppError::Plans { source }) => {
                wrong = true;
                if !args.json {
                    print::trouble(&source.to_string());
                }
                let errors: Vec<Value> = source
                    .0
                    .iter()
                    .map(|error| json!({"line": error.line, "error": error.to_string()}))
                    .collect();
                answers.push(json!({"file": name, "ok": false, "errors": errors}));
            }
            Err(error @ AppError::Calls { .. }) => {
                wrong = true;
                if !args.json {
                    print::trouble(&error.to_string());
                }
                answers.push(json!({"file": name, "ok": false, "errors": [{"error": error.to_string()}]}));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if args.json {
        print::json(&json!({"plans": answers}));
    } else if systems.is_none() {
        print::line("the settings have no systems, so the names of systems were not checked");
    }
    Ok(if wrong {
        ExitCode::from(EXIT_DATA)
    } else {
        ExitCode::SUCCESS
    })
}

/// A file, or the plan of a type.
fn named(settings: &Settings, name: &str, systems: Option<&Systems>) -> Result<Plan, CliError> {
    if Path::new(name).is_file() {
        return Ok(app::plan(Path::new(name), systems)?);
    }
    if TargetType::parse(name).is_err() {
        return Err(CliError::Data(format!(
            "{name}: found neither a file nor a type of targets"
        )));
    }
    settings.check(&[Part::Plans])?;
    let folder = &settings.plans.folder;
    let plans = app::plans(folder, systems)?;
    let found = plans.into_iter().find(|plan| plan.target.as_str() == name);
    found.ok_or_else(|| CliError::Data(format!("{name}: found no plan for it in {}", folder.display())))
}

fn show(settings: &Settings, args: &ShowArgs) -> Result<ExitCode, CliError> {
    let plan = named(settings, &args.plan, systems(settings)?.as_ref())?;
    let (text, version) = canonical(&plan);
    if args.json {
        let stored: Value = serde_json::from_str(&text).unwrap_or_default();
        print::json(&json!({"target": plan.target, "version": version, "plan": stored}));
    } else {
        print::out(&in_words(&plan, &version));
    }
    Ok(ExitCode::SUCCESS)
}

async fn adopt(settings: &Settings, args: AdoptArgs) -> Result<ExitCode, CliError> {
    settings.check(&[Part::Store, Part::Systems])?;
    // What no settings can run must not become what a deletion waits for.
    let plan = named(settings, &args.plan, Some(&app::systems(settings)?))?;
    let operator = Operator::new(app::store(settings).await?, args.by.name());
    let ids = if args.all {
        parked_of(&operator, &plan.target, args.from.as_deref()).await?
    } else {
        args.ids.iter().copied().map(DeletionId).collect()
    };
    let (_, version) = canonical(&plan);
    let mut answers: Vec<Adopted> = Vec::new();
    if !ids.is_empty() {
        let to = operator.introduce(&plan).await?;
        let mut adoption = operator.begin_adoption().await?;
        for id in ids {
            let adopted = adoption.adopt(id, &to, args.reason.as_deref()).await?;
            answers.push(Adopted {
                id: id.0,
                adopted: adopted.is_ok(),
                why: adopted.err().map(|why| why.to_string()),
            });
        }
        adoption.close().await?;
    }
    let stayed = answers.iter().any(|answer| !answer.adopted);
    if args.json {
        print::json(&json!({"version": version, "deletions": answers}));
    } else if answers.is_empty() {
        print::line("none is parked");
    } else {
        let rows: Vec<Vec<String>> = answers
            .into_iter()
            .map(|answer| {
                let said = answer.why.map_or_else(
                    || format!("follows version {} and goes on", version.short()),
                    |why| format!("stays as it is: {why}"),
                );
                vec![answer.id.to_string(), said]
            })
            .collect();
        print::table(&["DELETION", ""], &rows);
    }
    Ok(if stayed {
        ExitCode::from(EXIT_DATA)
    } else {
        ExitCode::SUCCESS
    })
}

/// All that are parked now, page by page.
async fn parked_of(
    operator: &Operator,
    target_type: &TargetType,
    from: Option<&str>,
) -> Result<Vec<DeletionId>, OperatorError> {
    let mut filter = Filter {
        which: Which::Parked,
        target_type: Some(target_type.clone()),
        rows: PAGE_MAX_ROWS,
        ..Filter::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = operator.list(&filter).await?;
        let Some(last) = page.last() else { return Ok(ids) };
        filter.before = Some(DeletionId(last.id));
        let fits = page
            .iter()
            .filter(|listed| from.is_none_or(|from| listed.plan.starts_with(from)));
        ids.extend(fits.map(|listed| DeletionId(listed.id)));
    }
}
