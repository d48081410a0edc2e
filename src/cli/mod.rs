//! The command line: one binary, its roles and its tools.
//!
//! Whatever goes wrong ends with one clear sentence on stderr and a code that says whose fault it is; what a command
//! answers goes to stdout, as text for people or, with `--json`, as fields that are only ever added to.

mod account;
mod deletions;
mod keys;
mod plan;
mod print;
mod rejected;
mod request;
mod run;
mod say;
mod systems;
mod targets;
mod wait;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{AppError, Role};
use crate::broker::BrokerError;
use crate::operator::OperatorError;
use crate::services::{self, Options, ServicesError};
use crate::settings::{EXIT_CODE, Settings, SettingsError};
use crate::telemetry::TelemetryError;

/// As sysexits.h has them: what was asked cannot be done with this data; a server is away.
const EXIT_DATA: u8 = 65;
const EXIT_UNAVAILABLE: u8 = 69;
/// Wider lines are hard to read, however wide the terminal.
const WIDTH_MAX: usize = 100;

const CODES: &str =
    "Exit codes: 0 done, 64 wrong usage or settings, 65 wrong plan or data, 69 a server is away";

/// Makes deleted things really gone
#[derive(Parser)]
#[command(name = "sexton", version, max_term_width = WIDTH_MAX, after_help = CODES)]
struct Cli {
    /// A settings file, beside `sexton.toml` of the working folder; may be repeated, later ones win
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Carry deletions out: all roles, or those named
    ///
    /// The first SIGTERM or Ctrl-C takes nothing new and finishes what runs, for `engine.drain` at most; a second one
    /// hands back at once what still runs. Either way an interrupted step spends no attempt.
    #[command(after_help = CODES)]
    Run {
        /// One role of this process; may be repeated
        #[arg(long)]
        role: Vec<Role>,
        /// Print the settings in force, each with where it was said and secrets left out, and end
        #[arg(long)]
        print_settings: bool,
    },
    /// Bring Sexton's tables up to this release
    #[command(after_help = CODES)]
    Migrate,
    /// Publish one request, or a bulk; wait for the outcome of one if asked to
    #[command(after_help = request::CODES)]
    Request(request::RequestArgs),
    /// Look at deletions, and say a word to them
    #[command(subcommand, after_help = CODES)]
    Deletions(deletions::Deletions),
    /// Look at requests that were turned away, and send them again
    #[command(subcommand, after_help = CODES)]
    Rejected(rejected::Rejected),
    /// Look at systems that do not let Sexton in, and say that one is repaired
    #[command(subcommand, after_help = CODES)]
    Systems(systems::SystemsCommand),
    /// Make, list and revoke keys for HTTP
    #[command(subcommand, after_help = CODES)]
    Keys(keys::Keys),
    /// Check and show plans, and move parked deletions to another version
    #[command(subcommand, after_help = CODES)]
    Plan(plan::PlanCommand),
    /// Start private, throw-away Postgres and RabbitMQ; with a command, run it with their URLs and stop them after it
    Dev {
        /// Let Postgres answer before its writes are on the disk: faster, for tests
        #[arg(long)]
        no_fsync: bool,
        /// What to run; it finds DATABASE_URL, AMQP_URL and SEXTON_MANAGEMENT_URL set
        #[arg(last = true)]
        run: Vec<OsString>,
    },
}

/// Who asks, for the audit.
#[derive(clap::Args)]
struct By {
    /// Who asks, for the audit; left out, the login name
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl By {
    fn name(&self) -> String {
        let login = || {
            ["USER", "LOGNAME"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        };
        let name = self.by.clone().or_else(login).filter(|name| !name.is_empty());
        format!("cli:{}", name.unwrap_or_else(|| "unknown".to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Services(#[from] ServicesError),
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error("cannot use RabbitMQ")]
    Broker { source: BrokerError },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Data(String),
    #[error("{0}")]
    NotPublished(String),
}

impl From<BrokerError> for CliError {
    fn from(source: BrokerError) -> Self {
        CliError::Broker { source }
    }
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            CliError::Settings(_) | CliError::Telemetry(_) | CliError::Usage(_) => EXIT_CODE,
            CliError::App(error) => error.exit_code(),
            CliError::Operator(OperatorError::Unknown { .. } | OperatorError::NoKey { .. })
            | CliError::Operator(OperatorError::NotShut { .. })
            | CliError::Operator(OperatorError::Ended { .. } | OperatorError::Queued { .. })
            | CliError::Data(_) => EXIT_DATA,
            CliError::Operator(_)
            | CliError::Services(_)
            | CliError::Broker { .. }
            | CliError::NotPublished(_) => EXIT_UNAVAILABLE,
        }
    }
}

/// One clear sentence and a code for whoever called, whatever happens.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap writes help to stdout and trouble to stderr; where neither can be written, the code is left.
            let _ = error.print();
            let code = if error.use_stderr() { EXIT_CODE } else { 0 };
            return ExitCode::from(code);
        }
    };
    match carry_out(cli).await {
        Ok(code) => code,
        Err(error) => {
            let chain = crate::telemetry::chain(&error as &(dyn Error + 'static));
            print::trouble(&format!("sexton: {chain}"));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn carry_out(cli: Cli) -> Result<ExitCode, CliError> {
    if let Command::Dev { no_fsync, run } = cli.command {
        let options = Options {
            durable: !no_fsync,
            ..Options::from_env()
        };
        return Ok(services::dev(options, &run).await?);
    }
    let settings = Settings::load(&cli.config, &[])?;
    match cli.command {
        Command::Run {
            print_settings: true, ..
        } => run::print_settings(&settings),
        Command::Run { role, .. } => run::run(settings, role).await,
        Command::Migrate => run::migrate(settings).await,
        Command::Request(args) => request::request(&settings, args).await,
        Command::Deletions(what) => deletions::carry_out(&settings, what).await,
        Command::Rejected(what) => rejected::carry_out(&settings, what).await,
        Command::Systems(what) => systems::carry_out(&settings, what).await,
        Command::Keys(what) => keys::carry_out(&settings, what).await,
        Command::Plan(what) => plan::carry_out(&settings, what).await,
        Command::Dev { .. } => Ok(ExitCode::SUCCESS),
    }
}
