//! `sexton run` and `sexton migrate`: the process that works, and the tables it works on.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use crate::app::{self, AppError, Role};
use crate::settings::{Part, Settings};
use crate::stopper::Stopper;
use crate::store::Store;
use crate::telemetry::{self, Instruments};

pub(super) async fn run(settings: Settings, roles: Vec<Role>) -> Result<ExitCode, CliError> {
    settings.check(Part::ALL)?;
    let instruments = Instruments::new();
    let telemetry = telemetry::start(&settings.telemetry, &instruments)?;
    let stopper = Stopper::new();
    let stopping = tokio::spawn(stop_on_signal(stopper.clone()));
    let roles = if roles.is_empty() {
        Role::ALL.to_vec()
    } else {
        roles
    };
    let done = app::run(settings, &roles, instruments, stopper).await;
    stopping.abort();
    // The exporter's blocking client must not be joined on a runtime thread.
    let _ = tokio::task::spawn_blocking(|| telemetry.shutdown()).await;
    done?;
    Ok(ExitCode::SUCCESS)
}

/// Only what is right is printed: a secret in a wrong place would be taken for something else.
pub(super) fn print_settings(settings: &Settings) -> Result<ExitCode, CliError> {
    settings.check(Part::ALL)?;
    super::print::line(&settings.shown());
    Ok(ExitCode::SUCCESS)
}

/// The first SIGTERM or Ctrl-C drains; a second one hands back what still runs, at once.
async fn stop_on_signal(stopper: Stopper) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    for phase in [Stopper::drain, Stopper::halt] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        phase(&stopper);
    }
}

pub(super) async fn migrate(settings: Settings) -> Result<ExitCode, CliError> {
    settings.check(&[Part::Store])?;
    let failed = |source| AppError::Store { source };
    let store = Store::new(&settings.store).map_err(failed)?;
    store.migrate().await.map_err(failed)?;
    store.ensure_partitions().await.map_err(failed)?;
    super::print::line("the tables are those of this release");
    Ok(ExitCode::SUCCESS)
}
