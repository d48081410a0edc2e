//! Group commit: hundreds of transitions, one round trip, one commit.
//!
//! A [`LaneWriter`] is the right to write for one lane: its connection, and the epoch that the fence row must still
//! show. The database says exactly which records it took: all of them, or those that it names.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use super::admit_new::ShortWay;
use crate::deletion::{DeletionId, Entry, EventId, shorthand};

/// The first epoch of every fence row; a lane that finds another one has been taken over.
pub(super) const FIRST_EPOCH: i32 = 1;

/// One durable step of one deletion. `tenure` and `seq` are what the writer believes; both must still be true.
/// Together with the deletion they are the record's id: a lane writes at most one record for them, ever.
#[derive(Clone, Debug)]
pub struct Record {
    pub deletion: DeletionId,
    pub tenure: i32,
    pub seq: i32,
    pub entries: Vec<Entry>,
    /// `None`: the lane keeps the deletion. Else nobody has it until then.
    pub due: Option<OffsetDateTime>,
    /// The hard timeout of an intent in this record.
    pub effect: Option<Duration>,
    pub unwinding: bool,
    pub parked: Option<String>,
    /// It ends, with this result.
    pub result: Option<&'static str>,
    /// Of an end after which there is more to do: until when, and how often to look meanwhile.
    pub until: Option<OffsetDateTime>,
    pub look_every: Option<Duration>,
    pub detail: serde_json::Value,
    /// The event to announce, by its word, under this id.
    pub announce: Option<(&'static str, EventId)>,
}

/// A deletion to hand back until `due`.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    pub deletion: DeletionId,
    pub tenure: i32,
    pub due: OffsetDateTime,
    /// Given up after something went wrong here: the start goes on counting, so that it cannot loop for ever.
    pub fault: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// The epoch is not ours any more; nothing was written and nothing will be.
    Lost,
    /// Somebody signalled; nothing was written. Read the signals, then write again with this generation.
    Signalled {
        generation: i64,
    },
    Applied {
        written: Written,
        more_events: bool,
    },
}

/// Which records of a batch the database took.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    All,
    /// Of these deletions only; somebody else has the others.
    Of(HashSet<Uuid>),
}

impl Written {
    /// Of a batch of so many.
    pub fn count(&self, asked: usize) -> usize {
        match self {
            Written::All => asked,
            Written::Of(these) => these.len(),
        }
    }

    pub fn has(&self, deletion: DeletionId) -> bool {
        match self {
            Written::All => true,
            Written::Of(these) => these.contains(&deletion.0),
        }
    }
}

/// As `sexton.write_records` answers: what became of the batch, the lane's generation, what was written unless all of it was,
/// and whether there are more events.
type Answer = (String, i64, Option<Vec<Uuid>>, bool);

#[derive(Debug)]
pub struct LaneWriter {
    pub(super) connection: PgConnection,
    pub(super) lane: i64,
    pub(super) short_way: ShortWay,
}

impl LaneWriter {
    pub(super) fn new(connection: PgConnection, lane: i64) -> Self {
        LaneWriter {
            connection,
            lane,
            short_way: ShortWay::default(),
        }
    }

    pub fn lane(&self) -> i64 {
        self.lane
    }

