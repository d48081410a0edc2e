//! Calls of HTTP services, by their profiles.
//!
//! Why repeating is harmless: a call names one thing and asks for it to be gone; the profile is refused unless the
//! method is idempotent, or the service knows repeats by an idempotency key (the same for every attempt at a step), or
//! a look can tell what became of it. *Gone* is believed only where the profile names that answer, and only after the
//! same credentials have read the parent: a wrong account's 404 is not gone.

use std::path::Path;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use time::macros::format_description;

use super::{Attempt, Connector, HttpSettings, WrongSystem, misplaced};
use crate::clock::{self, Boottime};
use crate::deletion::{Denied, Verdict};
use crate::plan::{Call, SystemName, Values};

mod answers;
mod body;
mod profile;
mod retry_after;
mod rules;
mod wire;
mod written;

use answers::Meaning;
use profile::{Exchange, ServiceCall};
pub use profile::{Profile, ProfileError};
use retry_after::THROTTLED_DEFAULT;
use wire::{Answer, Trouble, Wire};

/// A built-in name of templates: the time of the attempt, UTC, like `2026-01-31T12:49:19Z`.
const NOW: &str = "now";
/// Of each text that is kept of an answer: names of operations are a tenth of it.
const KEPT_MAX_BYTES: usize = 2_000;
const CORRECT_CREDENTIALS: &str = "correct the credentials of this system in the settings, then retry";

/// What a look found.
enum Seen {
    Said(Verdict),
    /// The thing stands as if nobody had asked for its deletion: now repeating is right.
    Standing,
}

pub struct HttpConnector {
    wire: Wire,
    profile: Profile,
    /// Of the settings; no request can replace one of them.
    values: Values,
}

impl HttpConnector {
    pub(super) fn new(
        name: &SystemName,
        settings: &HttpSettings,
        profile: Profile,
    ) -> Result<Self, WrongSystem> {
        Ok(HttpConnector {
            wire: Wire::new(name, settings)?,
            profile,
            values: settings
                .values
                .iter()
                .map(|(name, value)| (name.clone(), Value::String(value.clone())))
                .collect(),
        })
    }

