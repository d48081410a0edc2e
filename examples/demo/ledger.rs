//! Which outcome each message has had so far, against which it must have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use sexton::broker::Delivery;

use crate::requests::{Asked, Expected};

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Messages published, copies and foreign ones included.
    pub(crate) published: usize,
    /// Events as they came, repeats included.
    pub(crate) deliveries: usize,
    /// Names nobody has asked under.
    pub(crate) strange: Vec<String>,
    /// Of the batch: how many its requests are, and what was said of the whole.
    pub(crate) batched: usize,
    pub(crate) batches: Vec<Value>,
    /// Softly deleted targets, and until when they can be restored; and those that were erased.
    restorable: BTreeMap<String, String>,
    pub(crate) purged: BTreeSet<String>,
    /// Erased before that.
    pub(crate) early: Vec<String>,
    seen: BTreeSet<String>,
}

pub(crate) struct Entry {
    pub(crate) expected: Expected,
    pub(crate) body: bytes::Bytes,
    published: Instant,
    pub(crate) outcomes: Vec<Outcome>,
}

/// One event, by its id.
pub(crate) struct Outcome {
    pub(crate) event: String,
    pub(crate) result: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) deletion: Option<String>,
    pub(crate) after: Duration,
}

impl Ledger {
    /// To be called before it is published.
    pub(crate) fn expect(&mut self, asked: &Asked) {
        self.published += 1;
        if asked.expected == Expected::Copy {
            return;
        }
        let entry = Entry {
            expected: asked.expected.clone(),
            body: asked.message.body.clone(),
            published: Instant::now(),
            outcomes: Vec::new(),
        };
        self.entries.insert(asked.name.clone(), entry);
    }

    /// Those of a bulk, by their keys; to be called before it is published.
    pub(crate) fn expect_bulk(&mut self, keys: Vec<String>, body: &bytes::Bytes) {
        self.published += 1;
        self.batched = keys.len();
        for key in keys {
            let entry = Entry {
                expected: Expected::Completed("deleted"),
                body: body.clone(),
                published: Instant::now(),
                outcomes: Vec::new(),
            };
            self.entries.insert(key, entry);
        }
    }

    pub(crate) fn hear(&mut self, delivery: &Delivery) {
        self.deliveries += 1;
        let body: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        // An event that comes again is the same event.
        if !self.seen.insert(text("/id").unwrap_or_default()) {
            return;
        }
        let event = text("/data/event").unwrap_or_default();
        let target = text("/data/target/id").unwrap_or_default();
        if event == "batch.completed" {
            let counts = body.pointer("/data/detail/counts");
            return self.batches.push(counts.cloned().unwrap_or_default());
        }
        // Both are RFC 3339 in UTC, so they compare as texts do.
        if text("/data/action").as_deref() == Some("purge") {
            let until = self.restorable.get(&target).cloned().unwrap_or_default();
            let at = text("/time").unwrap_or_default();
            if until.is_empty() || at < until {
                self.early
                    .push(format!("{target}: {at}, restorable until {until}"));
            }
            self.purged.insert(target);
            return;
        }
        if let (Some(until), "soft_deleted") = (text("/data/detail/restorable_until"), event.as_str()) {
            self.restorable.insert(target, until);
        }
        let name = text("/data/message_id")
            .filter(|name| !name.is_empty())
            .or_else(|| text("/data/key"))
            .unwrap_or_default();
        match self.entries.get_mut(&name) {
            Some(entry) => entry.outcomes.push(Outcome {
                event,
                result: text("/data/detail/result"),
                reason: text("/data/detail/reason"),
                deletion: text("/data/deletion_id"),
                after: entry.published.elapsed(),
            }),
            None => self.strange.push(name),
        }
    }

    /// All that must be softly deleted is.
    pub(crate) fn has_soft_deletions(&self) -> bool {
        let mut soft = self
            .entries
            .values()
            .filter(|entry| entry.expected == Expected::Ended("soft_deleted"));
        soft.all(|entry| !entry.outcomes.is_empty())
    }

    pub(crate) fn wanted(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn heard(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| !entry.outcomes.is_empty())
            .count()
    }

    /// Computers whose deletion is known to be complete.
    pub(crate) fn deleted(&self) -> usize {
        self.outcomes()
            .filter(|(_, outcome)| outcome.result.as_deref() == Some("deleted"))
            .count()
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&Entry, &Outcome)> {
        self.entries
            .values()
            .flat_map(|entry| entry.outcomes.iter().map(move |outcome| (entry, outcome)))
    }
}
