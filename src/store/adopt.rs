//! Another version of its plan for one deletion: the operator's own guarded write.
//!
//! It goes through the same fence, tenure and sequence as every record of a worker, on a lane of its own; the audit is
//! part of the same transaction.

use time::OffsetDateTime;

use super::journal::FIRST_EPOCH;
use super::{BatchOutcome, LaneWriter, Opened, StoreError, StoredPlan, Written};
use crate::deletion::{Entry, EventId, shorthand};

/// Who asked, and why.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub by: &'a str,
    pub reason: Option<&'a str>,
}

impl LaneWriter {
    /// Records the adoption and hands the deletion back, due at once.
    pub async fn adopt_plan(
        &mut self,
        generation: i64,
        opened: &Opened,
        to: &StoredPlan,
        event: EventId,
        at: OffsetDateTime,
        asked: Asked<'_>,
    ) -> Result<BatchOutcome, StoreError> {
        let entry = Entry::Adopted {
            plan: to.hash.clone(),
            // Plans have at most 32 steps.
            steps: u16::try_from(to.plan.steps.len()).unwrap_or(u16::MAX),
        };
        let entries = shorthand::write(&[entry]);
        let (said, number): (String, i64) = sqlx::query_as(
            "/* adopt_plan */ select said, number from sexton.adopt_plan(
                 $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(self.lane)
        .bind(FIRST_EPOCH)
        .bind(generation)
        .bind(opened.id.0)
        .bind(opened.tenure)
        .bind(opened.seq)
        .bind(entries)
        .bind(to.id)
        .bind(event.0)
        .bind(at)
        .bind(asked.by)
        .bind(asked.reason)
        .fetch_one(&mut self.connection)
        .await
        .map_err(StoreError::doing("moving a deletion to another plan"))?;
        Ok(match said.as_str() {
            "lost" => BatchOutcome::Lost,
            "signalled" => BatchOutcome::Signalled { generation: number },
            _ => BatchOutcome::Applied {
                written: Written::All,
                more_events: true,
            },
        })
    }
}
