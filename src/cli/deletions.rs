//! `sexton deletions`: a list, one in full with the reason why it is not done, and a word said to one.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use uuid::Uuid;

use super::account::tell;
use super::say::{SayArgs, Word, say};
use super::{CliError, print};
use crate::app;
use crate::deletion::{DeletionId, Key, Target, TargetId, TargetType, Tenant};
use crate::operator::Operator;
use crate::settings::{Part, Settings};
use crate::store::{Filter, Listed, PAGE_MAX_ROWS, Wanted, Which};

#[derive(Subcommand)]
pub(super) enum Deletions {
    /// List deletions, newest first, a page at a time
    ///
    /// With --json: {"deletions": [{id, state, tenant, type, target, plan, admitted_at, due_at, ended_at, result,
    /// parked}], "next": ID or null}. `state` is in_hand, due, waiting, parked, queued or ended.
    List(ListArgs),
    /// Show one deletion: where it stands, why it is not done, since when, and what comes next
    ///
    /// With --json: {"deletions": [one object for each that is meant, newest first]}, with id, state, tenant, type,
    /// target, plan, admitted_at, why {word, because, since, next, next_at, unblock, also, can_cancel}, steps,
    /// requests, signals and journal.
    Show(ShowArgs),
    /// Let a parked deletion go on with fresh attempts; a waiting one goes on now
    ///
    /// Heard before anything else is begun; audited. One that cannot be told keeps no other from it; the end is then 65.
    Retry(SayArgs),
    /// Have a deletion undone and ended, unless it has passed its point of no return
    ///
    /// What was done is undone in reverse. Heard before anything else is begun; its outcome tells who was first; audited.
    /// One that cannot be told keeps no other from it; the end is then 65.
    Cancel(SayArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Which of them
    #[arg(long, value_enum, default_value = "open")]
    state: WhichArg,
    /// To whom the targets belong
    #[arg(long)]
    tenant: Option<String>,
    /// The targets' type
    #[arg(long = "type", value_name = "TYPE")]
    target_type: Option<String>,
    /// The target's id
    #[arg(long = "id", value_name = "ID")]
    target_id: Option<String>,
    /// The page after the one that ended with this deletion
    #[arg(long, value_name = "DELETION")]
    before: Option<Uuid>,
    /// Lines of a page
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX_ROWS)))]
    limit: u32,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum WhichArg {
    /// All that have not ended
    Open,
    /// Those that need a person
    Parked,
    /// Open, not parked, and in nobody's hands
    Waiting,
    /// Those that have ended, while they are remembered
    Ended,
    /// Open or ended
    All,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The id of the deletion, or of a request
    #[arg(required_unless_present = "tenant", conflicts_with = "tenant")]
    id: Option<Uuid>,
    /// The tenant, together with --key, or with --type and --id
    #[arg(long)]
    tenant: Option<String>,
    /// The key of a request
    #[arg(long, requires = "tenant", conflicts_with_all = ["target_type", "target_id"])]
    key: Option<String>,
    /// The target's type
    #[arg(long = "type", value_name = "TYPE", requires_all = ["tenant", "target_id"])]
    target_type: Option<String>,
    /// The target's id
    #[arg(long = "id", value_name = "ID", requires_all = ["tenant", "target_type"], id = "target_id")]
    target_id: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn carry_out(settings: &Settings, what: Deletions) -> Result<ExitCode, CliError> {
    settings.check(&[Part::Store])?;
    match what {
        Deletions::List(args) => list(settings, args).await,
        Deletions::Show(args) => show(settings, args).await,
        Deletions::Retry(args) => say(settings, args, Word::Retry).await,
        Deletions::Cancel(args) => say(settings, args, Word::Cancel).await,
    }
}

async fn list(settings: &Settings, args: ListArgs) -> Result<ExitCode, CliError> {
    let filter = Filter {
        which: match args.state {
            WhichArg::Open => Which::Open,
            WhichArg::Parked => Which::Parked,
            WhichArg::Waiting => Which::Waiting,
            WhichArg::Ended => Which::Ended,
            WhichArg::All => Which::All,
        },
        tenant: args
            .tenant
            .map(Tenant::parse)
            .transpose()
            .map_err(wrong("--tenant"))?,
        target_type: args
            .target_type
            .map(TargetType::parse)
            .transpose()
            .map_err(wrong("--type"))?,
        target_id: args.target_id,
        plan: None,
        before: args.before.map(DeletionId),
        rows: args.limit,
    };
    let operator = Operator::new(app::store(settings).await?, "");
    let found = operator.list(&filter).await?;
    let next = (found.len() == args.limit as usize)
        .then(|| found.last().map(|last| last.id))
        .flatten();
    if args.json {
        print::json(&json!({"deletions": found, "next": next}));
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        print::line("none");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    print::table(
        &["DELETION", "STATE", "TYPE", "ID", "TENANT", "ADMITTED", ""],
        &rows,
    );
    if let Some(next) = next {
        print::line(&format!("there may be more: --before {next}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(listed: &Listed) -> Vec<String> {
    let parked = |name: &str| {
        let said = listed.parked.as_ref().and_then(|parked| parked.0.get(name));
        said.and_then(|said| said.as_str()).unwrap_or_default().to_owned()
    };
    let last = match (listed.state.as_str(), listed.ended_at, listed.due_at) {
        ("ended", Some(at), _) => {
            format!(
                "{} {}",
                listed.result.as_deref().unwrap_or_default(),
                print::moment(at)
            )
        }
        ("parked", ..) => format!("{}: {}", parked("because"), parked("why")),
        ("waiting", _, Some(due)) => format!("until {}", print::moment(due)),
        ("queued", ..) => "behind another deletion of its target".to_owned(),
        _ => String::new(),
    };
    vec![
        listed.id.to_string(),
        listed.state.clone(),
        listed.target_type.clone(),
        listed.target_id.clone(),
        listed.tenant.clone(),
        print::moment(listed.admitted_at),
        last,
    ]
}

async fn show(settings: &Settings, args: ShowArgs) -> Result<ExitCode, CliError> {
    let (wanted, named) = wanted(&args)?;
    let operator = Operator::new(app::store(settings).await?, "");
    let mut accounts = Vec::new();
    for id in operator.find(&wanted).await? {
        accounts.push(operator.inspect(id).await?);
    }
    if accounts.is_empty() {
        if let Wanted::Id(id) = wanted
            && let Some(rejected) = operator.rejected_request(id).await?
        {
            return Err(CliError::Data(format!(
                "request {id} never became a deletion: it was rejected at {} as {}{}: {}",
                print::moment(rejected.received_at),
                rejected.reason,
                if rejected.field.is_empty() {
                    String::new()
                } else {
                    format!(" at {}", rejected.field)
                },
                rejected.detail
            )));
        }
        return Err(CliError::Data(format!("no deletion is known as {named}")));
    }
    if args.json {
        print::json(&json!({"deletions": accounts}));
        return Ok(ExitCode::SUCCESS);
    }
    let (latest, older) = accounts.split_at(1);
    latest.iter().for_each(tell);
    if !older.is_empty() {
        print::line("");
        print::line("Earlier ones of the same target:");
        let rows: Vec<Vec<String>> = older
            .iter()
            .map(|one| {
                let last = one.result.clone().unwrap_or_else(|| one.why.because.clone());
                vec![
                    one.id.to_string(),
                    one.state.to_owned(),
                    print::moment(one.admitted_at),
                    last,
                ]
            })
            .collect();
        print::table(&["DELETION", "STATE", "ADMITTED", ""], &rows);
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &ShowArgs) -> Result<(Wanted, String), CliError> {
    if let Some(id) = args.id {
        return Ok((Wanted::Id(id), id.to_string()));
    }
    let tenant = Tenant::parse(args.tenant.clone().unwrap_or_default()).map_err(wrong("--tenant"))?;
    match (&args.key, &args.target_type, &args.target_id) {
        (Some(key), ..) => {
            let key = Key::parse(key.clone()).map_err(wrong("--key"))?;
            let named = format!("key {key} of tenant {tenant}");
            Ok((Wanted::Key { tenant, key }, named))
        }
        (None, Some(kind), Some(id)) => {
            let target = Target {
                tenant,
                kind: TargetType::parse(kind.clone()).map_err(wrong("--type"))?,
                id: TargetId::parse(id.clone()).map_err(wrong("--id"))?,
            };
            let named = format!("{} {} of tenant {}", target.kind, target.id, target.tenant);
            Ok((Wanted::Target(target), named))
        }
        _ => Err(CliError::Usage(
            "--tenant: found it alone; wanted it with --key, or with --type and --id".into(),
        )),
    }
}

fn wrong(option: &'static str) -> impl Fn(crate::deletion::BadName) -> CliError {
    move |bad| CliError::Usage(format!("{option}: found {bad}"))
}
