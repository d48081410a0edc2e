//! `sexton keys`: keys for HTTP, made, listed and revoked. A key is shown once.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{By, CliError, print};
use crate::app;
use crate::clock;
use crate::decide::access::{Dialect, Role};
use crate::deletion::Tenant;
use crate::gateway::access::ApiKey;
use crate::operator::Operator;
use crate::settings::{Part, Settings};
use crate::store::NewKey;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Make a key; it is shown now and never again
    Make(MakeArgs),
    /// List keys, newest first
    List(ListArgs),
    /// Revoke a key: from now on it opens nothing
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub(super) struct MakeArgs {
    /// Whose targets it reaches
    #[arg(long, value_parser = tenant)]
    tenant: Tenant,
    /// Whose it is, as the audit and each of its requests will say
    #[arg(long, value_parser = name)]
    name: String,
    /// What it may do; may be repeated: viewer (see, list, follow), requester (delete, restore, cancel as well)
    #[arg(long, value_parser = role, default_value = "requester")]
    role: Vec<Role>,
    /// Where it may be used; may be repeated: native, factory, powerdrill, pave, agno
    #[arg(long, value_parser = dialect, default_value = "native")]
    dialect: Vec<Dialect>,
    /// Calls a second, if not as the settings say
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rate: Option<u16>,
    /// How many may come at once, if not as the settings say
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    burst: Option<u16>,
    /// After how long it opens nothing, like 90d
    #[arg(long, value_name = "SPAN", value_parser = span)]
    expires: Option<Duration>,
    #[command(flatten)]
    by: By,
    /// Answer in JSON: {"id", "key"}
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Only those of this tenant
    #[arg(long, value_parser = tenant)]
    tenant: Option<Tenant>,
    /// Answer in JSON: {"keys": [...]}
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    /// Its id, as `keys list` shows it
    id: Uuid,
    #[command(flatten)]
    by: By,
}

pub(super) async fn carry_out(settings: &Settings, what: Keys) -> Result<ExitCode, CliError> {
    settings.check(&[Part::Store])?;
    let by = match &what {
        Keys::Make(args) => args.by.name(),
        Keys::Revoke(args) => args.by.name(),
        Keys::List(_) => String::new(),
    };
    let operator = Operator::new(app::store(settings).await?, by);
    match what {
        Keys::Make(args) => make(&operator, args).await,
        Keys::List(args) => list(&operator, args).await,
        Keys::Revoke(args) => {
            operator.revoke_key(args.id).await?;
            print::line("revoked");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn make(operator: &Operator, args: MakeArgs) -> Result<ExitCode, CliError> {
    let key = ApiKey::new(Uuid::from_bytes(rand::random()), rand::random());
    let expires_at = match args.expires {
        None => None,
        Some(after) => Some(ends(clock::now(), after)?),
    };
    let made = NewKey {
        id: key.id,
        digest: key.digest(),
        name: args.name,
        tenant: args.tenant,
        roles: args.role.into_iter().collect::<BTreeSet<_>>(),
        dialects: args.dialect.into_iter().collect::<BTreeSet<_>>(),
        rate: args.rate,
        burst: args.burst,
        expires_at,
    };
    operator.make_key(&made).await?;
    if args.json {
        print::json(&json!({"id": key.id, "key": key.reveal()}));
    } else {
        print::line(&key.reveal());
        print::trouble("this key is not kept and cannot be shown again");
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(operator: &Operator, args: ListArgs) -> Result<ExitCode, CliError> {
    let keys = operator.keys(args.tenant.as_ref()).await?;
    if args.json {
        print::json(&json!({"keys": keys}));
        return Ok(ExitCode::SUCCESS);
    }
    if keys.is_empty() {
        print::line("none");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = keys
        .into_iter()
        .map(|key| {
            vec![
                key.id.to_string(),
                key.state,
                key.tenant,
                key.name,
                key.roles.join(","),
                key.dialects.join(","),
            ]
        })
        .collect();
    print::table(&["ID", "STATE", "TENANT", "NAME", "ROLES", "DIALECTS"], &rows);
    Ok(ExitCode::SUCCESS)
}

fn ends(now: OffsetDateTime, after: Duration) -> Result<OffsetDateTime, CliError> {
    time::Duration::try_from(after)
        .ok()
        .and_then(|after| now.checked_add(after))
        .filter(|at| at.year() < 9000)
        .ok_or_else(|| {
            CliError::Usage(format!(
                "--expires: found {after:?}; wanted a time before the year 9000"
            ))
        })
}

fn tenant(text: &str) -> Result<Tenant, String> {
    Tenant::parse(text).map_err(|bad| bad.to_string())
}

/// It stands in `requested_by`, which has its own bound.
fn name(text: &str) -> Result<String, String> {
    match (1..=200).contains(&text.len()) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("wanted 1 to 200 bytes without control characters".to_owned()),
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "wanted viewer or requester".to_owned())
}

fn dialect(text: &str) -> Result<Dialect, String> {
    Dialect::parse(text).ok_or_else(|| "wanted native, factory, powerdrill, pave or agno".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    use serde::Deserialize;
    use serde::de::value::{Error, StrDeserializer};
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Span(#[serde(with = "humantime_serde")] Duration);
    Span::deserialize(StrDeserializer::<Error>::new(text))
        .map(|span| span.0)
        .map_err(|_| "wanted a span like 90d".to_owned())
}
