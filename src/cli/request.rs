//! `sexton request`: one request or one bulk published and confirmed; of one, with `--wait`, what became of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use humantime_serde::re::humantime;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::wait::{self, Outcome};
use super::{CliError, print, targets};
use crate::broker::{Broker, Desk, Message, PublishOutcome, REQUESTS_EXCHANGE, Unrouted};
use crate::deletion::wire::{RequestBody, RequestTarget};
use crate::deletion::{Action, Envelope, Request, read_requests};
use crate::settings::{Part, Settings};

pub(super) const CODES: &str = "\
Exit codes without --wait: 0 the broker has the request, 64 wrong usage or settings, 69 a server is away.
With --wait, besides these:
   0  done: completed (for --action cancel: cancelled)
  10  ended otherwise: cancelled (for --action cancel: completed, the cancel came too late)
  11  completed_with_orphans: something could not be removed
  12  refused by a guard of the plan
  13  rejected: it never became a deletion
  14  parked: a person must look
  15  no outcome within --timeout; the request goes on";

#[derive(Args)]
pub(super) struct RequestArgs {
    /// What kind of thing is to go, like factory.computer
    #[arg(value_name = "TYPE")]
    target_type: String,
    /// Which one
    #[arg(
        value_name = "ID",
        required_unless_present = "targets",
        conflicts_with = "targets"
    )]
    target_id: Option<String>,
    /// Many at once, as one bulk: a file with an id a line, or - for the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "wait")]
    targets: Option<PathBuf>,
    /// To whom it belongs
    #[arg(long)]
    tenant: String,
    /// What is asked for
    #[arg(long, value_enum, default_value = "delete")]
    action: ActionArg,
    /// The request's own name: all requests of one tenant with one key are one. Left out, a fresh one is made
    #[arg(long)]
    key: Option<String>,
    /// A param of the plan: NAME=TEXT, or NAME:=JSON for numbers and true or false; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The batch that it is part of; of a bulk it is its key unless said otherwise
    #[arg(long)]
    batch: Option<String>,
    /// How many requests the batch has
    #[arg(long, value_name = "N", requires = "batch")]
    batch_size: Option<u32>,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
    /// Who asked, for the audit
    #[arg(long, value_name = "WHO")]
    requested_by: Option<String>,
    /// Nothing is done before this time, like 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Somebody is told if it is not done by this time
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Wait for the outcome
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, requires = "wait")]
    timeout: Duration,
    /// Answer in JSON: {key, message_id, requests: how many, outcome: null or {event, request_id, deletion_id, detail}}
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ActionArg {
    /// Delete the target
    Delete,
    /// Take its soft deletion back, within the restore window
    Restore,
    /// End the open deletion of the target, if its point of no return is not reached
    Cancel,
}

pub(super) async fn request(settings: &Settings, args: RequestArgs) -> Result<ExitCode, CliError> {
    settings.check(&[Part::Broker])?;
    let message_id = Uuid::now_v7().to_string();
    let key = args.key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let body = body(&args, &key)?;
    let envelope = Envelope {
        message_id: Some(message_id.clone()),
        ..Envelope::default()
    };
    // Read as Sexton will read it: what would be rejected is not even sent.
    let read = read_requests(&body, &envelope)
        .map_err(|rejection| CliError::Usage(format!("the request would be rejected: {rejection}")))?;
    let many = read.len();
    let Some(read) = read.into_iter().next() else {
        return Err(CliError::Usage("found no target; wanted one at least".to_owned()));
    };
    let message = Message {
        exchange: REQUESTS_EXCHANGE.to_owned(),
        routing_key: format!("{}.{}", read.target.kind.routing_word(), read.action.word()),
        headers: Default::default(),
        message_id: message_id.clone(),
        correlation_id: None,
        content_type: Some("application/json".to_owned()),
        body: Bytes::from(body),
        persistent: true,
        unrouted: Unrouted::Tell,
    };
    // Through the broker, not straight to a desk: the queues may not stand yet.
    let broker = Broker::open(settings.broker.clone(), CancellationToken::new()).await?;
    let desk = broker.desk().await?;
    let done = publish(settings, &desk, &args, &read, &message, &key).await;
    desk.close().await;
    let outcome = done?;
    if args.json {
        print::json(&json!({"key": key, "message_id": message_id, "requests": many, "outcome": outcome}));
    }
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(outcome) = outcome else {
        let span = humantime::format_duration(args.timeout);
        print::trouble(&format!(
            "sexton: no outcome within {span}; the request goes on, and its key is {key}"
        ));
        return Ok(ExitCode::from(wait::EXIT_TIMEOUT));
    };
    if !args.json {
        outcome.tell();
    }
    Ok(ExitCode::from(outcome.exit_code(read.action)))
}

