//! `sexton systems`: which do not let Sexton in, and the word that one of them is repaired.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{By, CliError, print};
use crate::app;
use crate::clock;
use crate::operator::Operator;
use crate::settings::{Part, Settings};

#[derive(Subcommand)]
pub(super) enum SystemsCommand {
    /// List systems that are shut: they do not let Sexton in, and what needs them waits
    List(ListArgs),
    /// Say that a system is repaired: it is tried at once, and else about every minute
    Retry(RetryArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Answer in JSON: {"shut": [...]}
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RetryArgs {
    /// Its name, as `systems list` shows it
    system: String,
    #[command(flatten)]
    by: By,
}

pub(super) async fn carry_out(settings: &Settings, what: SystemsCommand) -> Result<ExitCode, CliError> {
    settings.check(&[Part::Store])?;
    let by = match &what {
        SystemsCommand::Retry(args) => args.by.name(),
        SystemsCommand::List(_) => String::new(),
    };
    let operator = Operator::new(app::store(settings).await?, by);
    match what {
        SystemsCommand::List(args) => list(&operator, args).await,
        SystemsCommand::Retry(args) => {
            operator.retry_system(&args.system).await?;
            print::line("said; its workers try it at once");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(operator: &Operator, args: ListArgs) -> Result<ExitCode, CliError> {
    let shut = operator.shut_systems().await?;
    if args.json {
        print::json(&json!({"shut": shut}));
        return Ok(ExitCode::SUCCESS);
    }
    if shut.is_empty() {
        print::line("none");
    }
    let now = clock::now();
    for (nth, shut) in shut.iter().enumerate() {
        if nth > 0 {
            print::line("");
        }
        print::line(&format!("{} is shut: {}", shut.system, shut.place));
        let fact = |name: &str, said: String| print::line(&format!("{name:<9} {said}"));
        fact("why", shut.why.clone());
        fact("since", print::placed(shut.since, now));
        fact("unblock", shut.unblock.clone());
        fact(
            "tries",
            format!(
                "{} in vain; the next one {}",
                shut.tries,
                print::placed(shut.next_try_at, now)
            ),
        );
        fact("worker", shut.worker.clone());
    }
    Ok(ExitCode::SUCCESS)
}
