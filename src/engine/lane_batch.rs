//! A batch from forming to answers: written whole, or by halves until the one record that cannot be kept is alone.

use tokio::sync::oneshot;

use super::lane::{Ask, Gone, Lane, Told};
use crate::clock;
use crate::crash::{self, CrashPoint};
use crate::decide::Signal;
use crate::deletion::DeletionId;
use crate::store::{Admission, BatchOutcome, Candidate, Outgoing, Record, Release, StoreError, Written};

pub(super) struct Writing {
    record: Record,
    outgoing: Option<Box<Outgoing>>,
    answer: oneshot::Sender<Told>,
}

/// Where the fates of a batch of requests are told.
type Admitted = oneshot::Sender<Result<Vec<Admission>, StoreError>>;

/// What waits for the next round trip.
#[derive(Default)]
pub(super) struct Pending {
    writes: Vec<Writing>,
    releases: Vec<(Release, oneshot::Sender<Told>)>,
    admissions: Vec<(Vec<Candidate>, Admitted)>,
}

impl Pending {
    pub(super) fn add(&mut self, ask: Ask) {
        match ask {
            Ask::Write(record, outgoing, answer) => self.writes.push(Writing {
                record: *record,
                outgoing,
                answer,
            }),
            Ask::Release(release, answer) => self.releases.push((release, answer)),
            Ask::Admit(candidates, answer) => self.admissions.push((candidates, answer)),
        }
    }

    pub(super) fn writes(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.releases.is_empty() && self.admissions.is_empty()
    }
}

