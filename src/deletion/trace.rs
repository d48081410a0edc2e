//! Trace context as it travels: W3C `traceparent` and `tracestate`, kept as text and checked on the way in.

use serde::{Deserialize, Serialize};

/// More state than this is dropped: the W3C text asks for at least 512 characters to be carried.
const TRACESTATE_MAX_BYTES: usize = 512;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// A malformed parent is no parent: a trace is never a reason to refuse a request.
    pub fn new(traceparent: Option<&str>, tracestate: Option<&str>) -> Self {
        let traceparent = traceparent.filter(|text| is_traceparent(text)).map(str::to_owned);
        let tracestate = tracestate
            .filter(|text| {
                traceparent.is_some()
                    && text.len() <= TRACESTATE_MAX_BYTES
                    && !text.contains(char::is_control)
            })
            .map(str::to_owned);
        TraceContext {
            traceparent,
            tracestate,
        }
    }
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, len| {
        part.len() == len
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match parts.as_slice() {
        [version, trace, span, flags] => {
            hex(version, 2)
                && *version != "ff"
                && hex(trace, 32)
                && trace.bytes().any(|b| b != b'0')
                && hex(span, 16)
                && span.bytes().any(|b| b != b'0')
                && hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_parent_is_carried() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            TraceContext::new(Some(good), Some("a=b")).traceparent.as_deref(),
            Some(good)
        );
        for wrong in [
            "",
            "00-0-0-01",
            &good.to_uppercase(),
            &good.replace("00f067aa0ba902b7", "0000000000000000"),
        ] {
            assert_eq!(
                TraceContext::new(Some(wrong), Some("a=b")),
                TraceContext::default(),
                "{wrong}"
            );
        }
    }
}
