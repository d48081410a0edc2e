//! Which faults there are, and the schedule of a storm. It follows from the seed alone: what is hit, when, and for how long.
//!
//! Faults of one victim never overlap, and a majority of the brokers is away only in the fault that is about that. Kinds
//! come out of a bag: each comes once before any comes twice.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::worlds::draw::Draw;

pub(crate) const WORKERS: usize = 3;
/// A node of RabbitMQ needs up to this until it is in the cluster again.
const NODE_AGAIN_MS: u64 = 16_000;
/// A worker's lease is 9 s: for so long at least it is stopped.
const FROZEN_MIN_MS: u64 = 11_000;
const PAUSE_MS: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillWorker,
    FreezeWorker,
    KillPostgres,
    StopNode,
    KillNode,
    StopMajority,
    Stall(Service),
    Cut(Service),
    Delay(Service),
    FillDisk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Postgres,
    Broker,
    Provider,
}

pub(crate) const SERVICES: [Service; 3] = [Service::Postgres, Service::Broker, Service::Provider];

impl Service {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Service::Postgres => "postgres",
            Service::Broker => "broker",
            Service::Provider => "provider",
        }
    }
}

pub(crate) fn kinds() -> Vec<Kind> {
    let mut all = vec![
        Kind::StopNode,
        Kind::KillWorker,
        Kind::FreezeWorker,
        Kind::KillPostgres,
        Kind::FillDisk,
        Kind::KillNode,
        Kind::StopMajority,
    ];
    for of in [Kind::Stall, Kind::Cut, Kind::Delay] {
        all.extend(SERVICES.map(of));
    }
    all
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::KillWorker => f.write_str("worker killed"),
            Kind::FreezeWorker => f.write_str("worker stopped past its lease"),
            Kind::KillPostgres => f.write_str("postgres killed"),
            Kind::StopNode => f.write_str("broker node stopped"),
            Kind::KillNode => f.write_str("broker node killed"),
            Kind::StopMajority => f.write_str("two broker nodes stopped"),
            Kind::Stall(service) => write!(f, "{} stalled", service.word()),
            Kind::Cut(service) => write!(f, "{} cut in half", service.word()),
            Kind::Delay(service) => write!(f, "{} delayed", service.word()),
            Kind::FillDisk => f.write_str("archive's disk full"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// A worker, a node, or whose way it is; of those of which there is one, 0.
    pub(crate) victim: usize,
    pub(crate) lasts: Duration,
    /// How much, where there is a how much: the delay of each chunk.
    pub(crate) by: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{at:7.1} s  {:<30}", self.kind.to_string())?;
        match self.kind {
            Kind::KillPostgres | Kind::FillDisk => write!(f, "   ")?,
            _ => write!(f, " #{}", self.victim + 1)?,
        }
        write!(f, "  for {lasts:.1} s")?;
        if !self.by.is_zero() {
            write!(f, ", each chunk by {} ms", self.by.as_millis())?;
        }
        Ok(())
    }
}

/// `rounds` times every kind, one after the other with `gap` between their beginnings, more where a victim is not free.
pub(crate) fn schedule(seed: u64, rounds: usize, gap: Duration) -> Vec<Fault> {
    let mut draw = Draw::new(seed ^ 0xfa17);
    let gap = ms(gap);
    let mut free: BTreeMap<String, u64> = BTreeMap::new();
    let mut all = Vec::new();
    let mut at = gap;
    for _ in 0..rounds {
        let mut bag = kinds();
        while !bag.is_empty() {
            let kind = bag.swap_remove(draw.below(bag.len()));
            let fault = one(kind, at, &mut draw, &mut free);
            all.push(fault);
            at += gap / 2 + drawn(&mut draw, gap);
        }
    }
    all.sort_by_key(|fault| fault.at);
    all
}

/// When the last of them has ended, as far as the schedule knows.
pub(crate) fn length(all: &[Fault]) -> Duration {
    let ends = all.iter().map(|fault| fault.at + fault.lasts);
    ends.max().unwrap_or_default()
}

fn one(kind: Kind, at: u64, draw: &mut Draw, free: &mut BTreeMap<String, u64>) -> Fault {
    let victim = draw.below(match kind {
        Kind::KillPostgres | Kind::FillDisk => 1,
        _ => WORKERS,
    });
    let (lasts, busy_after) = match kind {
        Kind::KillWorker => (drawn(draw, 12_000), PAUSE_MS),
        Kind::FreezeWorker => (FROZEN_MIN_MS + drawn(draw, 4_000), PAUSE_MS),
        Kind::KillPostgres => (drawn(draw, 3_000), 4_000),
        Kind::StopNode | Kind::KillNode => (1_000 + drawn(draw, 4_000), NODE_AGAIN_MS),
        Kind::StopMajority => (500 + drawn(draw, 2_000), NODE_AGAIN_MS + 4_000),
        Kind::Stall(_) => (2_000 + drawn(draw, 10_000), PAUSE_MS),
        Kind::Cut(_) => (1_000 + drawn(draw, 2_000), PAUSE_MS),
        Kind::Delay(_) => (3_000 + drawn(draw, 5_000), PAUSE_MS),
        Kind::FillDisk => (3_000 + drawn(draw, 5_000), PAUSE_MS),
    };
    let by = match kind {
        Kind::Delay(_) => 20 + drawn(draw, 180),
        _ => 0,
    };
    let whose = match kind {
        Kind::KillWorker | Kind::FreezeWorker => format!("worker {victim}"),
        Kind::StopNode | Kind::KillNode | Kind::StopMajority => "nodes".to_owned(),
        Kind::Stall(service) | Kind::Cut(service) | Kind::Delay(service) => {
            format!("{} {victim}", service.word())
        }
        Kind::KillPostgres | Kind::FillDisk => kind.to_string(),
    };
    let at = at.max(free.get(&whose).copied().unwrap_or(0));
    free.insert(whose, at + lasts + busy_after);
    let [at, lasts, by] = [at, lasts, by].map(Duration::from_millis);
    Fault {
        at,
        kind,
        victim,
        lasts,
        by,
    }
}

fn drawn(draw: &mut Draw, below_ms: u64) -> u64 {
    draw.below(usize::try_from(below_ms).unwrap_or(1)) as u64
}

fn ms(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}