    /// Reads the profile that the settings name; a relative path starts at `folder`.
    pub(super) fn read_profile(
        name: &SystemName,
        settings: &HttpSettings,
        folder: &Path,
    ) -> Result<Profile, WrongSystem> {
        let path = folder.join(&settings.profile);
        let wrong = |found: String| WrongSystem {
            system: name.0.clone(),
            key: "profile",
            found,
            wanted: "a readable service profile".to_owned(),
        };
        let text =
            std::fs::read_to_string(&path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        Profile::parse(&text, &path.display().to_string()).map_err(|error| wrong(error.to_string()))
    }

    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whether the settings give a value under this name.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn values(&self, attempt: &Attempt) -> Values {
        let mut values = Values::clone(&attempt.values);
        if let Some(Value::Object(kept)) = &attempt.handle {
            values.extend(kept.clone());
        }
        let now = clock::now().format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second]Z"
        ));
        values.extend(now.map(|now| (NOW.to_owned(), Value::String(now))));
        values.extend(self.values.clone());
        values
    }

    async fn act(&self, call: &ServiceCall, attempt: &Attempt, deadline: Boottime) -> Verdict {
        let values = self.values(attempt);
        let mut request = match self.wire.request(&call.act, &values, &attempt.trace) {
            Ok(request) => request,
            Err(verdict) => return verdict,
        };
        if let Some(header) = &call.idempotency_header {
            request = request.header(header, &attempt.idempotency_key);
        }
        if !attempt.may_begin(deadline) {
            return Verdict::Stopped;
        }
        let answer = match self.wire.send(&call.act, request, deadline).await {
            Ok(answer) => answer,
            Err(Trouble::NotSent(why)) => return Verdict::again(why),
            Err(Trouble::Silent(why)) => return Verdict::unknown(why),
        };
        match call.act.meaning(&answer, &values) {
            Some(Meaning::Gone) => match self.evidence(call, &values, attempt, deadline).await {
                Ok(_) => Verdict::AlreadyGone,
                Err(verdict) => verdict,
            },
            Some(Meaning::Pending) => pending(call, &answer, attempt.handle.as_ref()),
            Some(Meaning::Missing | Meaning::Unseen) if !attempt.may_have_worked => Verdict::Absent,
            Some(Meaning::Missing) => done(&answer, None),
            Some(Meaning::Unseen) => Verdict::blocked(
                format!(
                    "{} answered {} after an attempt whose outcome is not known; it says the same of credentials that it \
                     does not know",
                    call.act.label(),
                    answer.status
                ),
                "look at the service whether it is gone; if it is, take the step as done, else retry",
            ),
            meaning => match settle(&call.act, &answer, meaning) {
                // The service, or a proxy before it, may have failed after the effect. Where a repeat would be a second
                // effect, somebody has to look first.
                Verdict::Again { why, .. } if !call.may_be_repeated() => {
                    Verdict::unknown(format!("{why}, and the call may not be repeated blindly"))
                }
                verdict => verdict,
            },
        }
    }

    /// Only looks: at something pending, or at what became of an attempt.
    async fn look(
        &self,
        call: &ServiceCall,
        look: &Exchange,
        attempt: &Attempt,
        deadline: Boottime,
    ) -> Result<Seen, Verdict> {
        let values = self.values(attempt);
        let request = self.wire.request(look, &values, &attempt.trace)?;
        let answer = match self.wire.send(look, request, deadline).await {
            Ok(answer) => answer,
            Err(Trouble::NotSent(why) | Trouble::Silent(why)) => return Err(Verdict::again(why)),
        };
        match look.meaning(&answer, &values) {
            Some(Meaning::Standing) => Ok(Seen::Standing),
            Some(Meaning::Gone) => {
                let evidence = self.evidence(call, &values, attempt, deadline).await?;
                Ok(Seen::Said(done(&answer, Some(evidence))))
            }
            Some(Meaning::Pending) => Ok(Seen::Said(Verdict::Pending {
                look_again: answer.retry_after.unwrap_or(call.every),
                handle: Some(attempt.handle.clone().unwrap_or_else(|| json!({}))),
            })),
            meaning => Ok(Seen::Said(settle(look, &answer, meaning))),
        }
    }

    /// Could these credentials have seen the thing? The status of the answer that says so, or what to do instead.
    async fn evidence(
        &self,
        call: &ServiceCall,
        values: &Values,
        attempt: &Attempt,
        deadline: Boottime,
    ) -> Result<u16, Verdict> {
        let Some(evidence) = &call.evidence else {
            return Err(Verdict::failed(
                "gone without evidence, which the profile does not name",
            ));
        };
        let request = self.wire.request(evidence, values, &attempt.trace)?;
        let answer = match self.wire.send(evidence, request, deadline).await {
            Ok(answer) => answer,
            Err(Trouble::NotSent(why) | Trouble::Silent(why)) => return Err(Verdict::again(why)),
        };
        match evidence.meaning(&answer, values) {
            Some(Meaning::Done) => Ok(answer.status),
            Some(meaning @ (Meaning::Retry | Meaning::Throttled)) => {
                Err(settle(evidence, &answer, Some(meaning)))
            }
            _ => Err(Verdict::denied(
                whom(answer.status),
                format!(
                    "the service says that it is not there, but these credentials could not have seen it: {} answered \
                     {} without what the profile wants",
                    evidence.label(),
                    answer.status
                ),
                CORRECT_CREDENTIALS,
            )),
        }
    }
}

impl Connector for HttpConnector {
    fn run<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let deadline = attempt.deadline();
            let call = match self.service_call(call) {
                Ok(call) => call,
                Err(verdict) => return verdict,
            };
            let (Some(_), Some(look)) = (&attempt.handle, &call.look) else {
                return self.act(call, attempt, deadline).await;
            };
            match self.look(call, look, attempt, deadline).await {
                // It had been accepted, and was lost on the other side.
                Ok(Seen::Standing) => self.act(call, attempt, deadline).await,
                Ok(Seen::Said(verdict)) | Err(verdict) => verdict,
            }
        })
    }

    fn probe<'a>(&'a self, call: &'a Call, attempt: &'a Attempt) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let call = match self.service_call(call) {
                Ok(call) => call,
                Err(verdict) => return verdict,
            };
            let Some(look) = &call.look else {
                return Verdict::not_yet("the call may not have taken effect; the service knows repeats");
            };
            match self.look(call, look, attempt, attempt.deadline()).await {
                Ok(Seen::Standing) => Verdict::not_yet("it stands as if its deletion had not been asked for"),
                // Looking failed, so what became of the attempt is as unknown as before: "again" would mean that
                // repeating is right.
                Ok(Seen::Said(Verdict::Again { why, .. })) | Err(Verdict::Again { why, .. }) => {
                    Verdict::unknown(why)
                }
                Ok(Seen::Said(Verdict::Throttled { .. })) | Err(Verdict::Throttled { .. }) => {
                    Verdict::unknown("the service asked for patience before it could be looked at")
                }
                Ok(Seen::Said(verdict)) | Err(verdict) => verdict,
            }
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let Some(ready) = &self.profile.ready else {
                return Ok(());
            };
            let request = self
                .wire
                .request(ready, &self.values, &crate::deletion::TraceContext::default())
                .map_err(|verdict| verdict.why().unwrap_or("not ready").to_owned())?;
            let deadline = Boottime::now().plus(READY_TIMEOUT);
            match self.wire.send(ready, request, deadline).await {
                Ok(answer) if ready.meaning(&answer, &self.values) == Some(Meaning::Done) => Ok(()),
                Ok(answer) => Err(format!("{} answered {}", ready.label(), answer.status)),
                Err(Trouble::NotSent(why) | Trouble::Silent(why)) => Err(why),
            }
        })
    }
}

