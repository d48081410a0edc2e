//! The other systems on the same servers, and Sexton beside them: a queue against its backlog, whoever carries durable
//! executions against it from end to end. One run each, since peers that are a hundred times slower need no spread.

use sexton::services::Services;

use super::throughput::REQUESTS;
use super::{Run, chosen, number};
use crate::Fail;
use crate::drain::drain;
use crate::peer::{Craft, Peer};
use crate::report::{Report, Wanted, tell};
use crate::rivals::{self, Feed, Rival};

/// The queue that hands over in batches, as we do.
const BATCHED: &str = "pg-boss";
/// In hundredths of each peer's usual number.
const SHARE: usize = 100;

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let share = number("BENCH_PEER_SHARE", SHARE)?;
    let requests = number("BENCH_REQUESTS", REQUESTS)?;
    let all = Peer::ALL.map(|peer| peer.name);
    let wanted = chosen("BENCH_PEERS", &all)?;
    let mut rates = Vec::new();
    for peer in Peer::ALL.iter().filter(|peer| wanted.contains(&peer.name)) {
        let sagas = (peer.sagas * share / SHARE).max(1);
        match carry_out(services, peer, sagas).await {
            Ok(Some(rate)) => {
                tell(&format!("  {:<16} {rate:>7.0} sagas/s of {sagas}", peer.name));
                rates.push((peer, rate));
            }
            Ok(None) => {}
            Err(error) => tell(&format!("  {:<16} failed: {}", peer.name, one_line(&error))),
        }
    }
    let backlog = drain(services, Rival::Sexton, 0, requests, 1).await?;
    backlog.tell(0, "backlog");
    let end_to_end = rivals::measure(services, Rival::Sexton, Feed::Meanwhile, 0, requests).await?;
    end_to_end.tell(0, "end to end");
    report.begin_table("sexton", "peer");
    let (mut batched, mut best_durable): (Option<f64>, Option<f64>) = (None, None);
    for (peer, rate) in rates {
        let ours = match peer.craft {
            Craft::Queue => Run::per_second(&backlog),
            Craft::Durable => Run::per_second(&end_to_end),
        };
        let ratio = report.compare(peer.name, 0, &[ours], &[rate]);
        report.ratio(&format!("vs-{}", peer.name), ratio);
        if peer.name == BATCHED {
            batched = Some(ratio);
        }
        if peer.craft == Craft::Durable {
            best_durable = Some(best_durable.map_or(ratio, |least| least.min(ratio)));
        }
    }
    // Without the peer there is nothing to judge, and the bar is not there either.
    if let Some(ratio) = batched {
        report.bar(
            "backlog / pg-boss, preloaded",
            ratio,
            Wanted::AtLeast { bar: 2.0, aim: 3.0 },
        );
    }
    if let Some(ratio) = best_durable {
        report.bar(
            "end to end / best of Restate, DBOS and Temporal",
            ratio,
            Wanted::AtLeast { bar: 5.0, aim: 10.0 },
        );
    }
    Ok(())
}

/// Nothing if it cannot be had here; that is said.
async fn carry_out(services: &Services, peer: &Peer, sagas: usize) -> Result<Option<f64>, Fail> {
    match peer.set_up(services).await? {
        Some(why) => {
            tell(&format!("  {:<16} skipped: {why}", peer.name));
            Ok(None)
        }
        None => Ok(Some(peer.run(services, sagas).await?)),
    }
}

fn one_line(error: &Fail) -> String {
    error.to_string().replace('\n', " ")
}