async fn publish(
    settings: &Settings,
    desk: &Desk,
    args: &RequestArgs,
    read: &Request,
    message: &Message,
    key: &str,
) -> Result<Option<Outcome>, CliError> {
    // Bound before it is published, or a fast outcome would be missed.
    let events = match args.wait {
        true => Some(wait::listen(desk, read, key).await?),
        false => None,
    };
    let not_sent = |why: &str| {
        Err(CliError::NotPublished(format!(
            "the request was not published: {why}"
        )))
    };
    match desk.publish(message).await? {
        PublishOutcome::Confirmed => {}
        PublishOutcome::Unroutable => return not_sent("no queue is bound to the exchange deletion.requests"),
        PublishOutcome::Nacked => return not_sent("the broker cannot take it now"),
        PublishOutcome::Refused(why) => return not_sent(&why),
        PublishOutcome::Lost => {
            return not_sent(&format!(
                "the connection was lost before the answer; repeat it with --key {key}"
            ));
        }
    }
    if !args.json {
        print::line(&format!("published, key {key}"));
    }
    match events {
        Some(events) => Ok(wait::outcome(settings, events, read, args.timeout).await),
        None => Ok(None),
    }
}

fn body(args: &RequestArgs, key: &str) -> Result<Vec<u8>, CliError> {
    let mut params = Map::new();
    for param in &args.params {
        let (name, value) = param_of(param)?;
        params.insert(name, value);
    }
    let target = |id: String| RequestTarget {
        kind: args.target_type.clone(),
        id,
    };
    let body = RequestBody {
        version: None,
        action: Some(match args.action {
            ActionArg::Delete => Action::Delete,
            ActionArg::Restore => Action::Restore,
            ActionArg::Cancel => Action::Cancel,
        }),
        target: args.target_id.clone().map(target),
        targets: match &args.targets {
            Some(file) => Some(targets::ids_in(file)?.into_iter().map(target).collect()),
            None => None,
        },
        tenant: args.tenant.clone(),
        key: Some(key.to_owned()),
        batch: args.batch.clone(),
        batch_size: args.batch_size,
        requested_by: args.requested_by.clone(),
        reason: args.reason.clone(),
        not_before: args.not_before.clone(),
        deadline: args.deadline.clone(),
        params: (!params.is_empty()).then_some(params),
        deletion: None,
        window: None,
    };
    Ok(body.to_bytes())
}

fn param_of(text: &str) -> Result<(String, Value), CliError> {
    const WANTED: &str = "wanted NAME=TEXT or NAME:=JSON";
    let wrong = |found: &str| CliError::Usage(format!("--param: found {found}; {WANTED}"));
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("no ="))?;
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => (
            name,
            serde_json::from_str(value).map_err(|_| wrong("what is not JSON after :="))?,
        ),
        None => (name, Value::from(value)),
    };
    if name.is_empty() {
        return Err(wrong("no name"));
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_param_is_text_unless_it_is_said_to_be_json() {
        let param = |text: &str| param_of(text).map_err(|error| error.to_string());
        assert_eq!(param("a=1"), Ok(("a".into(), json!("1"))));
        assert_eq!(param("a:=1"), Ok(("a".into(), json!(1))));
        assert_eq!(param("a=x=y"), Ok(("a".into(), json!("x=y"))));
        for wrong in ["a", "=1", "a:=x", ":=1"] {
            assert!(
                param(wrong).is_err_and(|said| said.starts_with("--param: found ")),
                "{wrong}"
            );
        }
    }
}
