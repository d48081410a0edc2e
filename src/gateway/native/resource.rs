//! A deletion as the native API shows it: from the moment its call is kept to long after its end.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::away;
use super::problem::Problem;
use crate::deletion::Tenant;
use crate::gateway::Desk;
use crate::operator::Account;
use crate::store::{KnownAs, StoreError};

/// What becomes of a request. Fields are only ever added.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Deletion {
    /// As it was asked for: of the call, the request or the deletion.
    pub id: Uuid,
    pub state: State,
    /// Which deletion answers it, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub admitted_at: Option<OffsetDateTime>,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended_at: Option<OffsetDateTime>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// What an end has to say beyond its result: `restorable_until`, `why`, `step`, `orphans`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Map<String, Value>>,
    /// If it is not done: the one reason why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Reason>,
    /// If it never became a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<TurnedAway>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStand>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Kept, and on its way to admission.
    Published,
    /// Waits for the end of another deletion of the target.
    Queued,
    /// Could go on, and nobody has it yet.
    Due,
    /// Waits for its time.
    Waiting,
    /// A worker has it.
    InHand,
    /// A person must look.
    Parked,
    Ended,
    /// It never became a deletion.
    Rejected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Deleted,
    AlreadyGone,
    Absent,
    CompletedWithOrphans,
    SoftDeleted,
    Restored,
    Cancelled,
    Refused,
}

impl Outcome {
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "deleted" => Outcome::Deleted,
            "already_gone" => Outcome::AlreadyGone,
            "absent" => Outcome::Absent,
            "completed_with_orphans" => Outcome::CompletedWithOrphans,
            "soft_deleted" => Outcome::SoftDeleted,
            "restored" => Outcome::Restored,
            "cancelled" => Outcome::Cancelled,
            "refused" => Outcome::Refused,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct TargetName {
    #[serde(rename = "type")]
    #[schema(example = "factory.computer")]
    pub kind: String,
    pub id: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Reason {
    /// Out of a closed list.
    pub word: WhyWord,
    /// A sentence for a person.
    pub because: String,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<OffsetDateTime>,
    /// What happens without anybody's doing, or that nothing does.
    pub next: String,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_at: Option<OffsetDateTime>,
    /// What would free it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unblock: Option<String>,
}

/// Why a request is not done. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhyWord {
    Published,
    Queued,
    Parked,
    Halted,
    UnderWay,
    InHand,
    WorkerLost,
    NotBefore,
    Retrying,
    Throttled,
    Pending,
    Unknown,
    HeldBack,
    Due,
}

impl WhyWord {
    /// As `decide::why` says it; what this list does not have is not known.
    pub(super) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "queued" => WhyWord::Queued,
            "parked" => WhyWord::Parked,
            "halted" => WhyWord::Halted,
            "under_way" => WhyWord::UnderWay,
            "in_hand" => WhyWord::InHand,
            "worker_lost" => WhyWord::WorkerLost,
            "not_before" => WhyWord::NotBefore,
            "retrying" => WhyWord::Retrying,
            "throttled" => WhyWord::Throttled,
            "pending" => WhyWord::Pending,
            "unknown" => WhyWord::Unknown,
            "held_back" => WhyWord::HeldBack,
            "due" => WhyWord::Due,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct TurnedAway {
    /// Why, as in its `rejected` event.
    #[schema(example = "slot_taken")]
    pub reason: String,
    /// Where in the request, as a JSON pointer.
    pub field: String,
    pub detail: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct StepStand {
    /// 0 is the lookup.
    pub number: usize,
    pub name: String,
    pub system: String,
    #[schema(example = "done")]
    pub state: &'static str,
    pub attempts: u32,
}

impl Deletion {
    /// What is known by this id, of this tenant's; `None` for what is not there and for what is not theirs.
    pub(super) async fn read(desk: &Desk, tenant: &Tenant, id: Uuid) -> Result<Option<Self>, Problem> {
        let read = async {
            let Some(known) = desk.calls.store().known_as(tenant, id).await? else {
                return Ok(None);
            };
            if known.batch.is_some() {
                return Ok(None);
            }
            let account = match known.deletion {
                Some(deletion) => desk
                    .calls
                    .store()
                    .sheet(deletion)
                    .await?
                    .map(Account::for_its_tenant),
                None => None,
            };
            Ok::<_, StoreError>(Some(Deletion::of(id, known, account)))
        };
        read.await.map_err(|error| away(&error))
    }

    fn of(id: Uuid, known: KnownAs, account: Option<Account>) -> Self {
        let mut deletion = Deletion {
            id,
            state: State::Published,
            deletion_id: known.deletion.map(|id| id.0),
            request_id: known.request.map(|id| id.0),
            action: None,
            target: None,
            admitted_at: None,
            ended_at: None,
            result: None,
            detail: None,
            why: None,
            rejection: None,
            steps: Vec::new(),
            params: None,
        };
        if let Some(account) = account {
            deletion.fill(account, known.end_detail);
        } else if let Some(rejection) = known.rejection {
            deletion.state = State::Rejected;
            deletion.rejection = Some(TurnedAway {
                reason: rejection.reason,
                field: rejection.field,
                detail: rejection.detail,
            });
        } else {
            deletion.why = Some(Reason {
                word: WhyWord::Published,
                because: "it is kept, and on its way to admission".into(),
                since: None,
                next: "a worker takes it in".into(),
                next_at: None,
                unblock: Some("start a worker with the roles relay and intake, if none is running".into()),
            });
        }
        deletion
    }

    fn fill(&mut self, account: Account, end_detail: Option<Value>) {
        self.state = match account.state {
            "ended" => State::Ended,
            "parked" => State::Parked,
            "queued" => State::Queued,
            "in_hand" => State::InHand,
            "due" => State::Due,
            _ => State::Waiting,
        };
        self.action = Some(account.action.word().to_owned());
        self.target = Some(TargetName {
            kind: account.target_type,
            id: account.target,
        });
        self.admitted_at = Some(account.admitted_at);
        self.ended_at = account.ended_at;
        self.result = account.result.as_deref().and_then(Outcome::parse);
        self.params = (!account.params.is_empty()).then_some(account.params);
        self.detail = match end_detail {
            Some(Value::Object(mut detail)) => {
                detail.remove("result");
                Some(detail).filter(|detail| !detail.is_empty())
            }
            _ => None,
        };
        if self.state != State::Ended {
            self.why = Some(Reason {
                word: WhyWord::of(account.why.word).unwrap_or(WhyWord::Unknown),
                because: account.why.because,
                since: Some(account.why.since),
                next: account.why.next,
                next_at: account.why.next_at,
                unblock: account.why.unblock,
            });
        }
        self.steps = account
            .steps
            .into_iter()
            .map(|step| StepStand {
                number: step.number,
                name: step.name,
                system: step.system,
                state: step.state,
                attempts: step.attempts,
            })
            .collect();
    }

    /// Done, one way or the other; else it is under way.
    pub(super) fn status(&self) -> StatusCode {
        match self.state {
            State::Ended => StatusCode::OK,
            _ => StatusCode::ACCEPTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_a_deletion_can_have_is_in_the_list() {
        for word in crate::decide::WHY_WORDS {
            let known = WhyWord::of(word);
            assert!(known.is_some() || word == "ended", "{word}");
            if let Some(known) = known {
                assert_eq!(serde_json::to_value(known).expect("a word"), word);
            }
        }
    }
}
