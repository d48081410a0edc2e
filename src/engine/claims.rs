//! When a lane takes deletions that nobody has, and how far it looks.

use std::time::Duration;

use tokio::time::Instant;

use super::lane::{Gone, Lane};
use crate::clock;
use crate::store::{Passed, StoreError};

/// Rows of one claim: enough to fill a batch, few enough that two hungry workers share a backlog fairly.
const CLAIM_MAX: usize = 250;
/// A claim for less than this waits until more permits are free, unless nothing at all is in flight.
pub(super) const CLAIM_MIN: usize = 32;
/// Claims pass over what an earlier claim has taken or seen, but for rows whose transaction may still have been open then:
/// longer than any statement may last.
const CLAIM_OVERLAP: Duration = Duration::from_secs(30);
/// In a backlog a claim begins where the last one ended, or it would step over the dead entries of all that was taken in the
/// last [`CLAIM_OVERLAP`]. What was committed late, behind it, is found as often as this.
const LOOK_BACK_EVERY: Duration = Duration::from_secs(1);
/// Every so often a claim looks at everything, whatever was seen before.
const CLAIM_ALL_EVERY: Duration = Duration::from_secs(30);

/// When and how far to claim.
pub(super) struct Claims {
    pub at: Instant,
    /// All that is due until then was taken or seen, and nothing comes there any more.
    since: Passed,
    /// Where the last claim ended, if it came back full.
    ended: Option<Passed>,
    look_back_at: Instant,
    all_at: Instant,
    /// The last claim came back full; and whether it did with what batches may have.
    pub more: bool,
    more_batched: bool,
}

impl Claims {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Claims {
            at: now,
            since: Passed::default(),
            ended: None,
            look_back_at: now,
            all_at: now,
            more: false,
            more_batched: false,
        }
    }
}

impl Lane {
    pub(super) async fn claim_if_due(&mut self) -> Result<(), Gone> {
        let free = self.shared.permits.available_permits();
        let worth = free >= CLAIM_MIN || (free > 0 && self.held.is_empty());
        let now = Instant::now();
        let room = self.shared.batched.room();
        let more = self.claims.more || (self.claims.more_batched && room >= self.shared.batched.worth());
        if !worth || (now < self.claims.at && !more) {
            if now >= self.claims.at {
                self.claims.at = now + self.shared.settings.poll;
            }
            return Ok(());
        }
        self.claims.at = now + self.shared.settings.poll;
        let limit = free.min(CLAIM_MAX);
        let Ok(mut permits) = self
            .shared
            .permits
            .clone()
            .try_acquire_many_owned(u32::try_from(limit).unwrap_or(u32::MAX))
        else {
            return Ok(());
        };
        if now >= self.claims.all_at {
            self.claims.all_at = now + CLAIM_ALL_EVERY;
            self.claims.since = Passed::default();
            self.claims.ended = None;
        }
        let settled = clock::now() - CLAIM_OVERLAP;
        let plans = self.shared.parts.book.runnable();
        let rows = |rows: usize| i32::try_from(rows).unwrap_or(i32::MAX);
        let batched = room.min(limit);
        let began = std::time::Instant::now();
        let goes_on = self.claims.ended.filter(|_| now < self.claims.look_back_at);
        let from = goes_on.unwrap_or(self.claims.since);
        let (claimed, taken) = match self
            .writer()
            .await?
            .claim(&plans, from, rows(limit), rows(batched))
            .await
        {
            Ok(answer) => {
                self.timed("claim", began);
                answer
            }
            Err(StoreError::Lost) => return Err(Gone),
            // What was claimed without an answer is found among our own rows once the connection is back.
            Err(error) => return self.trouble(&error).await,
        };
        self.claims.more = claimed.len() == limit;
        let of_batches = claimed
            .iter()
            .filter(|claimed| claimed.opened.batch.is_some())
            .count();
        self.claims.more_batched = of_batches >= batched && (batched > 0 || self.claims.more_batched);
        let is_full = self.claims.more || self.claims.more_batched;
        self.claims.ended = is_full.then(|| from.on(taken));
        if goes_on.is_none() {
            self.claims.look_back_at = now + LOOK_BACK_EVERY;
            self.claims.since = match is_full {
                true => from.on(taken.at_most(settled)),
                false => Passed {
                    single: Some(settled),
                    // Not asked for, they are not seen either.
                    batched: if batched > 0 { Some(settled) } else { from.batched },
                },
            };
        } else if !is_full {
            // Nothing is left beyond; only a look back tells that nothing is left at all.
            self.claims.at = now;
        }
        for claimed in claimed {
            if let Some(permit) = permits.split(1) {
                self.set_going(self.drive(claimed), Some(permit));
            }
        }
        Ok(())
    }
}
