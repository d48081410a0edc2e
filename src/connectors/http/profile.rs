//! Service profiles: how one vendor's calls look and what its answers mean, as a TOML file.
//!
//! Reading it is strict, because a wrong profile deletes wrongly: `gone` needs evidence, a call that cannot be
//! repeated needs a look, and an error names file and line and what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;

use super::answers::Answers;
use super::body::Body;
use super::rules::{Wrong, looking, service_call};
use super::written::RawProfile;
use crate::plan::Template;

#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct ProfileError {
    pub file: String,
    pub line: usize,
    pub what: String,
}

/// All calls of one service.
#[derive(Debug)]
pub struct Profile {
    calls: BTreeMap<String, ServiceCall>,
    pub(super) ready: Option<Exchange>,
}

#[derive(Debug)]
pub(super) struct ServiceCall {
    pub(super) act: Exchange,
    pub(super) idempotency_header: Option<HeaderName>,
    pub(super) look: Option<Exchange>,
    pub(super) every: Duration,
    /// What to keep from a pending answer for later looks: name → JSON pointer.
    pub(super) keep: BTreeMap<String, String>,
    pub(super) evidence: Option<Exchange>,
}

impl ServiceCall {
    /// Whether a second request like the first changes nothing more, by its method or since the service knows repeats.
    pub(super) fn may_be_repeated(&self) -> bool {
        self.idempotency_header.is_some() || self.act.method.is_idempotent()
    }
}

/// One request and what its answers mean.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) path: Template,
    pub(super) query: Vec<(String, Template)>,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) body: Option<Body>,
    pub(super) answers: Answers,
}

impl Profile {
    pub fn parse(text: &str, file: &str) -> Result<Self, ProfileError> {
        let at = |offset: usize, what: String| ProfileError {
            file: file.to_owned(),
            line: text.get(..offset).unwrap_or(text).matches('\n').count() + 1,
            what,
        };
        let raw: RawProfile = toml::from_str(text).map_err(|error| {
            at(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        if raw.call.is_empty() {
            return Err(at(
                0,
                "found no call; wanted at least one `[call.NAME]`".to_owned(),
            ));
        }
        let wrong = |(offset, what): Wrong| at(offset, what);
        let mut calls = BTreeMap::new();
        for (name, call) in raw.call {
            calls.insert(name, service_call(&call, raw.evidence.as_ref()).map_err(wrong)?);
        }
        let ready = raw.ready.as_ref().map(looking).transpose().map_err(wrong)?;
        Ok(Profile { calls, ready })
    }

    /// The names that a plan may call, as the part after the dot of `call = "cloud.terminate"`.
    pub fn calls(&self) -> impl Iterator<Item = &str> {
        self.calls.keys().map(String::as_str)
    }

    /// The names that the templates of a call need; a plan's facts, params and reads and the system's `values` have to
    /// give them.
    pub fn names(&self, call: &str) -> BTreeSet<&str> {
        let Some(call) = self.calls.get(call) else {
            return BTreeSet::new();
        };
        let look = call.look.iter().flat_map(Exchange::names);
        // What is kept of an answer is there for later looks only.
        let mut names: BTreeSet<&str> = look.filter(|name| !call.keep.contains_key(*name)).collect();
        let first = [Some(&call.act), call.evidence.as_ref()];
        names.extend(first.into_iter().flatten().flat_map(Exchange::names));
        names.remove(super::NOW);
        names
    }

    /// Whether the request of a call itself carries this value.
    pub(in crate::connectors) fn sends(&self, call: &str, name: &str) -> bool {
        self.calls
            .get(call)
            .is_some_and(|call| call.act.sent().any(|sent| sent == name))
    }

    pub(super) fn call(&self, name: &str) -> Option<&ServiceCall> {
        self.calls.get(name)
    }
}

impl Exchange {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.sent().chain(self.answers.names())
    }

    fn sent(&self) -> impl Iterator<Item = &str> {
        self.path
            .names()
            .chain(self.query.iter().flat_map(|(_, template)| template.names()))
            .chain(self.headers.iter().flat_map(|(_, template)| template.names()))
            .chain(self.body.iter().flat_map(Body::names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[evidence]
path = "/whoami"
done = [{ status = 200, at = "/account", is = "{account}" }]

[call.terminate]
method = "DELETE"
path = "/machines/{provider_id}"
query = { at = "{now}" }
headers = { X-Trace = "{trace}" }
body = { why = "deletion {id}" }
idempotency_header = "Idempotency-Key"
done = [204]
gone = [404]
pending = [202]
keep = { operation = "/operation" }

[call.terminate.look]
path = "/machines/{provider_id}/{operation}"
every = "500ms"
gone = [404]
pending = [200]
"#;

    #[test]
    fn a_profile_tells_its_calls_and_the_names_they_need() {
        let profile = Profile::parse(GOOD, "cloud.toml").expect("a good profile");
        assert_eq!(profile.calls().collect::<Vec<_>>(), ["terminate"]);
        assert_eq!(
            profile.names("terminate").into_iter().collect::<Vec<_>>(),
            ["account", "id", "provider_id", "trace"]
        );
        let call = profile.call("terminate").expect("the call");
        assert_eq!(call.every, Duration::from_millis(500));
        assert!(profile.names("other").is_empty());
        assert!(profile.sends("terminate", "id") && !profile.sends("terminate", "account"));
        let early = GOOD.replace("deletion {id}", "deletion {operation}");
        let early = Profile::parse(&early, "cloud.toml").expect("a good profile");
        assert!(
            early.names("terminate").contains("operation"),
            "the first request has no answer yet"
        );
    }

    #[test]
    fn a_wrong_profile_is_refused_by_file_and_line_and_what_is_wanted() {
        for (from, to, line, wanted) in [
            ("[evidence]", "[ready]", 6, "without evidence"),
            ("\"DELETE\"", "\"REMOVE\"", 7, "wanted GET, HEAD, DELETE"),
            ("method = \"DELETE\"", "", 6, "found no method"),
            (
                "{provider_id}\"\nquery",
                "{provider_id\"\nquery",
                8,
                "never closed",
            ),
            (
                "\"/machines/{provider_id}\"\nquery",
                "\"machines\"\nquery",
                8,
                "wanted one like",
            ),
            ("done = [204]", "done = [204, 202]", 15, "twice"),
            ("done = [204]", "dome = [204]", 13, "unknown field `dome`"),
            ("\"500ms\"", "\"1ms\"", 20, "100ms to 15m"),
            ("\"500ms\"", "\"often\"", 20, "a time like"),
            ("gone = [404]\npending = [200]", "", 18, "found no answers"),
            ("\"Idempotency-Key\"", "\"a b\"", 12, "a name like"),
            ("[call.terminate.look]", "[call.zzz]", 6, "without `look`"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = Profile::parse(&text, "cloud.toml").expect_err(from).to_string();
            assert!(
                error.starts_with(&format!("cloud.toml:{line}: ")) && error.contains(wanted),
                "{from} -> {to}: {error}"
            );
        }
        assert!(Profile::parse("", "x").is_err());
    }
}
