//! Admitting through a lane: a batch of requests, by halves until the one that cannot be kept is alone; and what of it can
//! begin at once, with its first intent in the same commit.

use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::drive::Drive;
use super::lane::{Gone, Lane};
use crate::clock;
use crate::store::{Admission, Candidate, Claimed, Opened, Record, StoreError};

impl Lane {
    /// Admits through this lane's fence, and sets going what it keeps.
    pub(super) async fn admit(
        &mut self,
        candidates: Vec<Candidate>,
        answer: oneshot::Sender<Result<Vec<Admission>, StoreError>>,
    ) -> Result<(), Gone> {
        let mut fates = Vec::with_capacity(candidates.len());
        // Halves of a batch that Postgres could not keep come back here; the order is kept.
        let mut parts = vec![candidates];
        while let Some(mut part) = parts.pop() {
            match self.admit_part(&part).await? {
                Ok(decided) => fates.extend(decided),
                Err(error) if error.is_about_content() && part.len() > 1 => {
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                }
                Err(error) if error.is_about_content() => fates.extend(part.iter().map(|candidate| {
                    tracing::error!(error = %crate::telemetry::chain(&error), "Postgres cannot keep a request");
                    Admission::unkeepable(candidate)
                })),
                Err(error) => {
                    let met = self.trouble(&error).await;
                    let _ = answer.send(Err(error));
                    return met;
                }
            }
        }
        // Whoever asked may be gone; what is committed is committed, and the redelivery is a copy.
        let _ = answer.send(Ok(fates));
        Ok(())
    }

    /// One transaction; what it keeps is set going.
    async fn admit_part(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<Result<Vec<Admission>, StoreError>, Gone> {
        let announce = self.shared.parts.announce_accepted;
        let now = clock::now();
        // Places are taken below, and must not be held while a connection is waited for.
        self.writer().await?;
        let (drives, firsts): (Vec<_>, Vec<_>) = candidates
            .iter()
            .map(|candidate| self.at_once(candidate, now))
            .unzip();
        let began = std::time::Instant::now();
        let admitted = self
            .writer()
            .await?
            .admit(now, announce, candidates, &firsts)
            .await;
        if let Ok(fates) = &admitted {
            self.timed("admit", began);
            for (fate, drive) in fates.iter().zip(drives) {
                match fate {
                    Admission::Kept(opened) => self.keep(opened, drive),
                    Admission::Left => self.claims.more = true,
                    _ => {}
                }
            }
        }
        Ok(admitted)
    }

    /// What would carry it, with the first record of it, if its first effect can begin as soon as it is admitted.
    fn at_once(&self, candidate: &Candidate, now: OffsetDateTime) -> (Option<Drive>, Option<Record>) {
        // What is announced or came in a batch goes the long way, and takes no record along.
        let is_short = !self.shared.parts.announce_accepted && candidate.request.batch.is_none();
        if !is_short || self.shared.stopper.is_draining() {
            return (None, None);
        }
        let begun = candidate.kept_at(now).and_then(|opened| {
            let mut drive = self.drive(Claimed::new(opened));
            let record = drive.at_once()?;
            Some((drive, record))
        });
        begun.unzip()
    }

    fn keep(&mut self, opened: &Opened, drive: Option<Drive>) {
        // Admission asked for room before; if it has gone meanwhile, one more in flight does no harm.
        let permit = self.shared.permits.clone().try_acquire_owned().ok();
        let drive = match drive {
            Some(drive) if opened.seq > 0 => drive.admitted(opened.generation),
            // What the other one had entered is free for this one.
            other => {
                drop(other);
                self.drive(Claimed::new(opened.clone()))
            }
        };
        self.set_going(drive, permit);
    }
}
