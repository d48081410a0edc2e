//! The figures of a storm, and its verdict.

use std::process::ExitStatus;
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;

use crate::Fault;
use crate::checker::Verdict;
use crate::crew::Tally;
use crate::ear::Heard;
use crate::publisher::Posted;
use crate::say::say;
use crate::weather::{self, Was};

/// Of each fault of the system so many are shown; the rest repeats them.
const SHOWN_MAX: usize = 15;

pub(crate) struct Storm<'a> {
    pub(crate) took: Duration,
    pub(crate) deletions: usize,
    pub(crate) were: &'a [Was],
    pub(crate) posted: &'a Posted,
    pub(crate) heard: &'a Heard,
    pub(crate) tally: &'a Tally,
    pub(crate) halved: u64,
    pub(crate) takeovers: i64,
}

/// Workers whose lease ran out. To be counted before they are stopped: what is signed off is taken over as well.
pub(crate) async fn takeovers(sexton: &PgPool) -> Result<i64, Fault> {
    let lost = "select count(*) from sexton.workers where lost_at is not null";
    Ok(sqlx::query_scalar(lost).fetch_one(sexton).await?)
}

pub(crate) async fn figures(storm: &Storm<'_>, sexton: &PgPool, verdict: &Verdict) -> Result<(), Fault> {
    let (posted, tally) = (storm.posted, storm.tally);
    say!("\nfigures");
    say!(
        "  duration               {:.0?}, {} deletions asked for",
        storm.took,
        storm.deletions
    );
    for (kind, times) in weather::count(storm.were) {
        say!("  {times:>4} times            {kind}");
    }
    say!("  cut connections        {}", storm.halved);
    say!(
        "  messages               {} published, {} confirmed, {} of them again since in doubt, over {} connections",
        posted.published,
        posted.confirmed,
        posted.redelivered,
        posted.connections
    );
    say!(
        "  events                 {} heard, {} came again",
        storm.heard.events.len(),
        storm.heard.repeats
    );
    say!(
        "  workers                {} starts, {} refused since a server was away, {} takeovers, peak RSS {} MiB",
        tally.starts,
        tally.refused,
        storm.takeovers,
        tally.peak_rss_kib / 1024
    );
    if let Some((longest, of, median)) = recoveries(storm.were, sexton).await? {
        say!(
            "  recovery               longest {longest:.2} s (after: {of}), median {median:.2} s, from the end of a fault to the next commit"
        );
    }
    let (pause, takeover) = pauses(sexton).await?;
    say!(
        "  longest                {pause:.1} s without any commit, {takeover:.1} s from the end of a lease to its takeover"
    );
    say!(
        "  attempts repeated      {} without a second change; {} deletions found their own lost effect already gone",
        verdict.repeats,
        verdict.unclaimed
    );
    Ok(())
}

/// The longest time in which nothing was committed, and how long a lease that had run out stood until somebody took over.
async fn pauses(sexton: &PgPool) -> Result<(f64, f64), Fault> {
    let pause: f64 = sqlx::query_scalar(
        "select coalesce(max(extract(epoch from at - before)), 0)::float8
         from (select at, lag(at) over (order by at) as before from sexton.journal) j",
    )
    .fetch_one(sexton)
    .await?;
    let takeover: f64 = sqlx::query_scalar(
        "select coalesce(max(extract(epoch from lost_at - expires_at)), 0)::float8 from sexton.workers",
    )
    .fetch_one(sexton)
    .await?;
    Ok((pause, takeover))
}

/// From the end of each fault to the next record in any journal.
async fn recoveries(were: &[Was], sexton: &PgPool) -> Result<Option<(f64, String, f64)>, Fault> {
    let ends: Vec<OffsetDateTime> = were.iter().map(|was| was.ended_at).collect();
    let waits: Vec<Option<f64>> = sqlx::query_scalar(
        "select extract(epoch from (select min(at) from sexton.journal where at > e.at) - e.at)::float8
         from unnest($1::timestamptz[]) with ordinality e (at, n) order by e.n",
    )
    .bind(&ends)
    .fetch_all(sexton)
    .await?;
    let mut all: Vec<(f64, String)> = waits
        .into_iter()
        .zip(were)
        .filter_map(|(wait, was)| Some((wait?, was.kind.to_string())))
        .collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let median = all.get(all.len() / 2).map(|(wait, _)| *wait);
    let longest = all.pop();
    Ok(longest.zip(median).map(|((wait, of), median)| (wait, of, median)))
}

/// Whatever stands between this storm and a good end that is no deletion's fault.
pub(crate) fn of_workers(ended: &[Option<ExitStatus>], tally: &Tally, verdict: &mut Verdict) {
    verdict.stuck.extend(tally.died.iter().cloned());
    for (place, ended) in ended.iter().enumerate() {
        match ended {
            Some(ended) if ended.success() => {}
            Some(ended) => verdict
                .stuck
                .push(format!("worker {} was asked to stop: {ended}", place + 1)),
            None => verdict
                .stuck
                .push(format!("worker {} was asked to stop and did not", place + 1)),
        }
    }
}

pub(crate) fn verdict(verdict: &Verdict) {
    say!("\nchecked");
    for (what, many) in &verdict.looked_at {
        say!("  {many:>7} {what}");
    }
    for (word, all) in [
        ("lost", &verdict.lost),
        ("twice", &verdict.twice),
        ("stuck", &verdict.stuck),
    ] {
        for one in all.iter().take(SHOWN_MAX) {
            say!("  {word}: {one}");
        }
        if all.len() > SHOWN_MAX {
            say!("  {word}: and {} more", all.len() - SHOWN_MAX);
        }
    }
    if !verdict.saw_everything() {
        say!("  a check found nothing to look at");
    }
}
