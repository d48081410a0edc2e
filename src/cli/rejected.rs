//! `sexton rejected`: what was turned away, and the way back once the cause is repaired.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{By, CliError, print};
use crate::app;
use crate::broker::{Desk, PEEK_MAX, REJECTED_QUEUE};
use crate::operator::{Operator, Turned, WantedRejected};
use crate::settings::{Part, Settings};

#[derive(Subcommand)]
pub(super) enum Rejected {
    /// List rejected requests, oldest first; they stay where they are
    ///
    /// With --json: {"rejected": [{message_id, request_id, reason, field, why, body_bytes, body}], "standing": N}.
    List(ListArgs),
    /// Send rejected requests again, as they are
    Requeue(RequeueArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Only those that were rejected for this reason
    #[arg(long)]
    reason: Option<String>,
    /// How many to look at, from the front of the queue
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=PEEK_MAX as i64))]
    limit: u32,
    /// Show the bodies too; they are the publishers' and may hold personal data
    #[arg(long)]
    body: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RequeueArgs {
    /// Message ids or request ids, as `rejected list` shows them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Only those that were rejected for this reason
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    by: By,
    /// Answer in JSON: {"moved": [message ids], "left": N, "more": true if the queue was longer than one run looks}
    #[arg(long)]
    json: bool,
}

pub(super) async fn carry_out(settings: &Settings, what: Rejected) -> Result<ExitCode, CliError> {
    match what {
        Rejected::List(args) => {
            settings.check(&[Part::Broker])?;
            let mut desk = Desk::connect(&settings.broker).await?;
            let listed = list(&mut desk, &args).await;
            desk.close().await;
            listed
        }
        Rejected::Requeue(args) => {
            settings.check(&[Part::Store, Part::Broker])?;
            let operator = Operator::new(app::store(settings).await?, args.by.name());
            let mut desk = Desk::connect(&settings.broker).await?;
            let moved = requeue(&operator, &mut desk, args).await;
            desk.close().await;
            moved
        }
    }
}

async fn list(desk: &mut Desk, args: &ListArgs) -> Result<ExitCode, CliError> {
    let standing = desk.depth(REJECTED_QUEUE).await?.ready;
    let wanted = WantedRejected {
        ids: Vec::new(),
        reason: args.reason.clone(),
    };
    let seen = desk.peek(REJECTED_QUEUE, args.limit as usize).await?;
    let all: Vec<Turned> = seen
        .iter()
        .map(|delivery| Turned::of(delivery, args.body))
        .filter(|turned| wanted.wants(turned))
        .collect();
    if args.json {
        print::json(&json!({"rejected": all, "standing": standing}));
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        print::line("none");
    } else {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|turned| {
                let last = match &turned.body {
                    Some(body) => format!("{}  {body}", text(&turned.why)),
                    None => text(&turned.why),
                };
                vec![
                    text(&turned.message_id),
                    text(&turned.reason),
                    text(&turned.field),
                    last,
                ]
            })
            .collect();
        print::table(&["MESSAGE", "REASON", "FIELD", "WHY"], &rows);
    }
    if standing as usize > seen.len() {
        print::line(&format!("looked at the first {} of {standing}", seen.len()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn requeue(operator: &Operator, desk: &mut Desk, args: RequeueArgs) -> Result<ExitCode, CliError> {
    let wanted = WantedRejected {
        ids: args.ids,
        reason: args.reason,
    };
    let done = operator.requeue(desk, &wanted).await?;
    if args.json {
        print::json(&done);
    } else {
        print::line(&format!("sent again: {}, left: {}", done.moved.len(), done.left));
        if done.more {
            print::line("the queue is longer than one run looks; run it again for the rest");
        }
    }
    if let Some(why) = done.stopped {
        return Err(CliError::NotPublished(format!("stopped before the end: {why}")));
    }
    let missing = |id: &&String| !done.moved.contains(id);
    if !wanted.ids.is_empty() && done.moved.is_empty() {
        let named: Vec<&String> = wanted.ids.iter().filter(missing).collect();
        return Err(CliError::Data(format!(
            "no rejected request is known as {}",
            named[0]
        )));
    }
    Ok(ExitCode::SUCCESS)
}
