//! What to do when a message on the queue cannot be read as AMQP.
//!
//! lapin ends the connection at a frame that it cannot parse, such as one with a message id that is not UTF-8, and
//! nobody can settle a message that was never seen. With its connection everything that was in hand returns to the
//! queue, each counted as one more delivery: were the inlet to go on as before, the neighbours of such a message would
//! reach the delivery limit together with it. So from then on deliveries are taken one by one, until as many have been
//! acknowledged as were in hand: the message is one of them. Now it alone collects deliveries, and the broker puts it
//! among the rejected when it is over the limit.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// The first wait after such a loss, without its jitter: the broker has just lost a connection, and is to make another.
const WAIT_MIN_MS: u64 = 50;
/// No wait is longer, jitter included. As many as the delivery limit allows stand between the message and its end, and
/// the requests behind it wait as long.
const WAIT_MAX_MS: u64 = 200;

pub(super) struct Caution {
    /// Of the connections that the link has lost so.
    heeded: u64,
    /// So many deliveries are still to be taken one by one.
    suspects: u64,
    /// What the newest flow was opened with.
    prefetch: u16,
    full: u16,
    waits: ExponentialBackoff,
    not_before: Option<Instant>,
}

impl Caution {
    pub(super) fn new(full: u16) -> Caution {
        Caution {
            heeded: 0,
            suspects: 0,
            prefetch: full,
            full,
            waits: waits(),
            not_before: None,
        }
    }

    /// Takes note of what the link has lost so far. Whether there was another such loss.
    pub(super) fn heed(&mut self, lost: u64) -> bool {
        if self.has_heeded(lost) {
            return false;
        }
        self.heeded = lost;
        self.suspects = self.suspects.max(u64::from(self.prefetch));
        let wait = self.waits.next().unwrap_or(Duration::from_millis(WAIT_MAX_MS));
        self.not_before = Some(Instant::now() + wait);
        true
    }

    pub(super) fn has_heeded(&self, lost: u64) -> bool {
        lost == self.heeded
    }

    /// The wait after a loss; none if it is over, however often a caller has stopped waiting for it.
    pub(super) async fn rest(&mut self) {
        if let Some(not_before) = self.not_before {
            tokio::time::sleep_until(not_before).await;
            self.not_before = None;
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.suspects > 0
    }

    /// How many deliveries the next flow may hold.
    pub(super) fn next_prefetch(&mut self) -> u16 {
        self.prefetch = if self.is_on() { 1 } else { self.full };
        self.prefetch
    }

    /// Whether a flow that has acknowledged so many may make place for a full one.
    pub(super) fn is_over(&self, acknowledged: u64) -> bool {
        self.is_on() && self.prefetch < self.full && acknowledged >= self.suspects
    }

    /// A flow has ended.
    pub(super) fn ended(&mut self, acknowledged: u64) {
        if self.prefetch == 1 {
            self.suspects = self.suspects.saturating_sub(acknowledged);
        }
        if !self.is_on() {
            self.waits = waits();
        }
    }
}

/// backon adds up to the whole delay as jitter, so half the wanted cap keeps the cap.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(WAIT_MIN_MS))
        .with_max_delay(Duration::from_millis(WAIT_MAX_MS / 2))
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_loss_as_many_are_taken_one_by_one_as_were_in_hand() {
        let mut caution = Caution::new(100);
        assert_eq!((caution.heed(0), caution.next_prefetch()), (false, 100));
        caution.ended(0);
        assert_eq!((caution.heed(1), caution.next_prefetch()), (true, 1));
        assert!(!caution.heed(1), "one loss is heeded once");
        // Thirty were fine, then came the one that cannot be read, and came again.
        assert!(!caution.is_over(30));
        caution.ended(30);
        assert_eq!((caution.heed(2), caution.next_prefetch()), (true, 1));
        caution.ended(0);
        assert_eq!((caution.heed(3), caution.next_prefetch()), (true, 1));
        assert!(!caution.is_over(69) && caution.is_over(70));
        caution.ended(70);
        assert_eq!(caution.next_prefetch(), 100);
        assert!(!caution.is_over(1_000));
    }

    #[test]
    fn one_that_cannot_be_read_at_the_very_end_is_suspected_all_the_same() {
        let mut caution = Caution::new(10);
        caution.heed(1);
        caution.next_prefetch();
        caution.ended(10);
        caution.heed(2);
        assert_eq!(caution.next_prefetch(), 1);
        assert!(caution.is_over(1));
    }
}
