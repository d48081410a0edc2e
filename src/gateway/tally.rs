//! What the gateway counts for itself: its answers, by whose trouble they tell of.
//!
//! Metrics `sexton_gateway_answers_ok_total`, `…_turned_away_total` (4xx) and `…_failed_total` (5xx). Powerdrill's dialect
//! answers 200 whatever happened; its codes are in the traces of the deletions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::telemetry::Instruments;

#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    ok: AtomicU64,
    turned_away: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    pub(super) fn shown_by(&self, instruments: &Instruments) {
        type Which = fn(&Counts) -> &AtomicU64;
        let all: [(&str, &str, Which); 3] = [
            (
                "gateway_answers_ok",
                "Calls over HTTP that were answered well",
                |counts| &counts.ok,
            ),
            (
                "gateway_answers_turned_away",
                "Calls over HTTP that their callers have to mend",
                |counts| &counts.turned_away,
            ),
            (
                "gateway_answers_failed",
                "Calls over HTTP whose outcome was not known, or that could not be served",
                |counts| &counts.failed,
            ),
        ];
        for (name, help, which) in all {
            let counts = self.0.clone();
            instruments.watch_counter(name, help, move || which(&counts).load(Ordering::Relaxed));
        }
    }
}

pub(super) async fn count(State(tally): State<Tally>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let counts = &tally.0;
    let which = match response.status().as_u16() {
        500.. => &counts.failed,
        400.. => &counts.turned_away,
        _ => &counts.ok,
    };
    which.fetch_add(1, Ordering::Relaxed);
    response
}
