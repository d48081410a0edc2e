//! The one binary. Order and nothing else.
#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sexton::services::{Options, dev};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Dev { no_fsync, run } => {
            dev(
                Options {
                    durable: !no_fsync,
                    ..Options::from_env()
                },
                &run,
            )
            .await
        }
    };
    done.unwrap_or_else(|error| {
        let mut text = format!("sexton: {error}");
        let mut cause = error.source();
        while let Some(because) = cause {
            text = format!("{text}: {because}");
            cause = because.source();
        }
        eprintln!("{text}");
        ExitCode::FAILURE
    })
}
