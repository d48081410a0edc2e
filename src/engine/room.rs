//! How much of what is in flight may belong to batches: a part, so that what comes alone finds room at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Batches have this part of what may be in flight: 250 of the usual 1,000 keep every system busy, and whoever comes alone
/// waits behind so many at each step and not behind all that there is room for.
const PART: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Batched {
    now: Arc<AtomicUsize>,
    most: usize,
}

/// One that is in flight; it leaves when this is dropped.
pub(super) struct InFlight(Arc<AtomicUsize>);

impl Batched {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Batched {
            now: Arc::default(),
            most: in_flight_max.div_ceil(PART),
        }
    }

    /// For so many more there is room.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.now.load(Ordering::Relaxed))
    }

    /// Less room than this is not worth a claim of its own.
    pub(super) fn worth(&self) -> usize {
        (self.most / 4).max(1)
    }

    pub(super) fn enter(&self) -> InFlight {
        self.now.fetch_add(1, Ordering::Relaxed);
        InFlight(self.now.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fill_their_part_and_what_leaves_makes_room() {
        let batched = Batched::new(11);
        let all: Vec<InFlight> = (0..3).map(|_| batched.enter()).collect();
        assert_eq!(batched.room(), 0);
        let _fourth = batched.enter();
        assert_eq!(batched.room(), 0, "what is kept all the same is counted");
        drop(all);
        assert_eq!(batched.room(), 2);
    }
}
