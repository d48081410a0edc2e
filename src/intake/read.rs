//! From deliveries to well-formed requests, and to rejections with their bodies.

use bytes::Bytes;

use crate::broker::{Delivery, Value};
use crate::deletion::wire::RequestBody;
use crate::deletion::{
    Envelope, Rejection, RejectionReason, Request, TraceContext, TurnedAway, read_requests,
};

pub(super) struct Read {
    pub received: Vec<Received>,
    pub rejections: Vec<TurnedAway>,
    /// Over the bound: these bodies never enter the tables.
    pub oversized: Vec<(Delivery, Rejection)>,
}

/// A well-formed request and the body that it came in, in case the rules or the tables turn it away.
pub(super) struct Received {
    pub request: Request,
    body: Option<Bytes>,
    content_type: Option<String>,
}

pub(super) fn read(deliveries: Vec<Delivery>) -> Read {
    let mut read = Read {
        received: Vec::with_capacity(deliveries.len()),
        rejections: vec![],
        oversized: vec![],
    };
    for delivery in deliveries {
        match read_requests(&delivery.body, &envelope(&delivery)) {
            Ok(requests) => {
                let alone = requests.len() == 1;
                read.received.extend(requests.into_iter().map(|request| Received {
                    request,
                    // One of a bulk is kept, if it must be, as the request that it would be alone.
                    body: alone.then(|| delivery.body.clone()),
                    content_type: delivery.content_type.clone(),
                }));
            }
            Err(rejection) if rejection.reason == RejectionReason::TooLarge => {
                read.oversized.push((delivery, rejection));
            }
            Err(rejection) => read.rejections.push(turned_away(&delivery, rejection, true)),
        }
    }
    read
}

impl Received {
    /// Not one of a bulk.
    pub(super) fn is_alone(&self) -> bool {
        self.body.is_some()
    }

    pub(super) fn turned_away(&self, rejection: Rejection) -> TurnedAway {
        TurnedAway {
            rejection,
            message_id: self.request.envelope.message_id.clone(),
            correlation_id: self.request.envelope.correlation_id.clone(),
            traceparent: self.request.envelope.trace.traceparent.clone(),
            content_type: match self.body {
                Some(_) => self.content_type.clone(),
                None => Some("application/json".to_owned()),
            },
            body: Some(match &self.body {
                Some(body) => body.to_vec(),
                None => RequestBody::of(&self.request).to_bytes(),
            }),
        }
    }
}

pub(super) fn turned_away(delivery: &Delivery, rejection: Rejection, keep_body: bool) -> TurnedAway {
    let envelope = envelope(delivery);
    TurnedAway {
        rejection,
        message_id: envelope.message_id,
        correlation_id: envelope.correlation_id,
        traceparent: envelope.trace.traceparent,
        content_type: delivery.content_type.clone(),
        body: keep_body.then(|| delivery.body.to_vec()),
    }
}

fn envelope(delivery: &Delivery) -> Envelope {
    let header = |name: &str| delivery.headers.get(name).and_then(Value::as_text);
    Envelope::new(
        delivery.message_id.as_deref(),
        delivery.correlation_id.as_deref(),
        TraceContext::new(header("traceparent"), header("tracestate")),
    )
}
