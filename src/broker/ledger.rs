//! Which deliveries of one channel are decided, so that `multiple` acknowledgements never run ahead.
//!
//! An acknowledgement up to a tag settles everything before it. So a batch is acknowledged on the wire only
//! when all earlier ones are decided too: a batch that is still being committed can never be settled by the
//! one after it. A batch that is dropped undecided makes the inlet give its channel up, and everything
//! undecided comes again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lapin::Acker;
use lapin::options::BasicAckOptions;
use tokio::sync::{Mutex, Notify};

use super::connection::{Link, Live};

/// What became of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "deliveries whose acknowledgement was not sent come again"]
pub enum Acked {
    /// Written to the broker, together with every decided batch before it.
    Sent,
    /// An earlier batch is still undecided; it will carry this one along.
    Waits,
    /// The channel is gone: expect these deliveries again.
    NotSent,
}

pub(super) struct Ledger {
    link: Link,
    live: Live,
    /// Taken for the whole of an acknowledgement: two of them on the wire in the wrong order name a tag that
    /// is settled already, and the broker closes the channel for it.
    open: Mutex<VecDeque<Entry>>,
    acknowledged: AtomicU64,
    abandoned: AtomicBool,
    tell: Notify,
}

struct Entry {
    last: u64,
    acker: Acker,
    decided: bool,
}

impl Ledger {
    pub(super) fn new(link: Link, live: Live) -> Ledger {
        Ledger {
            link,
            live,
            open: Mutex::default(),
            acknowledged: AtomicU64::default(),
            abandoned: AtomicBool::default(),
            tell: Notify::default(),
        }
    }

    /// Enters the batch that `take` gives. Taking and entering are one step: a caller that is cut off while
    /// it waits for its turn has taken nothing, so no delivery can fall between the two and be settled by
    /// the acknowledgement of a later one.
    pub(super) async fn enter<T>(&self, take: impl FnOnce() -> Option<(T, u64, Acker)>) -> Option<(T, u64)> {
        let mut open = self.open.lock().await;
        let (taken, last, acker) = take()?;
        open.push_back(Entry {
            last,
            acker,
            decided: false,
        });
        Some((taken, last))
    }

    /// Decides the batch that ends with `last`; `decided` is set once nothing can come in between.
    pub(super) async fn settle(&self, last: u64, decided: &mut bool) -> Acked {
        let mut open = self.open.lock().await;
        *decided = true;
        if let Some(entry) = open.iter_mut().find(|entry| entry.last == last) {
            entry.decided = true;
        }
        let mut newest = None;
        while open.front().is_some_and(|entry| entry.decided) {
            newest = open.pop_front();
        }
        let Some(newest) = newest else { return Acked::Waits };
        let acked = tokio::select! {
            biased;
            acked = newest.acker.ack(BasicAckOptions { multiple: true }) => acked,
            // lapin forgets an acknowledgement that comes between the end of its loop and the news of it, and whoever
            // waits for that one waits for ever.
            () = self.link.gone(&self.live) => Ok(false),
        };
        match acked {
            Ok(true) => {
                // Tags of a channel count its deliveries from one.
                self.acknowledged.store(newest.last, Ordering::SeqCst);
                Acked::Sent
            }
            Ok(false) | Err(_) => Acked::NotSent,
        }
    }

    /// How many deliveries of this channel have been acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        self.tell.notify_one();
    }

    /// Resolves when a batch was dropped undecided.
    pub(super) async fn abandoned(&self) {
        while !self.abandoned.load(Ordering::SeqCst) {
            self.tell.notified().await;
        }
    }
}