    /// One guarded batch. `records` are sorted by deletion, so that two writers never wait for each other in a ring.
    pub async fn write(
        &mut self,
        generation: i64,
        at: OffsetDateTime,
        records: &[impl Borrow<Record>],
    ) -> Result<BatchOutcome, StoreError> {
        let records = || records.iter().map(Borrow::borrow);
        debug_assert!(
            records().is_sorted_by_key(|record| record.deletion),
            "batches are sorted"
        );
        let said = |record: &Record| record.announce.is_some() || record.result.is_some();
        let detail = |record: &Record| said(record).then(|| record.detail.to_string());
        let (said, signalled, written, more_events): Answer = sqlx::query_as(
            "/* write_records */ select said, generation, written, more_events from sexton.write_records(
                 $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        )
        .bind(self.lane)
        .bind(FIRST_EPOCH)
        .bind(generation)
        .bind(records().map(|record| record.deletion.0).collect::<Vec<_>>())
        .bind(records().map(|record| record.tenure).collect::<Vec<_>>())
        .bind(records().map(|record| record.seq).collect::<Vec<_>>())
        .bind(
            records()
                .map(|record| shorthand::write(&record.entries))
                .collect::<Vec<_>>(),
        )
        .bind(records().map(|record| record.due).collect::<Vec<_>>())
        .bind(
            records()
                .map(|record| record.effect.map(millis))
                .collect::<Vec<_>>(),
        )
        .bind(records().map(|record| record.unwinding).collect::<Vec<_>>())
        .bind(
            records()
                .map(|record| record.parked.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(records().map(|record| record.result).collect::<Vec<_>>())
        .bind(records().map(|record| record.until).collect::<Vec<_>>())
        .bind(
            records()
                .map(|record| record.look_every.map(millis))
                .collect::<Vec<_>>(),
        )
        .bind(records().map(detail).collect::<Vec<_>>())
        .bind(
            records()
                .map(|record| record.announce.map(|(word, _)| word))
                .collect::<Vec<_>>(),
        )
        .bind(
            records()
                .map(|record| record.announce.map(|(_, id)| id.0))
                .collect::<Vec<_>>(),
        )
        .bind(at)
        .fetch_one(&mut self.connection)
        .await
        .map_err(StoreError::doing("writing a batch of records"))?;
        let outcome = match said.as_str() {
            "lost" => BatchOutcome::Lost,
            "signalled" => BatchOutcome::Signalled {
                generation: signalled,
            },
            _ => BatchOutcome::Applied {
                written: written.map_or(Written::All, |these| Written::Of(these.into_iter().collect())),
                more_events,
            },
        };
        StoreError::heard("writing a batch of records", outcome)
    }

    /// Those of these records that this lane has written, for when an answer was lost on the way.
    ///
    /// Whoever asks must wait until the batch without an answer has ended on the server as well: it holds the fence's
    /// row for as long, so this locks it first, in a statement of its own. What a record says is compared too, since the
    /// same place in the journal may hold another one that was decided later.
    pub async fn already_mine(
        &mut self,
        records: &[impl Borrow<Record>],
    ) -> Result<HashSet<Uuid>, StoreError> {
        let records = || records.iter().map(Borrow::borrow);
        let failed = StoreError::doing("asking which records were written");
        sqlx::query("/* already_mine_fence */ select from sexton.lanes where lane = $1 for no key update")
            .bind(self.lane)
            .execute(&mut self.connection)
            .await
            .map_err(&failed)?;
        let entries = |record: &Record| serde_json::to_string(&record.entries).unwrap_or_default();
        let rows: Vec<Uuid> = sqlx::query_scalar(
            "/* already_mine */ select j.deletion_id
             from unnest($1::uuid[], $2::integer[], $3::integer[], $5::text[]) as i (id, tenure, seq, entries)
             cross join lateral (
                 -- By itself, so that it is looked up by its deletion, whatever the planner thinks of the tables.
                 select j.* from sexton.journal j where j.deletion_id = i.id offset 0
             ) j
             where j.seq = i.seq + 1 and j.tenure = i.tenure and j.lane = $4
               and j.entries::jsonb = i.entries::jsonb",
        )
        .bind(records().map(|record| record.deletion.0).collect::<Vec<_>>())
        .bind(records().map(|record| record.tenure).collect::<Vec<_>>())
        .bind(records().map(|record| record.seq).collect::<Vec<_>>())
        .bind(self.lane)
        .bind(records().map(entries).collect::<Vec<_>>())
        .fetch_all(&mut self.connection)
        .await
        .map_err(&failed)?;
        Ok(rows.into_iter().collect())
    }

    /// The signal generation of this lane, or `None` if the lane is lost.
    pub async fn generation(&mut self) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(
            "/* generation */ select generation from sexton.lanes where lane = $1 and epoch = $2",
        )
        .bind(self.lane)
        .bind(FIRST_EPOCH)
        .fetch_optional(&mut self.connection)
        .await
        .map_err(StoreError::doing("asking for the lane's generation"))
    }

    /// Hands back deletions about which there is nothing to record.
    pub async fn release(&mut self, generation: i64, held: &[Release]) -> Result<BatchOutcome, StoreError> {
        let (said, number): (String, i64) = sqlx::query_as(
            "/* release */ select said, number from sexton.release($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.lane)
        .bind(FIRST_EPOCH)
        .bind(generation)
        .bind(held.iter().map(|release| release.deletion.0).collect::<Vec<_>>())
        .bind(held.iter().map(|release| release.tenure).collect::<Vec<_>>())
        .bind(held.iter().map(|release| release.due).collect::<Vec<_>>())
        .bind(held.iter().map(|release| release.fault).collect::<Vec<_>>())
        .fetch_one(&mut self.connection)
        .await
        .map_err(StoreError::doing("handing deletions back"))?;
        let outcome = match said.as_str() {
            "lost" => BatchOutcome::Lost,
            "signalled" => BatchOutcome::Signalled { generation: number },
            _ => BatchOutcome::Applied {
                written: Written::All,
                more_events: false,
            },
        };
        StoreError::heard("handing deletions back", outcome)
    }

    /// Everything that names this lane, with its tenure: after a lost answer, the rows that nobody in memory has.
    pub async fn held(&mut self) -> Result<Vec<(DeletionId, i32)>, StoreError> {
        let rows: Vec<(Uuid, i32)> =
            sqlx::query_as("/* held */ select id, tenure from sexton.held_by($1) where epoch = $2")
                .bind(self.lane)
                .bind(FIRST_EPOCH)
                .fetch_all(&mut self.connection)
                .await
                .map_err(StoreError::doing("asking what this lane holds"))?;
        Ok(rows
            .into_iter()
            .map(|(id, tenure)| (DeletionId(id), tenure))
            .collect())
    }

    /// Forgets what this lane took, in this claim or later, and has let go of since, so that whoever takes over need not look
    /// there. In which claim to begin the next time, and whether anything is left for it.
    pub async fn forget_claims(&mut self, since: i64) -> Result<(i64, bool), StoreError> {
        sqlx::query_as("/* forget_claims */ select since, is_more from sexton.forget_claims($1, $2)")
            .bind(self.lane)
            .bind(since)
            .fetch_one(&mut self.connection)
            .await
            .map_err(StoreError::doing("forgetting claims of long ago"))
    }

    pub async fn close(self) {
        // The server cleans up after a connection that is simply dropped as well.
        let _ = self.connection.close().await;
    }
}

pub(super) fn millis(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}
