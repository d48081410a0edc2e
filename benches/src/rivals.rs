//! One run of one rival, from an empty database and a full queue to the last outcome. Each is a process of its own with
//! a database and a vhost of its own.

use std::ffi::OsString;
use std::time::Duration;

use sexton::services::Services;
use tokio::process::Command;

use crate::costs::Meter;
use crate::messages::{Asker, Outcomes, WORD as PUBLISH, drain_begins, preload, somebody_reads};
use crate::place::{Place, Stage};
use crate::program::Program;
use crate::scenarios::{Run, pace};
use crate::tally::Tally;
use crate::{Fail, bare, batched, single};

const WARM_UP: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    Sexton,
    Bare,
    /// Bare, one request at a time.
    Single,
    /// Bare, of deletions that are admitted already, without a broker.
    Batched,
}

/// When the requests come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// All of them are queued.
    Before,
    /// By another process, as fast as the broker takes them.
    Meanwhile,
}

impl Rival {
    /// Sexton and its base in this turn. Whoever goes first finds a fresher disk; that is each one's luck in turn.
    pub(crate) fn in_turn(turn: usize, base: Rival) -> [Rival; 2] {
        match turn % 2 {
            0 => [Rival::Sexton, base],
            _ => [base, Rival::Sexton],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Rival::Sexton => "sexton",
            Rival::Bare => bare::WORD,
            Rival::Single => single::WORD,
            Rival::Batched => batched::WORD,
        }
    }

    /// Of its tables, which have the same names with all.
    pub(crate) fn schema(self) -> &'static str {
        match self {
            Rival::Sexton => "sexton",
            Rival::Bare | Rival::Single | Rival::Batched => "bare",
        }
    }

    /// The program itself, with what says who it is.
    fn itself(self, place: &Place) -> Result<Vec<OsString>, Fail> {
        let exe = std::env::current_exe()?;
        Ok(match self {
            Rival::Sexton => vec![
                exe.with_file_name("sexton").into(),
                "--config".into(),
                place.settings.clone().into(),
            ],
            _ => vec![exe.into(), self.name().into()],
        })
    }

    fn start(self, place: &Place, under: &[&str], words: &[&str]) -> Result<Program, Fail> {
        let as_words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut all = [as_words(under), self.itself(place)?, as_words(words)]
            .concat()
            .into_iter();
        let mut command = Command::new(all.next().ok_or("nothing to start")?);
        place.furnish(command.args(all));
        Program::start(self.name(), command)
    }

    /// With its tables, for the turn that `name` tells.
    pub(crate) async fn settle(self, services: &Services, name: &str, stage: &Stage) -> Result<Place, Fail> {
        let place = Place::make(services, &format!("{}_{name}", self.name()), stage).await?;
        self.start(&place, &[], &["migrate"])?.ended().await?;
        Ok(place)
    }

    pub(crate) fn run(self, place: &Place) -> Result<Program, Fail> {
        self.run_under(place, &[])
    }

    /// With words before it: a tool that watches it.
    pub(crate) fn run_under(self, place: &Place, under: &[&str]) -> Result<Program, Fail> {
        self.start(place, under, &["run"])
    }

    /// Only what carries deletions out.
    pub(crate) fn run_engine(self, place: &Place) -> Result<Program, Fail> {
        let words: &[&str] = match self {
            Rival::Sexton => &["run", "--role", "engine"],
            _ => &["run"],
        };
        self.start(place, &[], words)
    }
}

/// So many sagas in a place of their own.
pub(crate) async fn measure(
    services: &Services,
    rival: Rival,
    feed: Feed,
    turn: usize,
    requests: usize,
) -> Result<Run, Fail> {
    let place = rival.settle(services, &turn.to_string(), &Stage::noop()).await?;
    let run = measure_at(services, &place, rival, feed, requests).await?;
    place.clear(services).await?;
    Ok(run)
}

/// So many sagas, from when the first request is taken (or published) to the last outcome.
pub(crate) async fn measure_at(
    services: &Services,
    place: &Place,
    rival: Rival,
    feed: Feed,
    requests: usize,
) -> Result<Run, Fail> {
    let before = Tally::read(place, rival).await?;
    let mut outcomes = Outcomes::listen(&place.amqp_url).await?;
    if feed == Feed::Before {
        preload(&place.amqp_url, requests).await?;
    }
    let meter = Meter::begin(services, &place.name).await?;
    let mut program = rival.run(place)?;
    let mut publisher = None;
    let began = match feed {
        Feed::Before => program.meanwhile(drain_begins(&place.amqp_url, requests)).await?,
        Feed::Meanwhile => {
            program.meanwhile(somebody_reads(&place.amqp_url)).await?;
            let (child, began) = Program::again(place, &[PUBLISH.into(), requests.to_string()]).await?;
            publisher = Some(child);
            began
        }
    };
    let last = program.count(&mut outcomes, requests).await?;
    let (cpu, peak_kib) = (program.cpu(), program.peak_kib());
    program.stop().await?;
    if let Some(publisher) = publisher {
        publisher.ended().await?;
    }
    let mut spent = meter.end(services, cpu).await?;
    spent.peak_kib = peak_kib;
    spent.messages = requests + outcomes.delivered;
    let pace = pace(began, &outcomes.moments);
    drop(outcomes);
    spent.dead_rows = before.and(requests)?.found_at(place, rival).await?.dead;
    Ok(Run {
        sagas: requests,
        took: last - began,
        spent,
        pace,
    })
}

/// How long each of so many had to wait that were asked for one after the other.
pub(crate) async fn one_at_a_time(
    services: &Services,
    rival: Rival,
    turn: usize,
    requests: usize,
) -> Result<Vec<Duration>, Fail> {
    let place = rival.settle(services, &turn.to_string(), &Stage::noop()).await?;
    let mut outcomes = Outcomes::listen(&place.amqp_url).await?;
    let mut program = rival.run(&place)?;
    program.meanwhile(somebody_reads(&place.amqp_url)).await?;
    let asker = Asker::open(&place.amqp_url).await?;
    let mut waits = Vec::with_capacity(requests);
    // The first ones find nothing prepared.
    for nth in 0..WARM_UP + requests {
        let waited = program.meanwhile(asker.ask(&mut outcomes)).await?;
        if nth >= WARM_UP {
            waits.push(waited);
        }
    }
    program.stop().await?;
    drop(outcomes);
    Tally::default()
        .and(WARM_UP + requests)?
        .found_at(&place, rival)
        .await?;
    place.clear(services).await?;
    Ok(waits)
}
