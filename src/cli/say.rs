//! A word said to deletions: retry, cancel. What was heard is told for each, also if another one cannot be reached.

use std::error::Error;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{By, CliError, EXIT_DATA, print};
use crate::app;
use crate::deletion::DeletionId;
use crate::operator::Operator;
use crate::settings::Settings;
use crate::store::Wanted;
use crate::telemetry::chain;

#[derive(Args)]
pub(super) struct SayArgs {
    /// The ids of the deletions, or of requests
    #[arg(required = true, value_name = "DELETION")]
    ids: Vec<Uuid>,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
    /// Answer in JSON: {"deletions": [{id, said, why}]}; `said` is null where it was not heard, and `why` says why
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Word {
    Retry,
    Cancel,
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Word::Retry => "retry",
            Word::Cancel => "cancel",
        }
    }

    fn follows(self) -> &'static str {
        match self {
            Word::Retry => "it goes on now",
            Word::Cancel => {
                "it is undone and ends, unless the point of no return was reached first; its outcome tells"
            }
        }
    }
}

pub(super) async fn say(settings: &Settings, args: SayArgs, word: Word) -> Result<ExitCode, CliError> {
    let operator = Operator::new(app::store(settings).await?, args.by.name());
    let mut answers = Vec::new();
    let mut code = 0;
    for named in args.ids {
        // A deletion that cannot be told is no reason to leave out the next; a server that is away is one.
        if code > EXIT_DATA {
            answers.push(json!({"id": named, "said": null, "why": "not tried: a server is away"}));
            continue;
        }
        match say_to(&operator, named, args.reason.as_deref(), word).await {
            Ok(id) => {
                if !args.json {
                    print::line(&format!("{id}: {}", word.follows()));
                }
                answers.push(json!({"id": id, "said": word.name(), "why": null}));
            }
            Err(error) => {
                let why = chain(&error as &(dyn Error + 'static));
                print::trouble(&format!("sexton: {why}"));
                answers.push(json!({"id": named, "said": null, "why": why}));
                code = code.max(error.exit_code());
            }
        }
    }
    if args.json {
        print::json(&json!({"deletions": answers}));
    }
    Ok(ExitCode::from(code))
}

async fn say_to(
    operator: &Operator,
    named: Uuid,
    reason: Option<&str>,
    word: Word,
) -> Result<DeletionId, CliError> {
    let found = operator.find(&Wanted::Id(named)).await?;
    let id = found
        .first()
        .copied()
        .ok_or_else(|| CliError::Data(format!("no deletion is known as {named}")))?;
    match word {
        Word::Retry => operator.retry(id, reason).await?,
        Word::Cancel => operator.cancel(id, reason).await?,
    }
    Ok(id)
}
