//! Waiting for the outcome of one request: its event, and now and then a look at the tables, since a repeat of an
//! earlier request has its outcome behind it and will hear no event.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CliError, print};
use crate::broker::{Binding, Desk, EventStream, Headers};
use crate::deletion::{Action, EventKind, HEADER_KEY, HEADER_TENANT, Request};
use crate::operator::{Account, Operator};
use crate::settings::{Part, Settings};
use crate::store::Store;

pub(super) const EXIT_TIMEOUT: u8 = 15;
/// An event that is on its way has arrived by then; a person does not notice it.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What became of a request.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    event: EventKind,
    request_id: Option<Uuid>,
    deletion_id: Option<Uuid>,
    detail: Value,
}

pub(super) async fn listen(desk: &Desk, request: &Request, key: &str) -> Result<EventStream, CliError> {
    let headers = Headers::from([
        (HEADER_KEY.to_owned(), key.into()),
        (HEADER_TENANT.to_owned(), request.target.tenant.as_str().into()),
    ]);
    Ok(desk.listen(&[Binding::Headers(headers)]).await?)
}

/// `None` when the time is up.
pub(super) async fn outcome(
    settings: &Settings,
    mut events: EventStream,
    request: &Request,
    timeout: Duration,
) -> Option<Outcome> {
    let heard = async {
        loop {
            match events.next().await {
                Ok(delivery) => {
                    if let Some(outcome) = of_event(&delivery.body) {
                        return outcome;
                    }
                }
                // Nothing more will be heard; the tables, if they can be asked, still tell.
                Err(_) => std::future::pending::<()>().await,
            }
        }
    };
    let waited = async {
        tokio::select! {
            outcome = heard => outcome,
            outcome = look_now_and_then(settings, request) => outcome,
        }
    };
    tokio::time::timeout(timeout, waited).await.ok()
}

fn of_event(body: &[u8]) -> Option<Outcome> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let data = event.get("data")?;
    let kind = EventKind::parse(data.get("event")?.as_str()?)?;
    let id = |name: &str| {
        data.get(name)
            .and_then(Value::as_str)
            .and_then(|id| id.parse().ok())
    };
    is_outcome(kind).then(|| Outcome {
        event: kind,
        request_id: id("request_id"),
        deletion_id: id("deletion_id"),
        detail: data.get("detail").cloned().unwrap_or_default(),
    })
}

/// Whoever waits is told of these; after the others it goes on.
fn is_outcome(kind: EventKind) -> bool {
    !matches!(
        kind,
        EventKind::Accepted
            | EventKind::Held
            | EventKind::Resumed
            | EventKind::Reappeared
            | EventKind::BatchCompleted
    )
}

/// Where the settings have no database, or it does not answer, the events alone must do.
async fn look_now_and_then(settings: &Settings, request: &Request) -> Outcome {
    if settings.check(&[Part::Store]).is_ok()
        && let Ok(store) = Store::new(&settings.store)
    {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(outcome) = look(&store, request).await {
                return outcome;
            }
        }
    }
    std::future::pending().await
}

async fn look(store: &Store, request: &Request) -> Option<Outcome> {
    let known = store.key_means(request.key_digest()?).await.ok()??;
    // The same key with other content is a conflict, and its rejection comes as an event.
    if known.content != request.digest() {
        return None;
    }
    let account = Operator::new(store.clone(), "")
        .inspect(known.deletion?)
        .await
        .ok()?;
    of_account(&account, known.request.0)
}

fn of_account(account: &Account, request: Uuid) -> Option<Outcome> {
    let (event, detail) = match (&account.result, account.state) {
        (Some(result), _) => match EventKind::parse(result) {
            Some(kind) => (kind, json!({})),
            None => (EventKind::Completed, json!({"result": result})),
        },
        (None, "parked") => {
            let detail = json!({"why": account.why.because, "unblock": account.why.unblock});
            (EventKind::Parked, detail)
        }
        _ => return None,
    };
    Some(Outcome {
        event,
        request_id: Some(request),
        deletion_id: Some(account.id),
        detail,
    })
}

impl Outcome {
    pub(super) fn exit_code(&self, action: Action) -> u8 {
        let wanted = if action == Action::Cancel {
            EventKind::Cancelled
        } else {
            EventKind::Completed
        };
        match self.event {
            event if event == wanted => 0,
            EventKind::SoftDeleted | EventKind::Restored => 0,
            EventKind::CompletedWithOrphans => 11,
            EventKind::Refused => 12,
            EventKind::Rejected => 13,
            EventKind::Parked => 14,
            _ => 10,
        }
    }

    pub(super) fn tell(&self) {
        let mut said = self.event.word().to_owned();
        for name in [
            "result",
            "restorable_until",
            "because",
            "reason",
            "field",
            "step",
            "why",
            "unblock",
        ] {
            if let Some(value) = self
                .detail
                .get(name)
                .and_then(Value::as_str)
                .filter(|value| !value.is_empty())
            {
                said.push_str(&format!("; {name}: {value}"));
            }
        }
        if let Some(orphans) = self.detail.get("orphans") {
            said.push_str(&format!("; orphans: {orphans}"));
        }
        if let Some(id) = self.deletion_id {
            said.push_str(&format!("; deletion {id}"));
        }
        print::line(&said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_code_of_its_own() {
        let code = |event, action| {
            let outcome = Outcome {
                event,
                request_id: None,
                deletion_id: None,
                detail: json!({}),
            };
            outcome.exit_code(action)
        };
        for (event, for_delete, for_cancel) in [
            (EventKind::Completed, 0, 10),
            (EventKind::Cancelled, 10, 0),
            (EventKind::CompletedWithOrphans, 11, 11),
            (EventKind::Refused, 12, 12),
            (EventKind::Rejected, 13, 13),
            (EventKind::Parked, 14, 14),
        ] {
            assert_eq!(
                (code(event, Action::Delete), code(event, Action::Cancel)),
                (for_delete, for_cancel)
            );
        }
    }

    #[test]
    fn what_is_no_outcome_is_waited_past() {
        let event = |word: &str| json!({"data": {"event": word, "detail": {}}}).to_string();
        assert!(of_event(event("accepted").as_bytes()).is_none());
        assert!(of_event(event("parked").as_bytes()).is_some());
        assert!(of_event(b"not JSON").is_none());
    }
}
