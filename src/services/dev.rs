//! `sexton dev`: both servers for as long as a person, or one command, needs them. `make test` and `make demo` run
//! through here, so that many test processes share one pair of servers.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::{Options, Services, ServicesError, Urls};

/// Under which the watchdog knows what is run.
const COMMAND: &str = "command";

/// Without a command: shows where the servers are and waits for Ctrl-C or SIGTERM. With one: see [`run_with`].
pub async fn dev(options: Options, command: &[OsString]) -> Result<ExitCode, ServicesError> {
    if !command.is_empty() {
        return run_with(options, command).await;
    }
    let mut stop = Stop::listen()?;
    let services = tokio::select! {
        started = Services::start(options) => started?,
        _ = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    // A reader that has gone away is no reason to end the servers.
    let _ = std::io::stdout().write_all(introduction(&services).as_bytes());
    stop.asked().await;
    services.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the command with `DATABASE_URL`, `AMQP_URL` and `SEXTON_MANAGEMENT_URL` set, and ends with its code. Ctrl-C
/// reaches the command by itself; SIGTERM is passed on.
pub async fn run_with(options: Options, command: &[OsString]) -> Result<ExitCode, ServicesError> {
    let mut stop = Stop::listen()?;
    let services = tokio::select! {
        started = Services::start(options) => started?,
        asked = stop.asked() => return Ok(by_signal(asked.as_raw())),
    };
    let status = attend(&services, command, &mut stop).await;
    services.forget(COMMAND);
    services.stop().await?;
    let status = status?;
    Ok(status.code().map_or_else(
        || by_signal(status.signal().unwrap_or_default()),
        |code| ExitCode::from(u8::try_from(code).unwrap_or(1)),
    ))
}

async fn attend(
    services: &Services,
    command: &[OsString],
    stop: &mut Stop,
) -> Result<ExitStatus, ServicesError> {
    let name = command
        .first()
        .map(|program| program.to_string_lossy().into_owned())
        .unwrap_or_default();
    let failed = |source| ServicesError::Spawn {
        name: name.clone(),
        source,
    };
    let prepared = services.companion(COMMAND, "TERM", command);
    let mut child = tokio::process::Command::from(prepared)
        .env("DATABASE_URL", &services.urls.database_url)
        .env("AMQP_URL", &services.urls.amqp_url)
        .env("SEXTON_MANAGEMENT_URL", &services.urls.management_url)
        .spawn()
        .map_err(failed)?;
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(failed),
            asked = stop.asked() => {
                let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                if let (Signal::TERM, Some(pid)) = (asked, pid) {
                    // It may have ended this moment; then `wait` says so.
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
        }
    }
}

fn introduction(services: &Services) -> String {
    let Urls {
        database_url,
        amqp_url,
        management_url,
    } = &services.urls;
    let folder = services.folder().map_or_else(
        || "nothing started here: both were given".to_owned(),
        |path| path.display().to_string(),
    );
    format!(
        "postgres  {database_url}\nrabbitmq  {amqp_url}\nfolder    {folder}\n\n\
         export DATABASE_URL='{database_url}'\nexport AMQP_URL='{amqp_url}'\n\
         export SEXTON_MANAGEMENT_URL='{management_url}'\n\n\
         Running. Ctrl-C stops them and removes the folder.\n"
    )
}

/// The shell's convention.
fn by_signal(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self, ServicesError> {
        let listen = |kind| signal(kind).map_err(|source| ServicesError::Signals { source });
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}
