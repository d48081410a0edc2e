//! How fast a second Sexton is, against what it could be, and what each deletion costs.
//!
//! Every scenario is measured in turns with the *bare program* ([`bare`]): the same messages and rows without any logic, in the
//! same servers. Machines differ and are busy with other things; the ratio of the two is what can be compared.
//! `docs/performance.md` says what is measured and how to repeat it.
#![forbid(unsafe_code)]

mod asking;
mod bare;
mod batched;
mod costs;
mod drain;
mod fill;
mod listening;
mod load;
mod messages;
mod peer;
mod place;
mod plot;
mod program;
mod provider;
mod report;
mod rivals;
mod sampling;
mod scenarios;
mod single;
mod svg;
mod tally;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use sexton::services::{Ending, Options, Services};
use sqlx::{Connection, Executor, PgConnection};

use report::Report;
use scenarios::Scenario;

type Fail = Box<dyn Error + Send + Sync>;

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
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure(&Scenario::short()).await,
        // Started again by itself, so that each of these has a process of its own, as Sexton has.
        [bare::WORD | single::WORD | batched::WORD, "migrate"] => {
            bare::migrate().await.map(|()| ExitCode::SUCCESS)
        }
        [bare::WORD, "run"] => bare::run().await.map(|()| ExitCode::SUCCESS),
        [batched::WORD, "run"] => batched::run().await.map(|()| ExitCode::SUCCESS),
        [single::WORD, "run"] => single::run().await.map(|()| ExitCode::SUCCESS),
        [messages::WORD, requests] => messages::publish_as_told(requests)
            .await
            .map(|()| ExitCode::SUCCESS),
        [provider::WORD, address] => provider::run(address).await.map(|()| ExitCode::SUCCESS),
        [load::WORD, rate, seconds] => load::publish_as_told(rate, seconds)
            .await
            .map(|()| ExitCode::SUCCESS),
        [names] => measure(&Scenario::named(names)?).await,
        _ => Err(
            format!("found {words:?}; wanted names of scenarios with commas between them, or nothing").into(),
        ),
    }
}

/// Durable as they come. A fresh Postgres keeps 128 MB of pages in memory, which nobody leaves at that who has a gigabyte.
async fn servers() -> Result<Services, Fail> {
    let mut services = Services::start(Options::private()).await?;
    let mut connection = PgConnection::connect(&services.urls.database_url).await?;
    connection
        .execute("alter system set shared_buffers = '1GB'")
        .await?;
    connection.close().await?;
    services.stop_postgres(Ending::Clean).await?;
    services.start_postgres().await?;
    Ok(services)
}

async fn measure(scenarios: &[Scenario]) -> Result<ExitCode, Fail> {
    let mut report = Report::default();
    for scenario in scenarios {
        report::tell(&format!("{}: {}", scenario.name(), scenario.what()));
        // Servers of its own for each: nobody inherits what another left in caches and logs.
        let services = servers().await?;
        let measured = scenario.measure(&services, &mut report).await;
        services.stop().await?;
        measured?;
        report.keep(*scenario)?;
    }
    Ok(report.judge())
}
