//! `Retry-After`, as seconds or as an HTTP date (RFC 9110, section 10.2.3), within bounds of ours.

use std::time::Duration;

use time::OffsetDateTime;

/// A service that says "0" would otherwise be asked in a tight loop.
pub(super) const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// A wrong clock or a careless header must not put a deletion to sleep for a day.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// For a throttling answer that names no time.
pub(super) const THROTTLED_DEFAULT: Duration = Duration::from_secs(5);

/// None if there is no header, or none that can be understood.
pub(super) fn retry_after(header: Option<&str>, now: OffsetDateTime) -> Option<Duration> {
    let text = header?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds still mean "very long".
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = OffsetDateTime::from(httpdate::parse_http_date(text).ok()?);
        Duration::try_from(at - now).unwrap_or(Duration::ZERO)
    };
    Some(wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_held_in_bounds() {
        let now = datetime!(2026-01-31 12:00:00 UTC);
        for (header, wanted) in [
            (Some("7"), Some(7)),
            (Some(" 120 "), Some(120)),
            (Some("0"), Some(1)),
            (Some("86400"), Some(900)),
            (Some("99999999999999999999999"), Some(900)),
            (Some("Sat, 31 Jan 2026 12:00:30 GMT"), Some(30)),
            (Some("Sat, 31 Jan 2026 11:00:00 GMT"), Some(1)),
            (Some("Sat, 31 Jan 2099 12:00:00 GMT"), Some(900)),
            (Some("soon"), None),
            (Some("-5"), None),
            (Some(""), None),
            (None, None),
        ] {
            assert_eq!(
                retry_after(header, now),
                wanted.map(Duration::from_secs),
                "{header:?}"
            );
        }
    }
}
