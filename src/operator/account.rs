//! One deletion, told to a person: the same account on every door, in plain words and as stable JSON.

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::decide::{self, HeldBy, Row, Why};
use crate::deletion::{Action, Aim, Entry, PlanHash, Recorded, Settled, State, Track};
use crate::plan::Plan;
use crate::store::{Holder, NEVER, Place, RequestLine, SaidSignal, Sheet};

/// Fields are only ever added.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub id: Uuid,
    /// `in_hand`, `due`, `waiting`, `parked`, `queued` or `ended`.
    pub state: &'static str,
    /// Which course of its plan it is: `delete`, `restore` or `purge`.
    pub action: Action,
    pub tenant: String,
    #[serde(rename = "type")]
    pub target_type: String,
    pub target: String,
    /// The version of its plan.
    pub plan: PlanHash,
    #[serde(with = "time::serde::rfc3339")]
    pub admitted_at: OffsetDateTime,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub deadline: Option<OffsetDateTime>,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended_at: Option<OffsetDateTime>,
    /// How it ended: `deleted`, `already_gone`, `absent`, `completed_with_orphans`, `cancelled` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    pub why: Why,
    pub params: Map<String, Value>,
    pub steps: Vec<StepAccount>,
    pub requests: Vec<RequestAccount>,
    /// More than are listed, if it was asked for very often.
    pub requests_total: i64,
    pub signals: Vec<SignalAccount>,
    pub journal: Vec<Told>,
    /// By the database's clock, when this was read.
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
}

