//! What people say to running work. They never write deletions; a signal is a row, and raises a fence's generation.

use super::{Store, StoreError};
use crate::deletion::{DeletionId, SignalKind};

/// A deletion that changes hands while somebody speaks to it settles within a few tries.
const MOVES_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Committed; whoever carries the deletion hears it before it grants another intent.
    Heard,
    NotOpen,
}

impl Store {
    pub async fn signal(
        &self,
        deletion: DeletionId,
        kind: SignalKind,
        by: &str,
        reason: Option<&str>,
    ) -> Result<Said, StoreError> {
        for _ in 0..MOVES_MAX {
            let said: String = sqlx::query_scalar("/* signal */ select sexton.signal($1, $2, $3, $4)")
                .bind(deletion.0)
                .bind(kind.word())
                .bind(by)
                .bind(reason)
                .fetch_one(&self.pool)
                .await
                .map_err(StoreError::doing("signalling a deletion"))?;
            match said.as_str() {
                "said" => return Ok(Said::Heard),
                "not_open" => return Ok(Said::NotOpen),
                _ => tokio::task::yield_now().await,
            }
        }
        Err(StoreError::Busy {
            what: "signalling a deletion that keeps changing hands",
        })
    }
}
