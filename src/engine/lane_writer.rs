//! A lane's connection: opened, held against memory, given up in trouble.

use std::time::Duration;

use tokio::time::Instant;

use super::lane::{Gone, Lane};
use crate::clock;
use crate::crash::{self, CrashPoint};
use crate::store::{BatchOutcome, LaneWriter, Release, StoreError};

/// How often memory and table are held against each other; what is found then was lost by a fault, and may wait.
pub(super) const RECONCILE_EVERY: Duration = Duration::from_secs(30);

impl Lane {
    /// The connection, made anew if need be; on a new one, rows that nobody here carries are handed back.
    pub(super) async fn writer(&mut self) -> Result<&mut LaneWriter, Gone> {
        while self.writer.is_none() {
            match self.connect().await {
                Ok(writer) => self.writer = Some(writer),
                Err(error) => self.trouble(&error).await?,
            }
            if self.writer.is_none() && self.shared.stopper.is_halted() {
                return Err(Gone);
            }
        }
        self.writer.as_mut().ok_or(Gone)
    }

    async fn connect(&mut self) -> Result<LaneWriter, StoreError> {
        let mut writer = self.shared.parts.store.open_lane(self.lane).await?;
        let generation = writer.generation().await?.ok_or(StoreError::Lost)?;
        if self.held.is_empty() {
            self.generation = generation;
        }
        self.hand_back_strays(&mut writer, generation).await?;
        self.look_for_claims();
        Ok(writer)
    }

    /// Memory and table are held against each other now and then, so that a row which names this lane and which nobody
    /// here carries does not wait for the connection to break.
    pub(super) async fn reconcile_if_due(&mut self) -> Result<(), Gone> {
        if Instant::now() < self.reconcile_at {
            return Ok(());
        }
        self.reconcile_at = Instant::now() + RECONCILE_EVERY;
        self.writer().await?;
        let Some(mut writer) = self.writer.take() else {
            return Ok(());
        };
        match self.hand_back_strays(&mut writer, self.generation).await {
            Ok(()) => {
                self.writer = Some(writer);
                self.look_for_claims();
                Ok(())
            }
            Err(error) => self.trouble(&error).await,
        }
    }

    /// Rows that name this lane and that nobody here carries: after a lost answer, or a fault of ours.
    async fn hand_back_strays(&self, writer: &mut LaneWriter, generation: i64) -> Result<(), StoreError> {
        let strays: Vec<Release> = writer
            .held()
            .await?
            .into_iter()
            .filter(|(id, tenure)| self.held.get(id).is_none_or(|held| held.tenure != *tenure))
            .map(|(deletion, tenure)| Release {
                deletion,
                tenure,
                due: clock::now(),
                fault: true,
            })
            .collect();
        if strays.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            count = strays.len(),
            "handing back deletions that nobody here carries"
        );
        let mut generation = generation;
        crash::point(CrashPoint::StraysBeforeRelease);
        // A signal in between concerns others: nobody here has decided anything for these.
        while let BatchOutcome::Signalled { generation: newer } = writer.release(generation, &strays).await? {
            generation = newer;
        }
        Ok(())
    }

    /// A transaction that was answered.
    pub(super) fn timed(&mut self, transaction: &'static str, began: std::time::Instant) {
        self.patience.succeeded();
        self.shared
            .parts
            .instruments
            .transaction(transaction, began.elapsed());
    }

    /// Costs the connection, and a wait that grows: a server may be there and take nothing (its disk full, read-only).
    pub(super) async fn trouble(&mut self, error: &StoreError) -> Result<(), Gone> {
        if matches!(error, StoreError::Lost) {
            return Err(Gone);
        }
        self.writer = None;
        self.patience.failed(error, &self.shared.stopper).await;
        Ok(())
    }
}