#[derive(Clone, Debug, Serialize)]
pub struct StepAccount {
    /// 0 is the lookup.
    pub number: usize,
    pub name: String,
    pub system: String,
    /// `done`, `already_gone`, `absent`, `skipped`, `refused`, `orphaned`, `undone`, `open`, `tried` or `not_begun`.
    pub state: &'static str,
    pub attempts: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct RequestAccount {
    pub id: Uuid,
    pub action: String,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub not_before: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SignalAccount {
    pub kind: String,
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One entry of the journal, as a sentence.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    pub sequence: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub said: String,
}

impl Account {
    /// As those hear it who asked for it: on which machine of ours it is, is none of theirs.
    pub fn for_its_tenant(mut sheet: Sheet) -> Self {
        if let Place::Open {
            holder: Some(holder), ..
        } = &mut sheet.place
        {
            holder.host = Some("a worker".to_owned());
            holder.pid = None;
        }
        Account::of(sheet)
    }

    pub fn of(sheet: Sheet) -> Self {
        // A plan or a journal that this release cannot read still has a row, requests and signals to show.
        let plan = sheet.plan.as_ref().ok().map(|stored| &stored.plan);
        let steps = plan.map_or(0, |plan| plan.steps.len());
        let journal = sheet.journal.as_deref().unwrap_or_default();
        let entries = journal.iter().flat_map(|record| &record.entries);
        let state = match (&sheet.plan, &sheet.journal) {
            (Err(why), _) => Err(format!("this release cannot read its plan: {why}")),
            (_, Err(why)) => Err(format!("this release cannot read its journal: {why}")),
            _ => State::replay(steps, entries).map_err(|error| error.to_string()),
        };
        let row = row(&sheet, journal, state.as_ref().ok());
        let why = match (plan, &state) {
            (Some(plan), Ok(state)) => decide::why(plan, state, &row),
            (_, Err(because)) => unreadable(because.clone(), &row),
            (None, _) => unreadable("this release cannot read its plan".into(), &row),
        };
        let (word, ended_at, result) = match &sheet.place {
            Place::Queued { .. } => ("queued", None, None),
            Place::Ended { at, result } => ("ended", Some(*at), Some(result.clone())),
            Place::Open { .. } if why.word == "parked" => ("parked", None, None),
            Place::Open { holder: Some(_), .. } => ("in_hand", None, None),
            Place::Open { due_at, .. } if *due_at <= sheet.now => ("due", None, None),
            Place::Open { .. } => ("waiting", None, None),
        };
        let told = plan.map_or_else(Vec::new, |plan| told(plan, journal));
        let steps = match (plan, &state) {
            (Some(plan), Ok(state)) => step_accounts(plan, state),
            _ => Vec::new(),
        };
        Account {
            id: sheet.id.0,
            state: word,
            action: sheet.action,
            tenant: sheet.tenant,
            target_type: sheet.target_type,
            target: sheet.target_id,
            plan: sheet.plan_hash,
            admitted_at: sheet.admitted_at,
            deadline: sheet.deadline,
            ended_at,
            result,
            why,
            params: sheet.params,
            steps,
            requests: sheet.requests.into_iter().map(RequestAccount::from).collect(),
            requests_total: sheet.requests_total,
            signals: sheet.signals.into_iter().map(SignalAccount::from).collect(),
            journal: told,
            read_at: sheet.now,
        }
    }
}

fn row(sheet: &Sheet, journal: &[Recorded], state: Option<&State>) -> Row {
    let last_that = |is: &dyn Fn(&Entry) -> bool| {
        let record = journal.iter().rev().find(|record| record.entries.iter().any(is));
        record.map(|record| record.at)
    };
    let (due_at, starts, holder, behind) = match &sheet.place {
        Place::Open {
            due_at,
            starts,
            holder,
            ..
        } => (
            *due_at,
            starts.unsigned_abs().into(),
            holder.as_ref().map(held_by),
            None,
        ),
        Place::Queued { due_at, behind } => (*due_at, 0, None, Some(behind.to_string())),
        Place::Ended { at, .. } => (*at, 0, None, None),
    };
    let heard = |id: i64| state.is_some_and(|state| state.signals.contains(&id));
    Row {
        now: sheet.now,
        admitted_at: sheet.admitted_at,
        due_at,
        at_rest: due_at >= NEVER,
        recorded_at: journal.last().map(|record| record.at),
        parked_at: last_that(&|entry| matches!(entry, Entry::Parked { .. })),
        starts,
        holder,
        behind,
        unheard: sheet
            .signals
            .iter()
            .filter(|signal| !heard(signal.id))
            .map(|signal| format!("{} by {}", signal.kind, signal.said_by))
            .collect(),
    }
}

fn held_by(holder: &Holder) -> HeldBy {
    let host = holder.host.as_deref().unwrap_or("a worker that is gone");
    let pid = holder.pid.map_or(String::new(), |pid| format!(":{pid}"));
    HeldBy {
        name: format!("lane {} of {host}{pid}", holder.lane),
        lease_until: holder.expires_at,
    }
}

fn unreadable(because: String, row: &Row) -> Why {
    Why {
        word: "parked",
        because,
        since: row.recorded_at.unwrap_or(row.admitted_at),
        next: "nothing, by this release".into(),
        next_at: None,
        unblock: Some("use a release that reads it".into()),
        also: Vec::new(),
        can_cancel: false,
    }
}

fn told(plan: &Plan, journal: &[Recorded]) -> Vec<Told> {
    let told = |record: &Recorded| {
        let (sequence, at) = (record.seq, record.at);
        let said = |entry| Told {
            sequence,
            at,
            said: decide::tell(plan, entry),
        };
        record.entries.iter().map(said).collect::<Vec<_>>()
    };
    journal.iter().flat_map(told).collect()
}

fn step_accounts(plan: &Plan, state: &State) -> Vec<StepAccount> {
    let lookup = plan.lookup.as_ref().map(|lookup| StepAccount {
        number: 0,
        name: "lookup".into(),
        system: lookup.on.0.clone(),
        state: if state.facts.is_some() {
            "done"
        } else {
            "not_begun"
        },
        attempts: state.track(0, Aim::Do).map_or(0, |track| track.attempt),
    });
    let steps = plan.steps.iter().enumerate().map(|(index, step)| {
        let done = state.track(index + 1, Aim::Do);
        let undone = state.track(index + 1, Aim::Undo).and_then(|track| track.settled);
        StepAccount {
            number: index + 1,
            name: step.name.clone(),
            system: step.on.0.clone(),
            state: match (done, undone) {
                (_, Some(Settled::Done | Settled::AlreadyGone | Settled::Absent)) => "undone",
                (Some(track), _) => step_state(track),
                (None, _) => "not_begun",
            },
            attempts: done.map_or(0, |track| track.attempt),
        }
    });
    lookup.into_iter().chain(steps).collect()
}

fn step_state(track: &Track) -> &'static str {
    match track.settled {
        Some(Settled::Done) => "done",
        Some(Settled::AlreadyGone) => "already_gone",
        Some(Settled::Absent) => "absent",
        Some(Settled::Skipped) => "skipped",
        Some(Settled::Refused) => "refused",
        Some(Settled::Orphaned) => "orphaned",
        None if track.open => "open",
        None if track.attempt > 0 => "tried",
        None => "not_begun",
    }
}

impl From<RequestLine> for RequestAccount {
    fn from(line: RequestLine) -> Self {
        RequestAccount {
            id: line.id,
            action: line.action,
            received_at: line.received_at,
            key: line.key,
            batch: line.batch,
            requested_by: line.requested_by,
            reason: line.reason,
            not_before: line.not_before,
            message_id: line.message_id,
            correlation_id: line.correlation_id,
        }
    }
}

impl From<SaidSignal> for SignalAccount {
    fn from(said: SaidSignal) -> Self {
        SignalAccount {
            kind: said.kind,
            by: said.said_by,
            at: said.at,
            reason: said.reason,
        }
    }
}
