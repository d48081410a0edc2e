//! The one place that reads a clock.
//!
//! Wall time comes from here so that rules stay pure (they are handed `now`), and lease time comes from a clock
//! that also counts suspension: a laptop or VM that slept must not believe that its lease still stands.

use std::time::Duration;

use time::OffsetDateTime;

/// Wall time, for what is recorded and shown.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
pub fn now() -> OffsetDateTime {
    // Postgres keeps microseconds; a finer value would not survive the round trip and replay would differ.
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000)
        .unwrap_or(now)
}

/// A point on the clock that goes on while the machine sleeps. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boottime(Duration);

impl Boottime {
    pub fn now() -> Self {
        #[cfg(target_os = "linux")]
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // macOS counts suspension on its monotonic raw clock; elsewhere this is the closest thing there is.
        #[cfg(not(target_os = "linux"))]
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Boottime(Duration::new(
            at.tv_sec.unsigned_abs(),
            u32::try_from(at.tv_nsec).unwrap_or(0),
        ))
    }

    pub fn plus(self, span: Duration) -> Self {
        Boottime(self.0 + span)
    }

    /// What is left until this point; zero once it has passed.
    pub fn left(self) -> Duration {
        self.left_by(Boottime::now())
    }

    /// The same, as seen from another point.
    pub fn left_by(self, now: Boottime) -> Duration {
        self.0.saturating_sub(now.0)
    }

    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    pub fn from_millis(millis: u64) -> Self {
        Boottime(Duration::from_millis(millis))
    }
}

/// For what is looked at over and over, and is not worth more than a hundredth of the time: the longer it takes, the longer
/// it is left alone afterwards.
#[derive(Debug, Default)]
pub struct Sparing {
    next: Boottime,
}

impl Sparing {
    const PAUSE_TIMES: u32 = 99;
    const PAUSE_MAX: Duration = Duration::from_secs(300);

    /// `None`: not yet again.
    pub async fn look<T>(&mut self, look: impl Future<Output = T>) -> Option<T> {
        let began = Boottime::now();
        if !self.next.left_by(began).is_zero() {
            return None;
        }
        let seen = look.await;
        self.next = Self::next(began, Boottime::now());
        Some(seen)
    }

    fn next(began: Boottime, ended: Boottime) -> Boottime {
        ended.plus((ended.left_by(began) * Self::PAUSE_TIMES).min(Self::PAUSE_MAX))
    }
}

/// The clock of pauses: how long a system in trouble is left alone. It goes with [`Boottime`], and a test may set it
/// forward by hand: leases and timeouts do not go by it, so an hour of waiting is over without anything timing out.
#[cfg(debug_assertions)]
pub fn pauses_now() -> Boottime {
    let skipped = SKIPPED_MS.load(std::sync::atomic::Ordering::Relaxed);
    Boottime::now().plus(Duration::from_millis(skipped))
}

#[cfg(not(debug_assertions))]
pub fn pauses_now() -> Boottime {
    Boottime::now()
}

#[cfg(debug_assertions)]
static SKIPPED_MS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Sets the clock of pauses forward, for this process. Not there in a release build.
#[cfg(debug_assertions)]
pub fn skip_pauses(by: Duration) {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    SKIPPED_MS.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_the_past_has_nothing_left_and_one_ahead_has() {
        let now = Boottime::now();
        assert_eq!(now.left(), Duration::ZERO);
        assert!(now.plus(Duration::from_secs(60)).left() > Duration::from_secs(50));
    }

    #[test]
    fn what_takes_long_is_looked_at_seldom() {
        let began = Boottime::from_millis(1_000);
        let next = |took| Sparing::next(began, began.plus(took)).left_by(began);
        assert_eq!(next(Duration::from_millis(1)), Duration::from_millis(100));
        assert_eq!(next(Duration::from_secs(1)), Duration::from_secs(100));
        assert_eq!(next(Duration::from_secs(10)), Duration::from_secs(310));
    }

    #[tokio::test]
    async fn a_look_that_took_its_time_is_not_made_again_at_once() {
        let mut sparing = Sparing::default();
        let slow = async {
            let until = Boottime::now().plus(Duration::from_millis(20));
            while !until.left().is_zero() {}
        };
        assert_eq!(sparing.look(slow).await, Some(()));
        assert_eq!(sparing.look(async {}).await, None);
    }

    #[test]
    fn wall_time_is_cut_to_what_postgres_keeps() {
        assert_eq!(now().nanosecond() % 1_000, 0);
    }
}
