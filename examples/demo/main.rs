//! `make demo`: the main job from end to end, on real servers, with a worker killed in the middle; and then a look at
//! the world itself, whether everything is as it was promised. Not part of the product.
//!
//! The order is the story: fill, publish, kill, wait, count, check, clear away. It ends with 0 only if nothing is off.

mod checks;
mod doors;
mod fill;
mod ledger;
mod others;
mod play;
mod progress;
mod requests;
mod say;
mod stage;
mod table;
#[path = "../worlds/mod.rs"]
mod worlds;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};

use others::Others;
use say::say;
use stage::Stage;
use worlds::estate::Estate;
use worlds::platform;

pub(crate) type Fault = Box<dyn Error + Send + Sync>;

const SETTINGS: &str = include_str!("../../deploy/demo/sexton.toml");
/// From the first server to the last one removed: what is promised of it. A sixth of this is usual on two idle cores.
const WHOLE_MAX: Duration = Duration::from_secs(180);
/// The shell's convention for a process that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(about = "Deletes in five worlds, kills the worker in the middle, and checks the worlds afterwards")]
struct Options {
    /// What the estate and the cloud's faults follow from.
    #[arg(long, default_value_t = 20_260)]
    seed: u64,
    /// How many computers go.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(30..=5_000))]
    computers: u32,
    /// The share of the cloud's answers that go wrong, 0 to 1.
    #[arg(long, default_value_t = 0.2)]
    faults: f64,
    /// Also show why attempts were not the last ones.
    #[arg(long)]
    reasons: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match show(&options).await {
        Ok(code) => code,
        Err(fault) => {
            say::to_stderr(format_args!("demo: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn show(options: &Options) -> Result<ExitCode, Fault> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut asked = std::pin::pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let began = Instant::now();
    say!("Starting Postgres, RabbitMQ and a cloud");
    let mut stage = tokio::select! {
        stage = Stage::open() => stage?,
        () = &mut asked => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let ended = tokio::select! {
        ended = story(options, &mut stage) => Some(ended),
        () = tokio::time::sleep_until((began + WHOLE_MAX).into()) => {
            Some(Err(format!("not at its end after {WHOLE_MAX:.0?}; wanted it done by then").into()))
        }
        () = &mut asked => None,
    };
    if matches!(ended, Some(Ok(false))) {
        say!("\nThe last words of the worker:\n{}", stage.last_words());
    }
    stage.close().await?;
    match ended {
        Some(Ok(all_well)) => {
            let took = began.elapsed();
            say!("\n{took:.0?} in all, everything stopped and removed");
            let in_time = took <= WHOLE_MAX;
            if !in_time {
                say!("  ✗ it took longer than {WHOLE_MAX:.0?}");
            }
            Ok(if all_well && in_time {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Some(Err(fault)) => Err(fault),
        None => {
            say!("\ninterrupted; everything stopped and removed");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Whether the world is as it was promised.
async fn story(options: &Options, stage: &mut Stage) -> Result<bool, Fault> {
    let (seed, faults) = (options.seed.to_string(), options.faults.to_string());
    let cloud = ["--seed", &seed, "--faults", &faults, "--terminate-ms", "1200"];
    stage.furnish(&cloud).await?;
    stage.settings(SETTINGS)?;
    stage.migrate().await?;

    let computers = usize::try_from(options.computers)?;
    let estate = Estate::from_seed(options.seed, computers);
    let factory = PgPool::connect(&stage.platform_url).await?;
    let sexton = PgPool::connect(&stage.sexton_url).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    platform::fill(&factory, &estate).await?;
    fill::cloud(&client, &stage.cloud_url, &estate).await?;
    say!(
        "{} computers of {} organizations; {computers} of them are to go",
        estate.computers.len(),
        estate.organizations.len(),
    );

    let others = Others::fill(stage, &factory, options.seed).await?;
    say!(
        "and {} sessions of Factory, {} of Powerdrill, {} of Pave, {} of Agno",
        others.sessions.len(),
        others.powerdrill.len(),
        others.pave.len(),
        others.agno.len(),
    );

    let played = play::play(stage, &estate, &others, &factory, &sexton).await?;
    let stopped = stage.stop_worker().await?;
    table::print(&sexton, &played).await?;
    if options.reasons {
        table::reasons(&sexton).await?;
    }
    let world = checks::World {
        stage,
        estate: &estate,
        others: &others,
        played: &played,
        platform: &factory,
        sexton: &sexton,
        client: &client,
        stopped,
    };
    let all_well = checks::all(&world).await?;
    let all_well = doors::show(stage, &factory, &others).await? && all_well;
    others.close().await;
    factory.close().await;
    sexton.close().await;
    Ok(all_well)
}
