//! The short way of an admission: nothing but deletions of targets that nobody deletes, under keys that nobody has used. That
//! is what most batches are, and one round trip admits them. Where it is not so nothing is written, and [`super::admit`]
//! tells what each request is.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;
use uuid::Uuid;

use super::journal::{FIRST_EPOCH, millis};
use super::keys::MIDNIGHT_OVERLAP_S;
use super::{Admission, Candidate, LaneWriter, Opened, Record, StoreError};
use crate::crash::{self, CrashPoint};
use crate::deletion::{Action, shorthand};

/// Told by `sexton.admit_new` where one of them was not new after all.
const NOT_NEW: &str = "SX001";
/// So many admissions go the long way after one that had to, since copies come in swarms: what is tried in vain costs half of
/// what the long way costs.
const LONG_WAYS: u8 = 8;

/// Whether the short way is worth a try.
#[derive(Debug, Default)]
pub(super) struct ShortWay {
    wait: u8,
}

impl ShortWay {
    fn is_worth_it(&mut self) -> bool {
        let open = self.wait == 0;
        self.wait = self.wait.saturating_sub(1);
        open
    }
}

/// Nothing about them needs more than the tables of keys, slots and requests.
fn are_plain(candidates: &[Candidate]) -> bool {
    let mut keys = HashSet::with_capacity(candidates.len());
    let mut targets = HashSet::with_capacity(candidates.len());
    candidates.iter().all(|candidate| {
        let request = &candidate.request;
        request.action == Action::Delete
            && request.batch.is_none()
            && request.envelope.call().is_none()
            && request.key_digest().is_none_or(|digest| keys.insert(digest))
            && targets.insert(&request.target)
    })
}

impl LaneWriter {
    /// `None`: they may be anything, and nothing was written.
    pub(super) async fn admit_new(
        &mut self,
        now: OffsetDateTime,
        candidates: &[Candidate],
        firsts: &[Option<Record>],
    ) -> Result<Option<Vec<Admission>>, StoreError> {
        if candidates.is_empty() || !are_plain(candidates) || !self.short_way.is_worth_it() {
            return Ok(None);
        }
        crash::point(CrashPoint::AdmissionBeforeCommit);
        let asked = self.ask_new(now, candidates, firsts).await;
        let rows = match asked {
            Ok(rows) => rows,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NOT_NEW) => {
                self.short_way.wait = LONG_WAYS;
                return Ok(None);
            }
            Err(error) => return Err(StoreError::doing("admitting new deletions")(error)),
        };
        match rows.first().map(|(said, ..)| said.as_str()) {
            Some("gone") => return Err(StoreError::Lost),
            Some("begun") => {}
            _ => {
                self.short_way.wait = LONG_WAYS;
                return Ok(None);
            }
        }
        crash::point(CrashPoint::AdmissionAfterCommit);
        let generations: HashMap<Uuid, i64> = rows
            .into_iter()
            .filter_map(|(_, id, generation)| Some((id?, generation?)))
            .collect();
        let fates = candidates.iter().zip(firsts).map(|(candidate, first)| {
            let generation = generations.get(&candidate.deletion_id.0);
            match generation.filter(|_| is_kept(candidate, now)) {
                Some(generation) => Admission::Kept(Box::new(Opened {
                    seq: first.is_some().into(),
                    ..Opened::new(candidate, now, *generation)
                })),
                None => Admission::Left,
            }
        });
        StoreError::heard("admitting new deletions", Some(fates.collect()))
    }

    async fn ask_new(
        &mut self,
        now: OffsetDateTime,
        candidates: &[Candidate],
        firsts: &[Option<Record>],
    ) -> Result<Vec<(String, Option<Uuid>, Option<i64>)>, sqlx::Error> {
        let mut sorted: Vec<(&Candidate, Option<&Record>)> =
            candidates.iter().zip(firsts.iter().map(Option::as_ref)).collect();
        sorted.sort_unstable_by_key(|(candidate, _)| &candidate.request.target);
        let all = || sorted.iter().map(|(candidate, _)| *candidate);
        let first = || sorted.iter().map(|(_, first)| *first);
        let params = |candidate: &Candidate| {
            let params = &candidate.request.params;
            (!params.is_empty()).then(|| serde_json::to_string(params).unwrap_or_default())
        };
        sqlx::query_as(
            "/* admit_new */ select said, id, generation from sexton.admit_new(
                 $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
                 $25, $26)",
        )
        .bind(self.lane)
        .bind(FIRST_EPOCH)
        .bind(now)
        .bind(f64::from(MIDNIGHT_OVERLAP_S))
        .bind(all().map(|one| one.request_id.0).collect::<Vec<_>>())
        .bind(all().map(|one| one.deletion_id.0).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.target.tenant.as_str()).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.target.kind.as_str()).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.target.id.as_str()).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.key.as_ref().map(|key| key.as_str())).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.key_digest().map(Uuid::from_bytes)).collect::<Vec<_>>())
        .bind(all().map(|one| Uuid::from_bytes(one.request.digest())).collect::<Vec<_>>())
        .bind(all().map(|one| one.plan).collect::<Vec<_>>())
        .bind(all().map(|one| Uuid::from_bytes(one.request.fold_digest())).collect::<Vec<_>>())
        .bind(all().map(|one| one.deadline).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.not_before).collect::<Vec<_>>())
        .bind(all().map(|one| is_kept(one, now)).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.requested_by.as_deref()).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.reason.as_deref()).collect::<Vec<_>>())
        .bind(all().map(params).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.envelope.message_id.as_deref()).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.envelope.correlation_id.as_deref()).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.envelope.trace.traceparent.as_deref()).collect::<Vec<_>>())
        .bind(all().map(|one| one.request.envelope.trace.tracestate.as_deref()).collect::<Vec<_>>())
        .bind(first().map(|first| first.map(|first| shorthand::write(&first.entries))).collect::<Vec<_>>())
        .bind(first().map(|first| first?.effect.map(millis)).collect::<Vec<_>>())
        .fetch_all(&mut self.connection)
        .await
    }
}

/// The lane takes it at once.
pub(super) fn is_kept(candidate: &Candidate, now: OffsetDateTime) -> bool {
    candidate.keep && candidate.request.not_before.is_none_or(|at| at <= now)
}
