//! How often a key may come: a bucket for each, which fills by the second.
//!
//! Buckets live in this process; with several gateways a key has its rate at each of them. (A limiter of the ecosystem has
//! one rate for all keys; these have rates of their own.)

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Keys that are remembered at once. Full buckets are forgotten first: they say nothing.
const BUCKETS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: f64,
}

#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<Uuid, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
    rate: Rate,
}

impl Bucket {
    fn at(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + since * self.rate.per_second).min(self.rate.burst)
    }
}

impl Buckets {
    /// Takes one, or says after how long there is one.
    pub(super) fn take(&mut self, key: Uuid, rate: Rate, now: Instant) -> Result<(), Duration> {
        if self.0.len() >= BUCKETS_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, bucket| bucket.at(now) < bucket.rate.burst);
            if self.0.len() >= BUCKETS_MAX {
                // All of them are busy: the bound holds, and nobody is let in for nothing.
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = self.0.entry(key).or_insert(Bucket {
            tokens: rate.burst,
            at: now,
            rate,
        });
        bucket.rate = rate;
        let tokens = bucket.at(now);
        (bucket.tokens, bucket.at) = (tokens, now);
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / rate.per_second));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 2.0,
        burst: 3.0,
    };

    #[test]
    fn a_key_has_its_burst_and_then_its_rate() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let after = |ms: u64| start + Duration::from_millis(ms);
        let (key, other) = (Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16]));
        for _ in 0..3 {
            assert_eq!(buckets.take(key, RATE, start), Ok(()));
        }
        assert_eq!(buckets.take(key, RATE, start), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take(other, RATE, start), Ok(()), "each its own");
        assert_eq!(
            buckets.take(key, RATE, after(250)),
            Err(Duration::from_millis(250))
        );
        assert_eq!(buckets.take(key, RATE, after(500)), Ok(()));
        assert!(buckets.take(key, RATE, after(500)).is_err());
        for _ in 0..3 {
            assert_eq!(
                buckets.take(key, RATE, after(60_000)),
                Ok(()),
                "no more than the burst"
            );
        }
        assert!(buckets.take(key, RATE, after(60_000)).is_err());
    }

    #[test]
    fn invariant_11_so_many_keys_are_remembered_and_no_more() {
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        let slow = Rate {
            per_second: 0.001,
            burst: 1.0,
        };
        let key = |n: u128| Uuid::from_u128(n);
        for n in 0..BUCKETS_MAX as u128 {
            assert_eq!(buckets.take(key(n), slow, now), Ok(()));
        }
        assert!(buckets.take(key(u128::MAX), slow, now).is_err(), "all are busy");
        let later = now + Duration::from_secs(2_000);
        assert_eq!(buckets.take(key(u128::MAX), slow, later), Ok(()));
        assert_eq!(buckets.0.len(), 1, "the full ones are forgotten");
    }
}
