//! The command line: one binary, its roles and its tools.

mod run;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{AppError, Role};
use crate::services::{self, Options, ServicesError};
use crate::settings::{EXIT_CODE, Settings, SettingsError};
use crate::telemetry::TelemetryError;

#[derive(Parser)]
#[command(name = "sexton", version, about)]
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
    Run {
        /// One role of this process; may be repeated
        #[arg(long)]
        role: Vec<Role>,
    },
    /// Bring Sexton's tables up to this release
    Migrate,
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
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            CliError::Settings(_) | CliError::Telemetry(_) => EXIT_CODE,
            CliError::App(error) => error.exit_code(),
            CliError::Services(_) => 69,
        }
    }
}

/// One clear sentence and a code for whoever called, whatever happens.
pub async fn main() -> ExitCode {
    match carry_out(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!(
                "sexton: {}",
                crate::telemetry::chain(&error as &(dyn Error + 'static))
            );
            ExitCode::from(error.exit_code())
        }
    }
}

async fn carry_out(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.command {
        Command::Run { role } => run::run(Settings::load(&cli.config, &[])?, role).await,
        Command::Migrate => run::migrate(Settings::load(&cli.config, &[])?).await,
        Command::Dev { no_fsync, run } => {
            let options = Options {
                durable: !no_fsync,
                ..Options::from_env()
            };
            Ok(services::dev(options, &run).await?)
        }
    }
}
