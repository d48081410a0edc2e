//! `make storm`: thousands of deletions over three workers, a cluster of three brokers and a Postgres that are killed,
//! stopped, cut off and starved; and then a judge that shares no line with Sexton looks at what is left of the world.
//!
//! Same seed, same requests, same schedule of faults. What happens at the same moment is the machine's, so a run is not
//! repeated to the instruction; what it shows is printed by the judge. Not part of the product.

mod asks;
mod checker;
mod crew;
mod ear;
mod faults;
mod forgeries;
mod ground;
mod proxy;
mod publisher;
mod report;
mod say;
mod settle;
mod weather;
mod world;
#[path = "../worlds/mod.rs"]
mod worlds;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use checker::Evidence;
use crew::Crew;
use ear::Ear;
use ground::Ground;
use publisher::Posted;
use say::say;
use world::World;

pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// The shell's convention for a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;
/// Requests a second where there is no weather to spread them over.
const CALM_RATE: f64 = 60.0;
/// Requests still come while the last faults pass.
const ASKED_WITHIN: f64 = 0.95;
const REVEAL_EVERY: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// As many as there can be sessions to restore.
const SOFT_MAX: usize = 65_536;

#[derive(Parser)]
#[command(about = "Deletes thousands of things while everything fails, and judges what came of it")]
struct Options {
    /// What the world, the requests and the schedule of faults follow from; drawn if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 20_000)]
    deletions: usize,
    /// How often each kind of fault comes; 0 is a calm day.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Between the beginnings of two faults, in the mean.
    #[arg(long, default_value_t = 5_000)]
    gap_ms: u64,
    /// A small file system for the archive that may be filled; without it that fault is left out.
    #[arg(long)]
    disk: Option<PathBuf>,
    /// Where logs are kept.
    #[arg(long, default_value = "target/storm")]
    logs: PathBuf,
    /// All of it is to be over by then.
    #[arg(long, default_value_t = 3_600)]
    within_s: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            _ => return ExitCode::FAILURE,
        };
    say!(
        "storm, seed {seed}: {} deletions, every fault {} times",
        options.deletions,
        options.rounds
    );
    let ended = tokio::select! {
        ended = storm(&options, seed) => ended,
        _ = interrupt.recv() => return ExitCode::from(INTERRUPTED),
        _ = terminate.recv() => return ExitCode::from(INTERRUPTED),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            say::to_stderr(format_args!("storm, seed {seed}: {fault}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was lost, done twice or stuck.
async fn storm(options: &Options, seed: u64) -> Result<bool, Fault> {
    let began = Instant::now();
    let logs = std::path::absolute(&options.logs)?.join(format!("seed-{seed}"));
    let _none_yet = std::fs::remove_dir_all(&logs);
    let world = Arc::new(World::from_seed(seed, options.deletions));
    let schedule = faults::schedule(seed, options.rounds, Duration::from_millis(options.gap_ms));
    let span = match schedule.is_empty() {
        true => Duration::from_secs_f64(options.deletions as f64 / CALM_RATE),
        false => faults::length(&schedule).mul_f64(ASKED_WITHIN),
    };
    let asks = asks::all(&world, seed, span);
    say!("Starting three brokers, Postgres and a cloud; filling the worlds");
    let ground = Arc::new(Ground::prepare(seed, &logs, options.disk.clone()).await?);
    let client = reqwest::Client::builder().no_proxy().build()?;
    world.fill(&ground.stores).await?;
    world.fill_cloud(&client, &ground.cloud_url).await?;
    let deletions: usize = asks.iter().map(|ask| ask.requests.len()).sum();
    match &options.disk {
        Some(disk) => say!(
            "The archive's disk is a file system of its own, which is filled to its last byte: {}",
            disk.display()
        ),
        None => {
            say!("The archive's disk is NOT filled: this user may not mount a small one (see scripts/storm)")
        }
    }
    say!(
        "{} messages with {deletions} requests over {span:.0?}; logs in {}\n",
        asks.len(),
        logs.display()
    );
    say!("schedule of seed {seed}");
    for fault in &schedule {
        say!("  {fault}");
    }
    say!("\n{:.0?} after the start it begins", began.elapsed());

    let crew = Crew::start(&ground);
    let (soft, softly) = mpsc::channel(SOFT_MAX);
    let ear = Ear::open(ground.amqp_url.clone(), soft).await?;
    let first = Instant::now();
    let (mut were, mut posted) = (Vec::new(), Posted::default());
    let passing = async {
        let weather = weather::pass(schedule, first, &ground, &crew, &mut were);
        let publisher = publisher::publish(ground.amqp_url.clone(), &asks, softly, &mut posted);
        tokio::try_join!(weather, publisher)?;
        say!(
            "  {:7.1} s  the last fault is over and everything is asked for",
            first.elapsed().as_secs_f64()
        );
        world.reveal(&ground.stores, &client, &ground.cloud_url).await?;
        settle::settled(&ground, &asks, &ear, first).await
    };
    // Whatever is missing by then, the judge says so.
    let in_time = tokio::select! {
        settled = passing => settled.map(|()| true)?,
        never = meanwhile(&world, &ground, &client, &ear, first) => match never {},
        () = tokio::time::sleep_until((began + Duration::from_secs(options.within_s)).into()) => false,
    };
    let took = first.elapsed();
    let takeovers = report::takeovers(&ground.sexton).await?;
    let (ended, tally) = crew.stop().await;
    ear.close();

    let heard = ear.take();
    let evidence = Evidence {
        world: &world,
        asks: &asks,
        posted: &posted,
        heard: &heard,
        stores: &ground.stores,
        sexton: &ground.sexton,
        cloud_url: &ground.cloud_url,
        amqp_url: &ground.amqp_url,
        archive: &ground.archive,
    };
    let mut verdict = checker::judge(&evidence).await?;
    if !in_time {
        let wanted = options.within_s;
        verdict
            .stuck
            .push(format!("not over within {wanted} s; wanted it to end by itself"));
    }
    report::of_workers(&ended, &tally, &mut verdict);
    let storm = report::Storm {
        took,
        deletions,
        were: &were,
        posted: &posted,
        heard: &heard,
        tally: &tally,
        halved: ground.halved(),
        takeovers,
    };
    report::figures(&storm, &ground.sexton, &verdict).await?;
    report::verdict(&verdict);
    let sees = judge_sees(&evidence, &heard).await?;
    if let Some(ground) = Arc::into_inner(ground) {
        ground.close().await?;
    }
    say!("\nstorm, seed {seed}, {:.0?} in all", began.elapsed());
    say!("{}", verdict.line());
    Ok(verdict.is_well() && sees)
}

/// The last thing that is done with this world: afterwards it is no evidence any more.
async fn judge_sees(evidence: &Evidence<'_>, heard: &ear::Heard) -> Result<bool, Fault> {
    let (forgeries, missed) = forgeries::undetected(evidence, heard.clone()).await?;
    say!(
        "  {:>7} of {forgeries} forgeries found by the judge afterwards",
        forgeries - missed.len()
    );
    for what in &missed {
        say!("  the judge does not notice {what}");
    }
    Ok(missed.is_empty())
}

/// What goes on beside the storm: machines come to light, and now and then a word on where it is.
async fn meanwhile(
    world: &World,
    ground: &Ground,
    client: &reqwest::Client,
    ear: &Ear,
    first: Instant,
) -> std::convert::Infallible {
    let mut reveal = tokio::time::interval_at((first + REVEAL_EVERY).into(), REVEAL_EVERY);
    let mut tell = tokio::time::interval_at((first + TELL_EVERY).into(), TELL_EVERY);
    loop {
        tokio::select! {
            // Postgres may be away; the next round says it again.
            _ = reveal.tick() => drop(world.reveal(&ground.stores, client, &ground.cloud_url).await),
            _ = tell.tick() => {
                let outcomes = ear.with(|heard| heard.events.values().filter(|event| event.is_final()).count());
                let left = settle::standing(ground).await.unwrap_or_else(|| "Postgres is away".to_owned());
                say!("  {:7.1} s  … {outcomes} outcomes heard, {left}", first.elapsed().as_secs_f64());
            }
        }
    }
}
