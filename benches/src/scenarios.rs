//! What is measured, each by its name.

mod backlog;
mod chunked;
mod growth;
mod half_load;
mod instructions;
mod latency;
mod pairs;
mod peers;
mod run;
mod slow_steps;
mod snapshot;
mod soak;
mod throughput;
mod waiting;
mod workers;

use sexton::services::Services;

use crate::Fail;
use crate::report::Report;
use crate::rivals::Feed;
pub(crate) use run::{Run, pace};

/// Three, so that one run beside somebody else's compiler does not decide.
const RUNS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    EndToEnd,
    Queued,
    Latency,
    HalfLoad,
    Backlog,
    Workers,
    SlowSteps,
    Waiting,
    Chunked,
    Instructions,
    Peers,
    Growth,
    Snapshot,
    Soak,
}

impl Scenario {
    /// In the order in which they are always measured.
    pub(crate) const ALL: [Scenario; 14] = [
        Scenario::EndToEnd,
        Scenario::Queued,
        Scenario::Latency,
        Scenario::HalfLoad,
        Scenario::Backlog,
        Scenario::Workers,
        Scenario::SlowSteps,
        Scenario::Waiting,
        Scenario::Chunked,
        Scenario::Instructions,
        Scenario::Peers,
        Scenario::Growth,
        Scenario::Snapshot,
        Scenario::Soak,
    ];

    /// All of these together take half an hour; the others take that long each, and run only when they are named.
    pub(crate) fn short() -> Vec<Scenario> {
        let is_short =
            |one: &Scenario| !matches!(one, Scenario::Growth | Scenario::Snapshot | Scenario::Soak);
        Scenario::ALL.into_iter().filter(is_short).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        self.said().0
    }

    pub(crate) fn what(self) -> &'static str {
        self.said().1
    }

    fn said(self) -> (&'static str, &'static str) {
        match self {
            Scenario::EndToEnd => (
                "end-to-end",
                "requests that another process publishes meanwhile, four steps that do nothing, outcomes that a third receives",
            ),
            Scenario::Queued => ("queued", "the same, of requests that were queued before"),
            Scenario::Latency => (
                "latency",
                "one request at a time, from its publish until its outcome is received",
            ),
            Scenario::HalfLoad => (
                "half-load",
                "single requests while another process publishes half of what Sexton carries",
            ),
            Scenario::Backlog => (
                "backlog",
                "admitted deletions that wait, the engine alone; the outbox fills",
            ),
            Scenario::Workers => ("workers", "the same by one worker, by two and by four"),
            Scenario::SlowSteps => (
                "slow-steps",
                "5,000 calls at once to a provider that takes two seconds for each",
            ),
            Scenario::Waiting => (
                "waiting",
                "queued requests beside a million deletions that wait to be tried again",
            ),
            Scenario::Chunked => ("chunked", "a million rows of one target, in chunks"),
            Scenario::Instructions => (
                "instructions",
                "what the program itself does for a saga, counted by callgrind",
            ),
            Scenario::Peers => (
                "peers",
                "the same four durable steps by other systems on the same servers",
            ),
            Scenario::Growth => (
                "growth",
                "queued requests on tables full of what has ended and what waits, against empty ones",
            ),
            Scenario::Snapshot => (
                "snapshot",
                "at saturation, while a transaction in Sexton's own database holds its snapshot",
            ),
            Scenario::Soak => ("soak", "half of what Sexton carries, for an hour"),
        }
    }

    /// `a,b`: those.
    pub(crate) fn named(names: &str) -> Result<Vec<Scenario>, Fail> {
        let names = known(names, &Scenario::ALL.map(Scenario::name))?;
        let wanted = |one: &Scenario| names.contains(&one.name());
        Ok(Scenario::ALL.into_iter().filter(wanted).collect())
    }

    pub(crate) async fn measure(self, services: &Services, report: &mut Report) -> Result<(), Fail> {
        match self {
            Scenario::EndToEnd => throughput::measure(services, Feed::Meanwhile, report).await,
            Scenario::Queued => throughput::measure(services, Feed::Before, report).await,
            Scenario::Latency => latency::measure(services, report).await,
            Scenario::HalfLoad => half_load::measure(services, report).await,
            Scenario::Backlog => backlog::measure(services, report).await,
            Scenario::Workers => workers::measure(services, report).await,
            Scenario::SlowSteps => slow_steps::measure(services, report).await,
            Scenario::Waiting => waiting::measure(services, report).await,
            Scenario::Chunked => chunked::measure(services, report).await,
            Scenario::Instructions => instructions::measure(services, report).await,
            Scenario::Peers => peers::measure(services, report).await,
            Scenario::Growth => growth::measure(services, report).await,
            Scenario::Snapshot => snapshot::measure(services, report).await,
            Scenario::Soak => soak::measure(services, report).await,
        }
    }
}

/// As the environment says, for whoever is in a hurry or has the time.
fn number(name: &str, usual: usize) -> Result<usize, Fail> {
    match std::env::var(name) {
        Err(_) => Ok(usual),
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name}: found {text:?}; wanted a number above zero").into()),
        },
    }
}

/// As the environment says, or all.
fn chosen<'a>(name: &str, all: &[&'a str]) -> Result<Vec<&'a str>, Fail> {
    match std::env::var(name) {
        Err(_) => Ok(all.to_vec()),
        Ok(names) => known(&names, all).map_err(|error| format!("{name}: {error}").into()),
    }
}

/// Those that a list with commas names, of all that there are.
fn known<'a>(names: &str, all: &[&'a str]) -> Result<Vec<&'a str>, Fail> {
    let find = |name: &str| all.iter().find(|one| **one == name).copied();
    names
        .split(',')
        .map(str::trim)
        .map(|name| {
            find(name)
                .ok_or_else(|| format!("nothing is called {name:?}; there are {}", all.join(", ")).into())
        })
        .collect()
}
