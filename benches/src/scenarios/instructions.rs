//! What the program itself does for a saga, counted and not timed: the difference of two runs that differ in their number of
//! sagas only. Postgres and RabbitMQ are none of it. For one machine's compiler and libraries it is the same figure each time,
//! within a hundredth.

use std::path::Path;
use std::time::Duration;

use sexton::services::Services;

use crate::Fail;
use crate::messages::{Outcomes, preload};
use crate::place::Stage;
use crate::report::{Report, folder, tell};
use crate::rivals::Rival;
use crate::tally::Tally;

/// Start and stop are in both, and leave with the difference.
const FEW: usize = 300;
const MANY: usize = 1_300;
/// Under valgrind everything takes fifty times as long.
const SILENCE_MAX: Duration = Duration::from_secs(300);

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let here = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("valgrind").is_file()));
    if !here {
        tell("  skipped: valgrind is not here; Debian's package has the same name");
        return Ok(());
    }
    let few = counted(services, FEW).await?;
    let many = counted(services, MANY).await?;
    let of_one = many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
    report.begin_table("sexton", "");
    report.compare("instructions a saga", 0, &[of_one], &[]);
    report.compare("instructions of 300 sagas", 0, &[few as f64], &[]);
    Ok(())
}

async fn counted(services: &Services, requests: usize) -> Result<u64, Fail> {
    let place = Rival::Sexton
        .settle(services, &format!("counted_{requests}"), &Stage::noop().quiet())
        .await?;
    let mut outcomes = Outcomes::listen(&place.amqp_url).await?;
    preload(&place.amqp_url, requests).await?;
    let found = place.path("callgrind.out");
    let mut program = Rival::Sexton.run_under(
        &place,
        &[
            "valgrind",
            "--quiet",
            "--tool=callgrind",
            &format!("--callgrind-out-file={}", found.display()),
        ],
    )?;
    program.during(outcomes.wait_for(requests, SILENCE_MAX)).await?;
    program.stop().await?;
    drop(outcomes);
    Tally::default()
        .and(requests)?
        .found_at(&place, Rival::Sexton)
        .await?;
    let counted = total(&found)?;
    // For whoever wants to know where they go: `callgrind_annotate`.
    std::fs::copy(&found, folder()?.join("callgrind.out"))?;
    tell(&format!("  {requests} sagas: {counted} instructions"));
    place.clear(services).await?;
    Ok(counted)
}

/// The file ends with `totals: N`.
fn total(file: &Path) -> Result<u64, Fail> {
    let text = std::fs::read_to_string(file)?;
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    let total = total.ok_or("callgrind has left no totals")?;
    Ok(total.trim().parse()?)
}
