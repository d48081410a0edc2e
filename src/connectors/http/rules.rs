//! From a profile as it is written to calls that cannot be wrong in shape.
//!
//! What is refused here would delete wrongly: *gone* without evidence, success that nobody named, a call that cannot be
//! repeated, a look that changes something.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::answers::{Answers, Meaning};
use super::body::Body;
use super::profile::{Exchange, ServiceCall};
use super::written::RawCall;
use crate::plan::Template;

/// Between two looks at something pending: less is hammering, more lets a deadline pass unseen.
const EVERY_MIN: Duration = Duration::from_millis(100);
const EVERY_MAX: Duration = Duration::from_secs(15 * 60);
const EVERY_DEFAULT: Duration = Duration::from_secs(5);

/// Where in the file, and what.
pub(super) type Wrong = (usize, String);

pub(super) fn service_call(
    raw: &Spanned<RawCall>,
    shared: Option<&Spanned<RawCall>>,
) -> Result<ServiceCall, Wrong> {
    let here = raw.span().start;
    let wrong = |what: &str| Err((here, what.to_owned()));
    let raw_call = raw.get_ref();
    if raw_call.method.is_none() {
        return wrong("found no method; wanted one, such as method = \"DELETE\"");
    }
    if raw_call.every.is_some() {
        return wrong("found `every` beside the call; wanted it in its `look`");
    }
    let act = exchange(raw)?;
    let look = raw_call.look.as_deref().map(looking).transpose()?;
    let evidence = raw_call.evidence.as_deref().or(shared).map(looking).transpose()?;
    let all = [Some(&act), look.as_ref()];
    if all
        .into_iter()
        .flatten()
        .any(|one| one.answers.knows(Meaning::Gone))
        && evidence.is_none()
    {
        return wrong(
            "found `gone` without evidence; wanted an `[evidence]` that only the right account can read, such as \
             path = \"/whoami\", done = [{ status = 200, at = \"/account\", is = \"{account}\" }]",
        );
    }
    if act.answers.knows(Meaning::Pending) && look.is_none() {
        return wrong("found `pending` without `look`; wanted where to look for the end");
    }
    if act.answers.knows(Meaning::Standing) {
        return wrong("found `standing` in a call; wanted it in its `look` only");
    }
    if !act.answers.knows(Meaning::Done) && !act.answers.knows(Meaning::Pending) {
        return wrong("found neither `done` nor `pending`; wanted the answers that are success");
    }
    let idempotency_header = match &raw_call.idempotency_header {
        Some(name) => Some(header_name(name.get_ref()).map_err(|what| (name.span().start, what))?),
        None => None,
    };
    let every = raw_call
        .look
        .as_ref()
        .and_then(|look| look.get_ref().every.as_ref());
    let call = ServiceCall {
        act,
        idempotency_header,
        look,
        every: every.map_or(Ok(EVERY_DEFAULT), interval)?,
        keep: raw_call.keep.clone(),
        evidence,
    };
    if call.look.is_none() && !call.may_be_repeated() {
        return Err((
            here,
            format!(
                "found a {} that may not be repeated; wanted `idempotency_header`, or a `look` that tells what \
                 became of it",
                call.act.method
            ),
        ));
    }
    Ok(call)
}

fn interval(text: &Spanned<String>) -> Result<Duration, Wrong> {
    let every: Written = Deserialize::deserialize(
        serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text.get_ref()),
    )
    .map_err(|_| {
        (
            text.span().start,
            format!("found every = {:?}; wanted a time like \"5s\"", text.get_ref()),
        )
    })?;
    if (EVERY_MIN..=EVERY_MAX).contains(&every.0) {
        Ok(every.0)
    } else {
        Err((
            text.span().start,
            format!("found every = {:?}; wanted 100ms to 15m", text.get_ref()),
        ))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Written(#[serde(with = "humantime_serde")] Duration);

/// A look or evidence: it reads, and has nothing that belongs to a call.
pub(super) fn looking(raw: &Spanned<RawCall>) -> Result<Exchange, Wrong> {
    let of = raw.get_ref();
    if of.look.is_some() || of.evidence.is_some() || of.idempotency_header.is_some() || !of.keep.is_empty() {
        return Err((
            raw.span().start,
            "found `look`, `evidence`, `keep` or `idempotency_header` in a look; wanted them beside the call"
                .to_owned(),
        ));
    }
    let exchange = exchange(raw)?;
    if exchange.answers.knows(Meaning::Missing) || exchange.answers.knows(Meaning::Unseen) {
        return Err((
            raw.span().start,
            "found `missing` or `unseen` in a look; wanted them in a call only, and `gone` here".to_owned(),
        ));
    }
    // Some services only search by POST.
    if !matches!(exchange.method, Method::GET | Method::HEAD | Method::POST) {
        return Err((
            raw.span().start,
            format!(
                "found a look by {}; wanted GET, HEAD or POST, which change nothing",
                exchange.method
            ),
        ));
    }
    Ok(exchange)
}

fn exchange(raw: &Spanned<RawCall>) -> Result<Exchange, Wrong> {
    let here = raw.span().start;
    let raw = raw.get_ref();
    let method = match raw.method.as_ref().map(|word| (word, word.get_ref().as_str())) {
        None | Some((_, "GET")) => Method::GET,
        Some((_, "HEAD")) => Method::HEAD,
        Some((_, "DELETE")) => Method::DELETE,
        Some((_, "PUT")) => Method::PUT,
        Some((_, "POST")) => Method::POST,
        Some((_, "PATCH")) => Method::PATCH,
        Some((word, other)) => {
            let what = format!("found method {other:?}; wanted GET, HEAD, DELETE, PUT, POST or PATCH");
            return Err((word.span().start, what));
        }
    };
    let template = |text: &Spanned<String>| {
        Template::parse(text.get_ref()).map_err(|error| (text.span().start, error.to_string()))
    };
    let path = &raw.path;
    if !path.get_ref().starts_with('/') || path.get_ref().contains(['?', '#']) {
        return Err((
            path.span().start,
            format!(
                "found path {:?}; wanted one like \"/machines/{{id}}\", with its query in `query`",
                path.get_ref()
            ),
        ));
    }
    let mut headers = Vec::new();
    for (name, value) in &raw.headers {
        let name = header_name(name).map_err(|what| (value.span().start, what))?;
        headers.push((name, template(value)?));
    }
    let mut query = Vec::new();
    for (name, value) in &raw.query {
        query.push((name.clone(), template(value)?));
    }
    let body = match &raw.body {
        Some(body) => {
            let json: Value = serde_json::to_value(body.get_ref()).map_err(|error| {
                (
                    body.span().start,
                    format!("found a body that is not JSON: {error}"),
                )
            })?;
            Some(Body::parse(json).map_err(|error| (body.span().start, error.to_string()))?)
        }
        None => None,
    };
    let mut answers = Answers::default();
    for (meaning, list) in raw.lists() {
        if let Some(list) = list {
            answers
                .add(meaning, list.get_ref().clone())
                .map_err(|what| (list.span().start, what))?;
        }
    }
    if !raw.lists().iter().any(|(_, list)| list.is_some()) {
        return Err((
            here,
            "found no answers; wanted at least `done = [200]`".to_owned(),
        ));
    }
    Ok(Exchange {
        method,
        path: template(path)?,
        query,
        headers,
        body,
        answers,
    })
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("found header {name:?}; wanted a name like \"Idempotency-Key\""))
}