/// Readiness is asked for every few seconds; one that takes longer is not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

impl HttpConnector {
    fn service_call(&self, call: &Call) -> Result<&ServiceCall, Verdict> {
        let Call::Http { call } = call else {
            return Err(misplaced("http", call));
        };
        self.profile.call(call).ok_or_else(|| {
            Verdict::blocked(
                format!("the system's service profile has no call `{call}`"),
                "add it to the profile, or correct the plan",
            )
        })
    }
}

/// What needs no further question.
fn settle(exchange: &Exchange, answer: &Answer, meaning: Option<Meaning>) -> Verdict {
    let said = format!("{} answered {}", exchange.label(), answer.status);
    match meaning {
        Some(Meaning::Done) => done(answer, None),
        Some(Meaning::Throttled) => Verdict::Throttled {
            retry_after: answer.retry_after.unwrap_or(THROTTLED_DEFAULT),
        },
        // 503 with a time is the service asking for patience, not failing.
        Some(Meaning::Retry) => match answer.retry_after {
            Some(retry_after) if answer.status == 503 => Verdict::Throttled { retry_after },
            not_before => Verdict::Again {
                why: said,
                not_before,
                in_order: false,
                undone: false,
            },
        },
        Some(Meaning::Refused) => Verdict::refused(said),
        Some(Meaning::Blocked) => Verdict::denied(whom(answer.status), said, CORRECT_CREDENTIALS),
        Some(Meaning::Failed) => Verdict::failed(said),
        Some(
            other @ (Meaning::Gone
            | Meaning::Pending
            | Meaning::Standing
            | Meaning::Missing
            | Meaning::Unseen),
        ) => Verdict::failed(format!(
            "{said}, which means {} where that has no place",
            other.word()
        )),
        None => Verdict::failed(format!("{said}, which the profile does not name")),
    }
}

/// 401 is said of credentials alone, 403 also of what they are used for; a profile's own words may mean either.
fn whom(status: u16) -> Denied {
    match status {
        401 => Denied::All,
        _ => Denied::Perhaps,
    }
}

fn done(answer: &Answer, evidence: Option<u16>) -> Verdict {
    let mut proof = json!({ "status": answer.status });
    if let Some(evidence) = evidence {
        proof["evidence"] = json!(evidence);
    }
    Verdict::Done { proof: Some(proof) }
}

fn pending(call: &ServiceCall, answer: &Answer, earlier: Option<&Value>) -> Verdict {
    let mut kept = earlier
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_else(Map::new);
    for (name, pointer) in &call.keep {
        match answer.body.as_ref().and_then(|body| body.pointer(pointer)) {
            // It goes into the journal: no NUL, and nothing endless.
            Some(Value::String(text)) if text.len() > KEPT_MAX_BYTES || text.contains(char::is_control) => {
                return Verdict::failed(format!(
                    "{} answered {} with a `{name}` of {} bytes that cannot be kept; wanted at most {KEPT_MAX_BYTES} without \
                     control characters",
                    call.act.label(),
                    answer.status,
                    text.len()
                ));
            }
            Some(value @ (Value::String(_) | Value::Number(_))) => kept.insert(name.clone(), value.clone()),
            _ => {
                return Verdict::failed(format!(
                    "{} answered {} without the `{name}` that later looks need",
                    call.act.label(),
                    answer.status
                ));
            }
        };
    }
    Verdict::Pending {
        look_again: answer.retry_after.unwrap_or(call.every),
        handle: Some(Value::Object(kept)),
    }
}
