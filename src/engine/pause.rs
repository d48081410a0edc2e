//! How long a system in trouble is left alone: longer after each try in vain, and those who were turned away meanwhile
//! come back one after the other.

use std::time::Duration;

use crate::clock::{self, Boottime};

/// A try a minute finds soon that the trouble is over, and is nothing to the other side.
const LONGEST: Duration = Duration::from_secs(60);
/// Those who were turned away come back spread over this much each, so that a claim is never all theirs.
const SPREAD_EACH: Duration = Duration::from_millis(2);
const SPREAD_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Pause {
    first: Duration,
    now: Duration,
    until: Boottime,
    /// Turned away since it began.
    away: u32,
}

impl Pause {
    pub(super) fn begin(first: Duration) -> Self {
        Pause {
            first,
            now: first,
            until: clock::pauses_now().plus(first),
            away: 0,
        }
    }

    /// After a try in vain.
    pub(super) fn again(&mut self) {
        self.now = (self.now * 2).min(LONGEST.max(self.first));
        self.until = clock::pauses_now().plus(self.now);
        self.away = 0;
    }

    /// The next one may try, at once.
    pub(super) fn cut_short(&mut self) {
        *self = Pause {
            until: clock::pauses_now(),
            ..Pause::begin(self.first)
        };
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    pub(super) fn left(&self) -> Duration {
        self.until.left_by(clock::pauses_now())
    }

    /// How long one more has to stay away: until the next try, and then in turn.
    pub(super) fn stay_away(&mut self) -> Duration {
        let until = match self.left() {
            Duration::ZERO => self.first,
            left => left,
        };
        let spread = SPREAD_EACH.saturating_mul(self.away).min(SPREAD_MAX);
        self.away = self.away.saturating_add(1);
        until + spread.mul_f64(rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(10);

    #[test]
    fn invariant_11_pauses_grow_to_a_minute_and_begin_small_again() {
        let mut pause = Pause::begin(FIRST);
        let mut seconds = Vec::new();
        for _ in 0..4 {
            pause.again();
            seconds.push(pause.left().as_secs_f64().round() as u64);
        }
        assert_eq!(seconds, [20, 40, 60, 60]);
        pause.cut_short();
        assert!(pause.is_over());
        pause.again();
        assert!(pause.left() <= FIRST * 2);
        let mut longer = Pause::begin(LONGEST * 5);
        longer.again();
        assert!(longer.left() > LONGEST * 4, "what the settings want is kept");
    }

    #[test]
    fn those_who_were_turned_away_come_back_one_after_the_other() {
        let mut pause = Pause::begin(FIRST);
        let longest = (0..20_000).map(|_| pause.stay_away()).max().expect("some");
        assert!(longest > FIRST + Duration::from_secs(20) && longest <= FIRST + SPREAD_MAX);
    }
}
