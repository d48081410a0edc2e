//! Looks at the world itself, not at what Sexton says of it: the platform's rows, the objects in the archive, the
//! cloud's own count, the events as they came; Sexton's tables only for what is said to be left in them.

mod agno;
mod archive;
mod cloud;
mod journal;
mod pave;
mod platform;
mod powerdrill;
mod rows;
mod said;
mod sessions;

use std::fmt::Display;
use std::process::ExitStatus;

use sqlx::PgPool;

use crate::Fault;
use crate::others::Others;
use crate::play::Played;
use crate::say::say;
use crate::stage::Stage;
use crate::worlds::estate::Estate;

/// More of the same would only hide the next check.
const SHOWN_MAX: usize = 5;

pub(crate) struct World<'w> {
    pub(crate) stage: &'w Stage,
    pub(crate) estate: &'w Estate,
    pub(crate) others: &'w Others,
    pub(crate) played: &'w Played,
    pub(crate) platform: &'w PgPool,
    pub(crate) sexton: &'w PgPool,
    pub(crate) client: &'w reqwest::Client,
    /// How the last worker ended when it was asked to; none if it had to be killed.
    pub(crate) stopped: Option<ExitStatus>,
}

/// Whether all is well.
pub(crate) async fn all(world: &World<'_>) -> Result<bool, Fault> {
    let mut sheet = Sheet::default();
    let machines = cloud::ask(world).await?;
    platform::check(world, &machines, &mut sheet).await?;
    archive::check(world, &mut sheet).await?;
    cloud::check(world, &machines, &mut sheet).await?;
    sessions::check(world, &mut sheet).await?;
    powerdrill::check(world, &mut sheet).await?;
    pave::check(world, &mut sheet).await?;
    agno::check(world, &mut sheet).await?;
    said::check(world, &mut sheet).await?;
    journal::check(world, &mut sheet).await?;
    Ok(sheet.all_well())
}

#[derive(Default)]
pub(crate) struct Sheet {
    checks: usize,
    off: usize,
}

impl Sheet {
    /// `looked_at` is how many things were held against `what`: a check that has seen nothing has shown nothing.
    pub(crate) fn check(&mut self, what: &str, looked_at: usize, off: &[impl Display]) {
        self.checks += 1;
        let well = off.is_empty() && looked_at > 0;
        say!("  {} {what} ({looked_at})", if well { "✓" } else { "✗" });
        if well {
            return;
        }
        self.off += 1;
        if looked_at == 0 {
            say!("      there was nothing to look at");
        }
        for one in off.iter().take(SHOWN_MAX) {
            say!("      {one}");
        }
        if off.len() > SHOWN_MAX {
            say!("      and {} more", off.len() - SHOWN_MAX);
        }
    }

    pub(crate) fn all_well(&self) -> bool {
        match self.off {
            0 => say!("\n  {} checks, nothing is off", self.checks),
            off => say!("\n  {off} of {} checks are off", self.checks),
        }
        self.off == 0
    }
}
