//! One request and its answer.
//!
//! The invariant: trouble is told apart by whether the request can have reached the service. No connection means that
//! nothing happened; silence, or a connection cut after the request was sent, means that nobody knows. Redirects are
//! not followed, since they would carry credentials to wherever an answer says.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, Url, redirect};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::answers::Meaning;
use super::profile::Exchange;
use super::retry_after::retry_after;
use crate::clock::{self, Boottime};
use crate::connectors::{HttpSettings, WrongSystem};
use crate::deletion::{TraceContext, Verdict};
use crate::plan::{CannotRender, SystemName, Values};
use crate::tls;

/// Answers to a delete are short; a longer one is read no further, and counts as one without a readable body.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Names itself, so that a service's operator knows whom to call.
const USER_AGENT: &str = concat!("sexton/", env!("CARGO_PKG_VERSION"));

pub(super) struct Wire {
    client: Client,
    base: Url,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// If it is JSON and within the bound.
    pub(super) body: Option<Value>,
}

pub(super) enum Trouble {
    /// The service cannot have seen the request.
    NotSent(String),
    /// It may have.
    Silent(String),
}

impl Wire {
    pub(super) fn new(name: &SystemName, settings: &HttpSettings) -> Result<Self, WrongSystem> {
        let wrong = |key, found: &str, wanted: &str| WrongSystem {
            system: name.0.clone(),
            key,
            found: found.to_owned(),
            wanted: wanted.to_owned(),
        };
        let base: Url = settings
            .url
            .parse()
            .map_err(|_| wrong("url", "something that is not an address", "an http(s) address"))?;
        let mut client = Client::builder();
        if let Some(file) = &settings.ca_file {
            let wanted = "certificates as PEM";
            if base.scheme() != "https" {
                let found = format!("{} while `url` is plain http", file.display());
                return Err(wrong("ca_file", &found, "https there"));
            }
            let text = tls::authorities(file).map_err(|why| {
                let found = why.split("; wanted ").next().unwrap_or(&why);
                wrong("ca_file", found.trim_start_matches("found "), wanted)
            })?;
            let believed = Certificate::from_pem_bundle(text.as_bytes())
                .map_err(|_| wrong("ca_file", "what cannot be believed", wanted))?;
            client = client.tls_certs_only(believed);
        }
        let client = client
            .user_agent(USER_AGENT)
            .default_headers(
                credentials(settings).map_err(|what| wrong("auth", what, "what fits an HTTP header"))?,
            )
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(settings.connect_timeout)
            .build()
            .map_err(|_| {
                wrong(
                    "url",
                    "no TLS roots or no client",
                    "a machine with CA certificates",
                )
            })?;
        Ok(Wire { client, base })
    }

    /// Everything that can be wrong before anything is sent is found here.
    pub(super) fn request(
        &self,
        exchange: &Exchange,
        values: &Values,
        trace: &TraceContext,
    ) -> Result<RequestBuilder, Verdict> {
        let cannot = |error: CannotRender| {
            Verdict::failed(format!("{} cannot be put together: {error}", exchange.label()))
        };
        let path = exchange.path.render_path(values).map_err(cannot)?;
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        for (key, template) in &exchange.query {
            let value = template.render_plain(values).map_err(cannot)?;
            url.query_pairs_mut().append_pair(key, &value);
        }
        let mut request = self.client.request(exchange.method.clone(), url);
        for (name, template) in &exchange.headers {
            let value = template.render_plain(values).map_err(cannot)?;
            let value = HeaderValue::from_str(&value).map_err(|_| {
                Verdict::failed(format!(
                    "the value for the header {name} has characters that a header cannot carry"
                ))
            })?;
            request = request.header(name, value);
        }
        if let Some(parent) = &trace.traceparent {
            request = request.header("traceparent", parent);
            if let Some(state) = &trace.tracestate {
                request = request.header("tracestate", state);
            }
        }
        if let Some(body) = &exchange.body {
            request = request.json(&body.render(values).map_err(cannot)?);
        }
        Ok(request)
    }

    pub(super) async fn send(
        &self,
        exchange: &Exchange,
        request: RequestBuilder,
        deadline: Boottime,
    ) -> Result<Answer, Trouble> {
        let mut response = match request.timeout(deadline.left()).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                let why = match tls::why(&error) {
                    Some(why) => format!("no TLS connection to the service: {why}"),
                    None => "no connection to the service".to_owned(),
                };
                return Err(Trouble::NotSent(format!("{}: {why}", exchange.label())));
            }
            Err(error) => {
                let what = if error.is_timeout() {
                    "no answer in time"
                } else {
                    "the connection was cut before an answer"
                };
                return Err(Trouble::Silent(format!("{}: {what}", exchange.label())));
            }
        };
        let status = response.status().as_u16();
        let header = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let retry_after = retry_after(header, clock::now());
        let mut text = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if text.len() + chunk.len() <= ANSWER_MAX_BYTES => {
                    text.extend_from_slice(&chunk)
                }
                Ok(None) => break,
                Ok(Some(_)) => {
                    text.clear();
                    break;
                }
                // Half an answer could match what the whole would not.
                Err(_) => {
                    return Err(Trouble::Silent(format!(
                        "{}: the answer was cut off",
                        exchange.label()
                    )));
                }
            }
        }
        Ok(Answer {
            status,
            retry_after,
            body: serde_json::from_slice(&text).ok(),
        })
    }
}

impl Exchange {
    pub(super) fn meaning(&self, answer: &Answer, values: &Values) -> Option<Meaning> {
        self.answers.meaning(answer.status, answer.body.as_ref(), values)
    }

    /// For reasons: the template, never the rendered path.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.method, self.path.readable())
    }
}

fn credentials(settings: &HttpSettings) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: &str| {
        let mut value = HeaderValue::from_str(value).map_err(|_| "a secret with a line break or such")?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok::<(), &'static str>(())
    };
    let auth = &settings.auth;
    if let Some(bearer) = &auth.bearer {
        add(AUTHORIZATION, &format!("Bearer {}", bearer.expose_secret()))?;
    }
    let own = auth.header.as_ref().zip(auth.value.as_ref());
    for (name, value) in own.into_iter().chain(&auth.headers) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header name that is none")?;
        add(name, value.expose_secret())?;
    }
    Ok(headers)
}
