//! From deliveries to well-formed requests, and to rejections with their bodies.

use bytes::Bytes;

use crate::broker::{Delivery, Value};
use crate::deletion::wire::RequestBody;
use crate::deletion::{
    Envelope, Rejection, RejectionReason, Request, TraceContext, TurnedAway, read_requests,
};

pub(super) struct Read {
    pub received: Vec<Received>,
    /// Well-formed messages of many requests.
    pub bulks: Vec<Delivery>,
    pub rejections: Vec<TurnedAway>,
    /// Over the bound: these bodies never enter the tables.
    pub oversized: Vec<(Delivery, Rejection)>,
}

/// A well-formed request and the body that it came in, in case the rules or the tables turn it away.
pub(super) struct Received {
    pub request: Request,
    /// Who speaks, as the broker vouches for it.
    pub user: Option<String>,
    body: Option<Bytes>,
    content_type: Option<String>,
}

pub(super) fn read(deliveries: Vec<Delivery>) -> Read {
    let mut read = Read {
        received: Vec::with_capacity(deliveries.len()),
        bulks: vec![],
        rejections: vec![],
        oversized: vec![],
    };
    for delivery in deliveries {
        match read_requests(&delivery.body, &envelope(&delivery)) {
            Ok(mut requests) => match (requests.pop(), requests.is_empty()) {
                (Some(request), true) => read.received.push(Received {
                    request,
                    user: delivery.user_id,
                    body: Some(delivery.body),
                    content_type: delivery.content_type,
                }),
                // Read again when its turn comes: not all of them shall be in memory at once.
                _ => read.bulks.push(delivery),
            },
            Err(rejection) if rejection.reason == RejectionReason::TooLarge => {
                read.oversized.push((delivery, rejection));
            }
            Err(rejection) => read.rejections.push(turned_away(&delivery, rejection, true)),
        }
    }
    read
}

/// The requests of a bulk that was read before.
pub(super) fn requests_of(bulk: &Delivery) -> Result<Vec<Received>, Box<Rejection>> {
    let requests = read_requests(&bulk.body, &envelope(bulk))?;
    let received = requests.into_iter().map(|request| Received {
        request,
        user: bulk.user_id.clone(),
        // It is kept, if it must be, as the request that it would be alone.
        body: None,
        content_type: None,
    });
    Ok(received.collect())
}

impl Received {
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
