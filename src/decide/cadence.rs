//! From a verdict to the moment of the next attempt: full jitter below an exponential ceiling.
//!
//! Delays here outlive the process, so they are a pure function of the attempt; the jitter is handed in.

use std::time::Duration;

use time::OffsetDateTime;

use crate::deletion::Verdict;
use crate::plan::Retry;

/// 2^20 times any base is past every ceiling; a higher exponent would only overflow.
const EXPONENT_MAX: u32 = 20;
/// A throttled crowd that comes back in the same instant is throttled again; spread it over this much.
const THROTTLE_SPREAD_MS: u64 = 500;

/// When to go on after `verdict`; `None` is at once. `jitter` is from 0 to 1; `spent` counts this attempt, too.
pub fn due(
    verdict: &Verdict,
    retry: &Retry,
    spent: u32,
    now: OffsetDateTime,
    jitter: f64,
) -> Option<OffsetDateTime> {
    let jitter = jitter.clamp(0.0, 1.0);
    let delay = match verdict {
        Verdict::Again { not_before, .. } => {
            backoff(retry, spent, jitter).max(not_before.unwrap_or_default())
        }
        Verdict::Unknown { .. } => backoff(retry, spent, jitter),
        Verdict::Throttled { retry_after } => {
            *retry_after + Duration::from_millis(THROTTLE_SPREAD_MS).mul_f64(jitter)
        }
        Verdict::Pending { look_again, .. } => *look_again,
        _ => Duration::ZERO,
    };
    (!delay.is_zero()).then(|| now + delay)
}

fn backoff(retry: &Retry, spent: u32, jitter: f64) -> Duration {
    let ceiling = retry
        .base
        .saturating_mul(1 << spent.saturating_sub(1).min(EXPONENT_MAX))
        .min(retry.max);
    // Postgres keeps microseconds.
    Duration::from_micros(u64::try_from(ceiling.mul_f64(jitter).as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        attempts: 5,
        base: Duration::from_secs(1),
        max: Duration::from_secs(60),
    };
    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn delay(verdict: &Verdict, spent: u32, jitter: f64) -> Duration {
        due(verdict, &RETRY, spent, NOW, jitter).map_or(Duration::ZERO, |at| (at - NOW).unsigned_abs())
    }

    #[test]
    fn invariant_11_the_ceiling_doubles_and_is_bounded_for_any_attempt() {
        let again = Verdict::again("x");
        let ceilings: Vec<u64> = [1, 2, 3, 7, 40, u32::MAX]
            .map(|n| delay(&again, n, 1.0).as_secs())
            .to_vec();
        assert_eq!(ceilings, [1, 2, 4, 60, 60, 60]);
    }

    #[test]
    fn jitter_is_full_and_patience_asked_for_is_kept() {
        assert_eq!(delay(&Verdict::again("x"), 3, 0.0), Duration::ZERO);
        assert_eq!(delay(&Verdict::again("x"), 3, 0.5), Duration::from_secs(2));
        let asked = Verdict::Again {
            why: String::new(),
            not_before: Some(Duration::from_secs(30)),
            in_order: false,
            undone: false,
        };
        assert_eq!(delay(&asked, 1, 0.5), Duration::from_secs(30));
        assert!(
            delay(
                &Verdict::Throttled {
                    retry_after: Duration::from_secs(9)
                },
                1,
                0.0
            ) >= Duration::from_secs(9)
        );
        assert_eq!(delay(&Verdict::done(), 1, 1.0), Duration::ZERO);
    }
}
