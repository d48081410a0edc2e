//! The judge. It shares no line with Sexton: it reads tables with plain SQL, events and entries of journals as plain JSON,
//! archives byte by byte and the provider's own count, and holds all of it against what was asked and what was there.
//!
//! *Lost* is a request that the broker confirmed and that has no outcome; an outcome that says `deleted` of what is still
//! there; and what is gone although no outcome says so. *Twice* is a second change of state of one target by one effect, a
//! second outcome of one request, a step that was run again after it was settled, and a second archive. *Stuck* is whatever
//! does not end by itself.

mod archives;
mod journal;
mod left;
mod outcomes;
mod things;

use std::path::Path;

use sqlx::PgPool;

use crate::Fault;
use crate::asks::Ask;
use crate::ear::Heard;
use crate::publisher::Posted;
use crate::world::{Stores, World};

pub(crate) use outcomes::{Fates, fates};

#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) world: &'a World,
    pub(crate) asks: &'a [Ask],
    pub(crate) posted: &'a Posted,
    pub(crate) heard: &'a Heard,
    pub(crate) stores: &'a Stores,
    pub(crate) sexton: &'a PgPool,
    pub(crate) cloud_url: &'a str,
    pub(crate) amqp_url: &'a str,
    pub(crate) archive: &'a Path,
}

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<String>,
    pub(crate) twice: Vec<String>,
    pub(crate) stuck: Vec<String>,
    /// What was looked at: a check that found nothing to look at has shown nothing.
    pub(crate) looked_at: Vec<(&'static str, usize)>,
    /// Attempts after the first one of a step. None of them changed anything a second time, or `twice` says so.
    pub(crate) repeats: u64,
    /// Ended `already_gone` by a deletion that had changed something itself before an answer was lost.
    pub(crate) unclaimed: u64,
}

impl Verdict {
    pub(crate) fn looked(&mut self, at: &'static str, many: usize) {
        self.looked_at.push((at, many));
    }

    pub(crate) fn is_well(&self) -> bool {
        self.lost.is_empty() && self.twice.is_empty() && self.stuck.is_empty() && self.saw_everything()
    }

    pub(crate) fn saw_everything(&self) -> bool {
        self.looked_at.iter().all(|(_, many)| *many > 0)
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "lost {}, twice {}, stuck {}",
            self.lost.len(),
            self.twice.len(),
            self.stuck.len()
        )
    }
}

pub(crate) async fn judge(evidence: &Evidence<'_>) -> Result<Verdict, Fault> {
    let mut verdict = Verdict::default();
    let fates = fates(evidence.heard);
    outcomes::check(evidence, &fates, &mut verdict).await?;
    things::check(evidence, &fates, &mut verdict).await?;
    archives::check(evidence, &fates, &mut verdict).await?;
    journal::check(evidence, &mut verdict).await?;
    left::check(evidence, &mut verdict).await?;
    Ok(verdict)
}
