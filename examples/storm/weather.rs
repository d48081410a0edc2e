//! Carries out the schedule: each fault at its time, whatever the others are doing, and its end as well.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sexton::services::{Ending, NODES};
use time::OffsetDateTime;

use crate::Fault;
use crate::crew::Crew;
use crate::faults::{self, Kind};
use crate::ground::Ground;
use crate::say::say;

/// While a way is being cut, whatever connects again is cut again.
const CUT_EVERY: Duration = Duration::from_millis(400);

/// A fault as it was, by the wall.
pub(crate) struct Was {
    pub(crate) kind: Kind,
    pub(crate) ended_at: OffsetDateTime,
}

/// Returns when the last fault has ended. A fault that cannot be carried out ends the storm.
pub(crate) async fn pass(
    schedule: Vec<faults::Fault>,
    began: Instant,
    ground: &Ground,
    crew: &Crew,
    were: &mut Vec<Was>,
) -> Result<(), Fault> {
    // All in one task: none of them computes.
    let mut all: FuturesUnordered<_> = schedule
        .into_iter()
        .map(|fault| one(fault, began, ground, crew))
        .collect();
    while let Some(was) = all.next().await {
        were.push(was?);
    }
    Ok(())
}

async fn one(fault: faults::Fault, began: Instant, ground: &Ground, crew: &Crew) -> Result<Was, Fault> {
    tokio::time::sleep_until((began + fault.at).into()).await;
    let at = began.elapsed();
    carry_out(fault, ground, crew)
        .await
        .map_err(|error| -> Fault { format!("{fault}: {error}").into() })?;
    let ended_at = sexton::clock::now();
    say!(
        "  {:7.1} s  {} #{}: over after {:.1} s",
        began.elapsed().as_secs_f64(),
        fault.kind,
        fault.victim + 1,
        (began.elapsed() - at).as_secs_f64()
    );
    Ok(Was {
        kind: fault.kind,
        ended_at,
    })
}

async fn carry_out(fault: faults::Fault, ground: &Ground, crew: &Crew) -> Result<(), Fault> {
    let place = fault.victim;
    match fault.kind {
        Kind::KillWorker => crew.kill(place, fault.lasts).await,
        Kind::FreezeWorker => crew.freeze(place, fault.lasts).await,
        Kind::KillPostgres => {
            ground.kill_postgres().await?;
            tokio::time::sleep(fault.lasts).await;
            ground.start_postgres().await?;
        }
        Kind::StopNode => node(ground, place, Ending::Clean, fault.lasts).await?,
        Kind::KillNode => node(ground, place, Ending::Kill, fault.lasts).await?,
        Kind::StopMajority => {
            let other = (place + 1) % NODES;
            tokio::try_join!(
                node(ground, place, Ending::Clean, fault.lasts),
                node(ground, other, Ending::Clean, fault.lasts)
            )?;
        }
        Kind::Stall(service) => {
            let ways = ground.ways(service, place);
            ways.iter().for_each(|way| way.stall(true));
            tokio::time::sleep(fault.lasts).await;
            ways.iter().for_each(|way| way.stall(false));
        }
        Kind::Delay(service) => {
            let ways = ground.ways(service, place);
            ways.iter().for_each(|way| way.delay(fault.by));
            tokio::time::sleep(fault.lasts).await;
            ways.iter().for_each(|way| way.delay(Duration::ZERO));
        }
        Kind::Cut(service) => {
            let until = Instant::now() + fault.lasts;
            while Instant::now() < until {
                ground.ways(service, place).iter().for_each(|way| way.cut());
                tokio::time::sleep(CUT_EVERY).await;
            }
        }
        Kind::FillDisk if ground.can_fill_disk() => {
            ground.fill_disk()?;
            tokio::time::sleep(fault.lasts).await;
            ground.free_disk()?;
        }
        Kind::FillDisk => {}
    }
    Ok(())
}

async fn node(ground: &Ground, place: usize, ending: Ending, away: Duration) -> Result<(), Fault> {
    ground.cluster.stop_node(place, ending).await?;
    tokio::time::sleep(away).await;
    Ok(ground.cluster.start_node(place).await?)
}

/// How often each kind was.
pub(crate) fn count(were: &[Was]) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for was in were {
        *counts.entry(was.kind).or_default() += 1;
    }
    counts
}
