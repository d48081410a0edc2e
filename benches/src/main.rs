//! How many deletions a second Sexton carries from the request's queue to the confirmed outcome, and what each costs.
//!
//! Beside it runs the *bare program* ([`bare`]): the same messages and rows without any logic, in the same servers, in
//! turns with Sexton. Machines differ and are busy with other things; the ratio of the two is what can be compared.
//! `BENCH_RUNS` and `BENCH_REQUESTS` change how often and how much.
#![forbid(unsafe_code)]

mod bare;
mod costs;
mod messages;
mod rivals;
mod table;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use sexton::services::{Options, Services};

use rivals::Rival;
use table::Run;

type Fail = Box<dyn Error + Send + Sync>;

/// Three, so that one run beside somebody else's compiler does not decide.
const RUNS: usize = 3;
/// Seconds of work for either rival: start-up and the last half-filled batch vanish in it.
const REQUESTS: usize = 40_000;

fn main() -> ExitCode {
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Fail::from)
        .and_then(|runtime| runtime.block_on(act()));
    done.unwrap_or_else(|error| {
        let mut said = format!("bench: {error}\n");
        let mut cause = error.source();
        while let Some(below) = cause {
            said += &format!("  since {below}\n");
            cause = below.source();
        }
        let _ = std::io::stderr().write_all(said.as_bytes());
        ExitCode::FAILURE
    })
}

async fn act() -> Result<ExitCode, Fail> {
    // Started again by itself, so that the bare program has a process of its own, as Sexton has.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare().await,
        [bare::WORD, "migrate"] => bare::migrate().await.map(|()| ExitCode::SUCCESS),
        [bare::WORD, "run"] => bare::run().await.map(|()| ExitCode::SUCCESS),
        _ => Err(format!("no words are known here but none at all; found {words:?}").into()),
    }
}

async fn compare() -> Result<ExitCode, Fail> {
    let runs = number("BENCH_RUNS", RUNS)?;
    let requests = number("BENCH_REQUESTS", REQUESTS)?;
    table::tell(&format!(
        "{requests} requests of four steps that do nothing, {runs} runs each, in turns; Postgres with fsync"
    ));
    let services = Services::start(Options::private()).await?;
    let measured = measure_all(&services, runs, requests).await;
    services.stop().await?;
    let (sexton, bare) = measured?;
    Ok(table::judge(&sexton, &bare))
}

async fn measure_all(
    services: &Services,
    runs: usize,
    requests: usize,
) -> Result<(Vec<Run>, Vec<Run>), Fail> {
    let (mut sexton, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..runs {
        // Whoever goes first finds a fresher disk; that is each one's luck in turn.
        let mut order = [Rival::Sexton, Rival::Bare];
        if turn % 2 == 1 {
            order.reverse();
        }
        for rival in order {
            let run = rivals::measure(services, rival, turn, requests).await?;
            table::say(rival, turn, &run);
            match rival {
                Rival::Sexton => sexton.push(run),
                Rival::Bare => bare.push(run),
            }
        }
    }
    Ok((sexton, bare))
}

fn number(name: &str, usual: usize) -> Result<usize, Fail> {
    match std::env::var(name) {
        Err(_) => Ok(usual),
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name}: found {text:?}; wanted a number above zero").into()),
        },
    }
}
