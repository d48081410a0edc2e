//! Hints that something may have changed (LISTEN). A hint carries no data and may be lost; a clock asks as well.

use std::sync::Arc;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use super::{Store, StoreError, calls};
use crate::stopper::Stopper;

const CHANNEL: &str = "sexton_wake";

/// Many may wait; one hint wakes all.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    pub async fn wait(&self) {
        self.0.notified().await;
    }

    /// One permit is kept, so that a hint between two waits is not lost to a single waiter.
    pub fn poke(&self) {
        self.0.notify_waiters();
        self.0.notify_one();
    }
}

/// What is hinted at, each to those who mind it.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// Somebody has signalled, or a deletion has fallen due.
    pub work: Wake,
    /// Calls may have been answered.
    pub calls: Wake,
}

/// Turns the server's notifications into hints until it is told to stop.
#[derive(Debug)]
pub struct Waker {
    listener: PgListener,
}

impl Store {
    pub async fn waker(&self) -> Result<Waker, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool)
            .await
            .map_err(StoreError::doing("listening for hints"))?;
        listener
            .listen_all([CHANNEL, calls::CHANNEL])
            .await
            .map_err(StoreError::doing("listening for hints"))?;
        Ok(Waker { listener })
    }
}

impl Waker {
    /// Ends with an error when the connection cannot be had back; the caller makes a new one.
    pub async fn run(mut self, hints: &Hints, stopper: &Stopper) -> Result<(), StoreError> {
        loop {
            tokio::select! {
                () = stopper.draining() => return Ok(()),
                got = self.listener.try_recv() => match got {
                    Ok(Some(hint)) if hint.channel() == calls::CHANNEL => hints.calls.poke(),
                    Ok(Some(_)) => hints.work.poke(),
                    // A lost connection: anything may have been missed, so it counts as a hint.
                    Ok(None) => {
                        hints.work.poke();
                        hints.calls.poke();
                    }
                    Err(source) => return Err(StoreError::Query { what: "listening for hints", source }),
                },
            }
        }
    }
}
