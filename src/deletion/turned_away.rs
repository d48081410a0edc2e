//! A message that was turned away, as it is kept and passed on: its reason, its envelope and its body.

use std::fmt;

use super::Rejection;

#[derive(Clone, PartialEq, Eq)]
pub struct TurnedAway {
    pub rejection: Rejection,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
    pub content_type: Option<String>,
    /// `None`: over the bound, so it went to the broker before this was kept.
    pub body: Option<Vec<u8>>,
}

/// Without the body: it is the sender's business, and a log is forever.
impl fmt::Debug for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnedAway")
            .field("reason", &self.rejection.reason)
            .finish_non_exhaustive()
    }
}
