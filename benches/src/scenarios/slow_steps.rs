//! Five thousand calls at once to a provider that takes two seconds for each: what waiting costs a worker.

use sexton::services::{Services, free_port};

use super::number;
use crate::Fail;
use crate::fill::Fill;
use crate::listening::Listening;
use crate::messages::Outcomes;
use crate::place::{Place, Stage};
use crate::program::Program;
use crate::provider::{ANSWERS_AFTER, WORD as PROVIDER};
use crate::report::{Report, Wanted, tell};
use crate::rivals::Rival;
use crate::tally::Tally;

/// The most that the settings let one system have at once.
const LIMIT: usize = 1_000;
/// So many systems of that limit, all of them this one provider: 5,000 steps at once.
const SYSTEMS: usize = 5;
const AT_ONCE: usize = SYSTEMS * LIMIT;
/// Four rounds, so that most of the time all places are taken.
const DELETIONS: usize = 4 * AT_ONCE;

const PROFILE: &str = "[call.remove]\nmethod = \"DELETE\"\npath = \"/things/{id}\"\ndone = [204]\n";

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let deletions = number("BENCH_SLOW_DELETIONS", DELETIONS)?;
    let port = free_port()?;
    let place = Rival::Sexton.settle(services, "slow", &stage(port)).await?;
    let mut fill = Fill::begin(&place, Rival::Sexton).await?;
    fill.open(deletions).await?;
    fill.end().await?;
    let before = Tally::read(&place, Rival::Sexton).await?;
    let listening = Listening::start(Outcomes::listen(&place.amqp_url).await?);
    let (provider, _) = Program::again(&place, &[PROVIDER.into(), format!("127.0.0.1:{port}")]).await?;
    let mut program = Rival::Sexton.run(&place)?;
    let began = std::time::Instant::now();
    program.during(listening.until(deletions)).await?;
    let (took, cpu, peak_kib) = (began.elapsed(), program.cpu(), program.peak_kib());
    program.stop().await?;
    listening.stop().await?;
    let held = provider.stopped_saying().await?.parse::<usize>()?;
    check(&place, before, deletions, held).await?;
    place.clear(services).await?;
    let peak = peak_kib as f64 / 1_024.0;
    tell(&format!(
        "  {deletions} deletions in {:.1} s, {held} calls at once",
        took.as_secs_f64()
    ));
    report.begin_table("sexton", "");
    report.compare("calls at once", 0, &[held as f64], &[]);
    report.compare("deletions/s", 0, &[deletions as f64 / took.as_secs_f64()], &[]);
    let ideal = AT_ONCE as f64 / ANSWERS_AFTER.as_secs_f64();
    report.compare("deletions/s that it could be", 0, &[ideal], &[]);
    report.compare("peak RSS, MiB", 0, &[peak], &[]);
    report.compare(
        "CPU s a thousand",
        3,
        &[cpu.as_secs_f64() * 1_000.0 / deletions as f64],
        &[],
    );
    report.bar(
        &format!("RSS in MiB, {held} steps in flight"),
        peak,
        Wanted::AtMost {
            bar: 256.0,
            aim: 128.0,
        },
    );
    Ok(())
}

fn stage(port: u16) -> Stage {
    let systems: String = (0..SYSTEMS)
        .map(|nth| {
            format!(
                "[systems.slow-{nth}]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}\"\nprofile = \"slow.toml\"\n\
                 limit = {LIMIT}\n"
            )
        })
        .collect();
    // Room for all steps and for what is between two of them.
    let engine = format!("[engine]\nin_flight_max = {}\n", AT_ONCE + LIMIT);
    (0..SYSTEMS).fold(
        Stage::of(&(engine + &systems)).file("slow.toml", PROFILE),
        |stage, nth| {
            let kind = format!("bench.slow-{nth}");
            let plan = format!(
                "target = \"{kind}\"\non = \"slow-{nth}\"\n\n[[step]]\nname = \"remove\"\ncall = \"slow-{nth}.remove\"\n"
            );
            stage.plan(&kind, &plan)
        },
    )
}

/// Each has two records at least: the intent, and the verdict with the end.
async fn check(place: &Place, before: Tally, deletions: usize, held: usize) -> Result<(), Fail> {
    let ended = i64::try_from(deletions)?;
    Tally {
        records: before.records + 2 * ended,
        ends: before.ends + ended,
        open: before.open - ended,
        ..before
    }
    .found_at(place, Rival::Sexton)
    .await?;
    if deletions >= DELETIONS && held < AT_ONCE {
        return Err(format!("the provider held {held} calls at once; wanted {AT_ONCE}").into());
    }
    Ok(())
}
