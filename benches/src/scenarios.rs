//! What is measured, each by its name.

mod latency;
mod throughput;

use sexton::services::Services;

use crate::Fail;
use crate::report::Report;
use crate::rivals::Feed;
pub(crate) use throughput::Run;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    EndToEnd,
    Queued,
    Latency,
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 3] = [Scenario::EndToEnd, Scenario::Queued, Scenario::Latency];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::EndToEnd => "end-to-end",
            Scenario::Queued => "queued",
            Scenario::Latency => "latency",
        }
    }

    pub(crate) fn what(self) -> &'static str {
        match self {
            Scenario::EndToEnd => {
                "requests that another process publishes meanwhile, four steps that do nothing, outcomes that a third receives"
            }
            Scenario::Queued => "the same, of requests that were queued before",
            Scenario::Latency => "one request at a time, from its publish until its outcome is received",
        }
    }

    /// `a,b`: those, in the order in which they are always measured.
    pub(crate) fn named(names: &str) -> Result<Vec<Scenario>, Fail> {
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let known = |name: &&str| Scenario::ALL.iter().any(|one| one.name() == *name);
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let all = Scenario::ALL.map(Scenario::name).join(", ");
            return Err(format!("no scenario is called {unknown:?}; there are {all}").into());
        }
        let wanted = |one: &Scenario| names.contains(&one.name());
        Ok(Scenario::ALL.into_iter().filter(wanted).collect())
    }

    pub(crate) async fn measure(self, services: &Services, report: &mut Report) -> Result<(), Fail> {
        match self {
            Scenario::EndToEnd => throughput::measure(services, Feed::Meanwhile, report).await,
            Scenario::Queued => throughput::measure(services, Feed::Before, report).await,
            Scenario::Latency => latency::measure(services, report).await,
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
