//! Where a claim begins: not at what was taken long ago, and before whatever may still come there.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::store::Passed;

/// Claims pass over what an earlier claim has taken or seen, but for rows whose transaction may still have been open then:
/// longer than any statement may last.
pub(super) const OVERLAP: Duration = Duration::from_secs(30);
/// In a backlog a claim begins where the last one ended, or it would step over the entries of all that was taken in the last
/// [`OVERLAP`]. What was committed late, behind it, is found as often as this.
const LOOK_BACK_EVERY: Duration = Duration::from_secs(1);
/// Every so often a claim looks at everything, whatever was seen before.
const ALL_EVERY: Duration = Duration::from_secs(30);

pub(super) struct Cursor {
    /// All that is due until then was taken or seen, and nothing comes there any more.
    since: Passed,
    /// Where the last claim ended, if there was more.
    ended: Option<Passed>,
    look_back_at: Instant,
    all_at: Instant,
}

/// Where one claim begins.
#[derive(Clone, Copy)]
pub(super) struct Begin {
    pub at: Passed,
    looks_back: bool,
}

/// What a claim came back with.
pub(super) struct Back {
    pub taken: Passed,
    pub is_more: bool,
    /// Whether it was asked for those of batches at all.
    pub batches: bool,
}

impl Cursor {
    pub(super) fn new(now: Instant) -> Self {
        Cursor {
            since: Passed::default(),
            ended: None,
            look_back_at: now,
            all_at: now + ALL_EVERY,
        }
    }

    pub(super) fn begin(&mut self, now: Instant) -> Begin {
        if now >= self.all_at {
            self.all_at = now + ALL_EVERY;
            // What is known stands until it is answered: a look at everything may take longer than a statement may.
            return Begin {
                at: Passed::default(),
                looks_back: true,
            };
        }
        let goes_on = self.ended.filter(|_| now < self.look_back_at);
        Begin {
            at: goes_on.unwrap_or(self.since),
            looks_back: goes_on.is_none(),
        }
    }

    /// Whether it has to be looked again at once. `settled`: the transactions of all that was due until then have ended.
    pub(super) fn came(&mut self, begun: Begin, back: Back, now: Instant, settled: OffsetDateTime) -> bool {
        self.ended = back.is_more.then(|| begun.at.on(back.taken));
        if begun.looks_back {
            self.look_back_at = now + LOOK_BACK_EVERY;
            self.since = match back.is_more {
                true => begun.at.on(back.taken.at_most(settled)),
                false => Passed {
                    single: Some(settled),
                    // Not asked for, they are not seen either.
                    batched: if back.batches {
                        Some(settled)
                    } else {
                        begun.at.batched
                    },
                },
            };
        }
        // Nothing is left beyond; only a look back tells that nothing is left at all.
        !back.is_more && !begun.looks_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(nth: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(nth)
    }

    fn single(nth: i64) -> Passed {
        Passed {
            single: Some(second(nth)),
            batched: None,
        }
    }

    fn back(taken: Passed, is_more: bool) -> Back {
        Back {
            taken,
            is_more,
            batches: true,
        }
    }

    /// After a claim that took all that was due until 80, where nothing comes any more until 50.
    fn in_a_backlog(now: Instant) -> Cursor {
        let mut cursor = Cursor::new(now);
        let begun = cursor.begin(now);
        assert_eq!(begun.at, Passed::default());
        assert!(!cursor.came(begun, back(single(80), true), now, second(50)));
        cursor
    }

    #[test]
    fn in_a_backlog_it_goes_on_where_it_ended_and_looks_back_to_what_is_settled() {
        let now = Instant::now();
        let mut cursor = in_a_backlog(now);
        // Behind what was taken, until a second has passed.
        let begun = cursor.begin(now);
        assert_eq!(begun.at, single(80));
        assert!(!cursor.came(begun, back(single(90), true), now, second(50)));
        let later = now + LOOK_BACK_EVERY;
        let begun = cursor.begin(later);
        assert_eq!(
            begun.at,
            single(50),
            "what is due after that may be committed late"
        );
        assert!(!cursor.came(begun, back(single(95), true), later, second(51)));
        assert_eq!(cursor.begin(later).at, single(95));
    }

    #[test]
    fn only_a_look_back_says_that_nothing_is_left() {
        let now = Instant::now();
        let mut cursor = in_a_backlog(now);
        let begun = cursor.begin(now);
        assert!(
            cursor.came(begun, back(Passed::default(), false), now, second(60)),
            "it looks again at once"
        );
        let begun = cursor.begin(now);
        assert_eq!(begun.at, single(50));
        assert!(!cursor.came(begun, back(Passed::default(), false), now, second(60)));
        let seen = Passed {
            single: Some(second(60)),
            batched: Some(second(60)),
        };
        assert_eq!(cursor.begin(now).at, seen);
    }

    #[test]
    fn batches_that_were_not_asked_for_are_not_passed_over() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        let begun = cursor.begin(now);
        let nothing = Back {
            batches: false,
            ..back(Passed::default(), false)
        };
        cursor.came(begun, nothing, now, second(60));
        assert_eq!(cursor.begin(now).at, single(60));
    }

    #[test]
    fn now_and_then_everything_is_looked_at() {
        let now = Instant::now();
        let mut cursor = in_a_backlog(now);
        assert_eq!(cursor.begin(now + ALL_EVERY).at, Passed::default());
    }

    #[test]
    fn a_look_at_everything_that_fails_is_not_tried_again_at_once() {
        let now = Instant::now();
        let mut cursor = in_a_backlog(now);
        let later = now + ALL_EVERY;
        assert_eq!(cursor.begin(later).at, Passed::default());
        assert_eq!(cursor.begin(later).at, single(50));
    }
}
