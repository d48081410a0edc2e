//! Batches: what was told of them is summed up, and those that are over are said to be.
//!
//! One leads, to spare the tables; two that do it at once would be as right.

use super::Retention;
use crate::store::StoreError;

impl Retention {
    /// Whether there is more at once.
    pub(super) async fn batches(&self) -> Result<bool, StoreError> {
        let folded = self.store.fold_batches().await?;
        let said = self
            .store
            .complete_batches(self.settings.batch_quiet, self.settings.batch_patience)
            .await?;
        if said > 0 {
            self.outbox_wake.poke();
            self.store.forget_batches().await?;
        }
        Ok(folded > 0)
    }
}