impl Lane {
    pub(super) async fn settle(&mut self, pending: &mut Pending) -> Result<(), Gone> {
        let mut writes = std::mem::take(&mut pending.writes);
        writes.sort_by_key(|writing| writing.record.deletion);
        // Halves of a batch that Postgres could not keep come back here; the order is kept.
        let mut parts = vec![writes];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            if let Some((left, right)) = self.write(part).await? {
                parts.push(right);
                parts.push(left);
            }
        }
        let releases = std::mem::take(&mut pending.releases);
        if !releases.is_empty() {
            self.release(releases).await?;
        }
        for (candidates, answer) in std::mem::take(&mut pending.admissions) {
            self.admit(candidates, answer).await?;
        }
        Ok(())
    }

    /// Writes until there is an answer for each. Returns halves if one of them cannot be kept.
    async fn write(&mut self, mut part: Vec<Writing>) -> Result<Option<(Vec<Writing>, Vec<Writing>)>, Gone> {
        let mut answer_lost = false;
        while !part.is_empty() {
            self.writer().await?;
            if answer_lost {
                // Before anything is decided anew: what was written must not be told that it was not.
                part = self.tell_written(part).await?;
                answer_lost = false;
            }
            part = self.turn_back_signalled(part);
            if part.is_empty() {
                return Ok(None);
            }
            let generation = self.generation;
            let at = part_time(&mut part);
            let records: Vec<&Record> = part.iter().map(|writing| &writing.record).collect();
            crash::point(CrashPoint::VerdictBeforeCommit);
            let began = std::time::Instant::now();
            match self.writer().await?.write(generation, at, &records).await {
                Ok(BatchOutcome::Applied { written, more_events }) => {
                    self.shared.parts.instruments.batch(written.count(part.len()));
                    self.timed("write_records", began);
                    if more_events {
                        self.shared.parts.outbox_wake.poke();
                    }
                    self.applied(part, &written);
                    return Ok(None);
                }
                Ok(BatchOutcome::Signalled { generation }) => self.take_signals(generation).await?,
                Ok(BatchOutcome::Lost) => return Err(Gone),
                Err(error) if error.is_about_content() => {
                    if part.len() > 1 {
                        let right = part.split_off(part.len() / 2);
                        return Ok(Some((part, right)));
                    }
                    tracing::error!(error = %crate::telemetry::chain(&error), "Postgres cannot keep a record");
                    for writing in part.drain(..) {
                        let _ = writing.answer.send(Told::Unkeepable(error.to_string()));
                    }
                }
                Err(error) => {
                    answer_lost = true;
                    self.trouble(&error).await?;
                }
            }
        }
        Ok(None)
    }

    /// After a lost answer: those of these records that were written all the same are told so; the others are left.
    async fn tell_written(&mut self, part: Vec<Writing>) -> Result<Vec<Writing>, Gone> {
        let records: Vec<&Record> = part.iter().map(|writing| &writing.record).collect();
        let mine = loop {
            match self.writer().await?.already_mine(&records).await {
                Ok(mine) => break mine,
                Err(error) => self.trouble(&error).await?,
            }
        };
        let (written, left): (Vec<_>, Vec<_>) = part
            .into_iter()
            .partition(|writing| mine.contains(&writing.record.deletion.0));
        for writing in written {
            // Its event was stamped then, and not now: the sweep publishes it as it is kept.
            let _ = writing.answer.send(Told::Written);
        }
        Ok(left)
    }

    fn applied(&self, part: Vec<Writing>, written: &Written) {
        crash::point(CrashPoint::CommitBeforeAnswer);
        for writing in part {
            if !written.has(writing.record.deletion) {
                let _ = writing.answer.send(Told::LetGo);
                continue;
            }
            if writing.record.result.is_some() {
                crash::point(CrashPoint::EndAfterCommit);
            }
            if let Some(outgoing) = writing.outgoing {
                let _ = self.shared.parts.tap.try_send(*outgoing);
            }
            let _ = writing.answer.send(Told::Written);
        }
    }

    /// A verdict is a fact and goes in; an intent whose deletion was signalled goes back to be decided again.
    fn turn_back_signalled(&self, part: Vec<Writing>) -> Vec<Writing> {
        let mut kept = Vec::with_capacity(part.len());
        for writing in part {
            match self.unheard(writing.record.deletion, &writing.record) {
                Some(signals) => {
                    let _ = writing.answer.send(Told::Signals(signals));
                }
                None => kept.push(writing),
            }
        }
        kept
    }

    /// Signals that this record was decided without, if it grants something or lets go of the deletion.
    fn unheard(&self, id: DeletionId, record: &Record) -> Option<Vec<Signal>> {
        let held = self.held.get(&id)?;
        let commits = record.effect.is_some() || record.due.is_some();
        (commits && held.gate.is_shut()).then(|| held.signals.clone())
    }

    async fn release(&mut self, mut releases: Vec<(Release, oneshot::Sender<Told>)>) -> Result<(), Gone> {
        while !releases.is_empty() {
            self.writer().await?;
            let (signalled, kept): (Vec<_>, Vec<_>) = releases.into_iter().partition(|(release, _)| {
                self.held
                    .get(&release.deletion)
                    .is_some_and(|held| held.gate.is_shut())
            });
            for (release, answer) in signalled {
                let signals = self.held.get(&release.deletion).map(|held| held.signals.clone());
                let _ = answer.send(Told::Signals(signals.unwrap_or_default()));
            }
            releases = kept;
            let generation = self.generation;
            let began = std::time::Instant::now();
            let rows: Vec<Release> = releases.iter().map(|(release, _)| *release).collect();
            match self.writer().await?.release(generation, &rows).await {
                Ok(BatchOutcome::Applied { .. }) => {
                    self.timed("release", began);
                    for (_, answer) in releases.drain(..) {
                        let _ = answer.send(Told::Written);
                    }
                }
                Ok(BatchOutcome::Signalled { generation }) => self.take_signals(generation).await?,
                Ok(BatchOutcome::Lost) => return Err(Gone),
                Err(error) => self.trouble(&error).await?,
            }
        }
        Ok(())
    }
}

/// One point in time for the batch, also in the events that are published from memory.
fn part_time(part: &mut [Writing]) -> time::OffsetDateTime {
    let at = clock::now();
    for writing in part {
        if let Some(outgoing) = &mut writing.outgoing {
            outgoing.stamp(at);
        }
    }
    at
}
