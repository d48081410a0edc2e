//! When a lane takes deletions that nobody has, and how far it looks.

use std::time::Duration;

use tokio::time::Instant;

use super::cursor::{self, Back, Cursor};
use super::lane::{Gone, Lane};
use crate::clock;
use crate::store::StoreError;

/// Rows of one claim: enough to fill a batch, few enough that two hungry workers share a backlog fairly.
const CLAIM_MAX: usize = 250;
/// A claim for less than this waits until more permits are free, unless nothing at all is in flight.
pub(super) const CLAIM_MIN: usize = 32;

/// How often it is looked which claims have nothing left that is held.
const FORGET_EVERY: Duration = Duration::from_secs(1);
/// It is tidying up, so trouble with it costs a lane no more than this pause.
const FORGET_PAUSE: Duration = Duration::from_secs(30);

/// When and how far to claim.
pub(super) struct Claims {
    pub at: Instant,
    cursor: Cursor,
    forget_at: Instant,
    forget_since: i64,
    /// There may be claims that can be forgotten.
    pub noted: bool,
    /// The last claim came back full; and whether it did with what batches may have.
    pub more: bool,
    more_batched: bool,
}

impl Claims {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Claims {
            at: now,
            cursor: Cursor::new(now),
            forget_at: now,
            forget_since: 0,
            noted: false,
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
        let begun = self.claims.cursor.begin(now);
        let settled = clock::now() - cursor::OVERLAP;
        let plans = self.shared.parts.book.runnable();
        let rows = |rows: usize| i32::try_from(rows).unwrap_or(i32::MAX);
        let batched = room.min(limit);
        let began = std::time::Instant::now();
        let (claimed, taken) = match self
            .writer()
            .await?
            .claim(&plans, begun.at, rows(limit), rows(batched))
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
        let back = Back {
            taken,
            is_more: self.claims.more || self.claims.more_batched,
            batches: batched > 0,
        };
        if self.claims.cursor.came(begun, back, now, settled) {
            self.claims.at = now;
        }
        for claimed in claimed {
            if let Some(permit) = permits.split(1) {
                self.set_going(self.drive(claimed), Some(permit));
            }
        }
        Ok(())
    }

    pub(super) async fn forget_if_due(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        if !self.claims.noted || now < self.claims.forget_at {
            return Ok(());
        }
        self.claims.forget_at = now + FORGET_EVERY;
        let since = self.claims.forget_since;
        match self.writer().await?.forget_claims(since).await {
            Ok((since, is_more)) => {
                self.claims.forget_since = since;
                self.claims.noted = is_more;
            }
            Err(error) => {
                self.claims.forget_at = now + FORGET_PAUSE;
                tracing::debug!(error = %crate::telemetry::chain(&error), "claims were not forgotten");
            }
        }
        Ok(())
    }

    /// There may be claims of which nobody here knows: their answer was lost, or they are committed only now.
    pub(super) fn look_for_claims(&mut self) {
        self.claims.forget_since = 0;
        self.claims.noted = true;
    }
}
