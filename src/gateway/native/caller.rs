//! Who calls, and what stands around their request: the bearer, the key of the request, how long they want to wait, their
//! trace.

use std::time::Duration;

use axum::http::{HeaderMap, header};

use super::problem::{Kind, Problem};
use crate::decide::access::{Act, Dialect, MayNot, Principal};
use crate::deletion::{Key, TraceContext};
use crate::gateway::access::Denied;
use crate::gateway::{About, Desk};

/// A server that is away is asked again after so long.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What a bearer header holds; the scheme is written in any case.
pub(in crate::gateway) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).into_iter();
    let (Some(one), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, credential) = one.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| credential.trim())
        .filter(|credential| !credential.is_empty())
}

/// The principal, if it may do this here.
pub(super) async fn caller(desk: &Desk, headers: &HeaderMap, act: Act) -> Result<Principal, Problem> {
    let unauthorized = || {
        Problem::new(
            Kind::Unauthorized,
            "found no credentials that are good; wanted `Authorization: Bearer` with a key or a token",
        )
    };
    let credential = bearer(headers).ok_or_else(unauthorized)?;
    let principal = match desk.access.by_bearer(credential).await {
        Ok(principal) => principal,
        Err(Denied::Unknown) => return Err(unauthorized()),
        Err(Denied::TooFast { retry_after }) => {
            return Err(
                Problem::new(Kind::TooManyRequests, "found more calls than this key has").after(retry_after),
            );
        }
        Err(Denied::Store { source }) => return Err(away(&source)),
    };
    match principal.may(act, Dialect::Native) {
        Ok(()) => Ok(principal),
        Err(MayNot::Dialect) => Err(Problem::new(
            Kind::Forbidden,
            "found a key for other dialects; wanted one with `native`",
        )),
        Err(MayNot::Role) => Err(Problem::new(
            Kind::Forbidden,
            "found a key that may only look; wanted one with the role `requester`",
        )),
    }
}

/// Our own tables; what was asked for is not lost by asking again.
pub(super) fn away(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::warn!(error = %crate::telemetry::chain(error), "a call could not be served");
    Problem::new(Kind::Unavailable, "Sexton's own database is away; ask again").after(AGAIN_AFTER)
}

/// `Idempotency-Key`, bare or as the quoted text of a structured header.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
    let mut all = headers.get_all("idempotency-key").into_iter();
    let Some(one) = all.next() else { return Ok(None) };
    let wrong = |what: String| Problem::at(Kind::Invalid, "", format!("Idempotency-Key: {what}"));
    if all.next().is_some() {
        return Err(wrong("found twice; wanted one".to_owned()));
    }
    let text = std::str::from_utf8(one.as_bytes())
        .map_err(|_| wrong("found bytes that are not UTF-8; wanted 1 to 255 bytes of text".to_owned()))?;
    let text = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    };
    Key::parse(text)
        .map(Some)
        .map_err(|bad| wrong(format!("found {bad}")))
}

/// How long this call may wait. `Prefer` (RFC 7240) shortens it; what it says and is not known is passed over.
pub(super) struct Patience {
    pub(super) wait: Duration,
    /// What of the preference was heeded.
    pub(super) applied: Option<String>,
}

pub(super) fn patience(headers: &HeaderMap, most: Duration) -> Patience {
    let all = headers.get_all("prefer").into_iter();
    let preferences = all
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split([',', ';']))
        .map(str::trim);
    let mut patience = Patience {
        wait: most,
        applied: None,
    };
    for preference in preferences {
        if preference.eq_ignore_ascii_case("respond-async") {
            return Patience {
                wait: Duration::ZERO,
                applied: Some("respond-async".to_owned()),
            };
        }
        let seconds = preference
            .split_once('=')
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
            .and_then(|(_, value)| value.trim().parse::<u32>().ok());
        if let Some(seconds) = seconds {
            let wait = Duration::from_secs(seconds.into()).min(most);
            patience = Patience {
                wait,
                applied: Some(format!("wait={}", wait.as_secs())),
            };
        }
    }
    patience
}

/// What goes on with the request and comes back with its outcome.
pub(in crate::gateway) fn about(headers: &HeaderMap) -> About {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    About {
        correlation_id: text("x-request-id")
            .or(text("x-correlation-id"))
            .map(str::to_owned),
        trace: TraceContext::new(text("traceparent"), text("tracestate")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn a_bearer_is_one_credential_after_its_scheme() {
        let of = |values: &[&str]| bearer(&with("authorization", values)).map(str::to_owned);
        assert_eq!(of(&["Bearer abc"]), Some("abc".into()));
        assert_eq!(of(&["bearer  abc "]), Some("abc".into()));
        for wrong in [
            &["abc"][..],
            &["Basic abc"],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a", "Bearer b"],
            &[],
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_preference_shortens_the_wait_and_never_lengthens_it() {
        let most = Duration::from_secs(25);
        for (prefer, wait, applied) in [
            (&[][..], 25, None),
            (&["respond-async"], 0, Some("respond-async")),
            (&["Respond-Async, wait=5"], 0, Some("respond-async")),
            (&["wait=5"], 5, Some("wait=5")),
            (&["wait=500"], 25, Some("wait=25")),
            (&["handling=lenient", "wait = 7"], 7, Some("wait=7")),
            (&["wait=soon"], 25, None),
        ] {
            let patience = patience(&with("prefer", prefer), most);
            assert_eq!(patience.wait, Duration::from_secs(wait), "{prefer:?}");
            assert_eq!(patience.applied.as_deref(), applied, "{prefer:?}");
        }
    }

    #[test]
    fn a_key_is_bare_or_quoted() {
        let of = |values: &[&str]| {
            key(&with("idempotency-key", values))
                .map(|key| key.map(String::from))
                .ok()
        };
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&["abc"]), Some(Some("abc".into())));
        assert_eq!(of(&["\"a \\\"b\\\"\""]), Some(Some("a \"b\"".into())));
        for wrong in [&["a", "b"][..], &[""], &["\"\""], &[&"x".repeat(256)]] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
