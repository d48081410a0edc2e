//! What is asked for: all kinds of deletions that the shipped plans know, in an order and at times that follow from the seed.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::world::World;
use crate::worlds::draw::Draw;

/// Of so many computers one is asked for in each of these ways.
const CANCELLED_EVERY: usize = 15;
const TWICE_EVERY: usize = 12;
const FOLDED_EVERY: usize = 10;
/// A deletion that is to be cancelled begins so much later than it is asked for, and its cancel comes in between.
const NOT_BEFORE: Duration = Duration::from_secs(5);
const CANCEL_AFTER: Duration = Duration::from_secs(2);
/// Agno's: so many of ten are asked for in bulks, the others one by one.
const IN_BULKS_OF_TEN: usize = 6;
const BULK_MAX: usize = 500;
const BULKS_MIN: usize = 3;
/// Factory's sessions of which one in so many is taken back.
const RESTORED_EVERY: usize = 3;
const NEVER_WERE_EVERY: usize = 50;

/// What is published as one message.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The message's own id, and what its outcome is known by. Of a bulk: its key.
    pub(crate) name: String,
    pub(crate) due: Duration,
    pub(crate) body: Value,
    /// A moment by the wall is only known when it is published.
    pub(crate) not_before: Option<Duration>,
    pub(crate) requests: Vec<Asked>,
    /// It is published twice, whatever the broker says.
    pub(crate) doubled: bool,
    /// Published when this session is softly deleted.
    pub(crate) after: Option<String>,
}

/// One request, and what may become of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// By which its events are known: `message_id`, or the key of one in a bulk.
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) may: &'static [&'static str],
}

const GONE: &[&str] = &["deleted", "already_gone"];
const GONE_OR_KEPT: &[&str] = &["deleted", "already_gone", "cancelled"];
const KEPT_OR_LATE: &[&str] = &["cancelled", "deleted", "already_gone", "rejected nothing_to_do"];
const TAKEN_BACK: &[&str] = &[
    "restored",
    "rejected window_over",
    "rejected nothing_to_do",
    "refused",
];
const MALFORMED: &[&str] = &["rejected wrong_shape"];

pub(crate) fn all(world: &World, seed: u64, span: Duration) -> Vec<Ask> {
    let mut draw = Draw::new(seed ^ 0xa5c5);
    let mut lists = vec![
        computers(world),
        agno_one_by_one(world),
        agno_in_bulks(world),
        powerdrill(world),
        pave(world),
        sessions(world),
        odd(world),
    ];
    // Shuffled together, each list in its own order: the weights are what is left of each.
    let total: usize = lists.iter().map(Vec::len).sum();
    for list in &mut lists {
        list.reverse();
    }
    let mut all = Vec::with_capacity(total);
    let mut extra = Vec::new();
    for place in 0..total {
        let mut nth = draw.below(total - place);
        let list = lists.iter_mut().find(|list| {
            let here = nth < list.len();
            nth = nth.wrapping_sub(if here { 0 } else { list.len() });
            here
        });
        let Some(mut ask) = list.and_then(Vec::pop) else {
            continue;
        };
        ask.due = span.mul_f64(place as f64 / total as f64);
        if ask.not_before.is_some() {
            let mut cancel = cancel_of(&ask);
            cancel.due = ask.due + CANCEL_AFTER;
            extra.push(cancel);
        }
        all.push(ask);
    }
    all.extend(extra);
    all.sort_by_key(|ask| ask.due);
    all
}

fn ask(
    name: String,
    action: &str,
    (kind, id, tenant): (&'static str, &str, &str),
    key: Option<String>,
    params: Value,
    may: &'static [&'static str],
) -> Ask {
    let mut body = json!({"action": action, "target": {"type": kind, "id": id}, "tenant": tenant});
    if let Some(key) = key {
        body["key"] = json!(key);
    }
    if !params.is_null() {
        body["params"] = params;
    }
    let asked = Asked {
        name: name.clone(),
        kind,
        id: id.to_owned(),
        may,
    };
    Ask {
        name,
        due: Duration::ZERO,
        body,
        not_before: None,
        requests: vec![asked],
        doubled: false,
        after: None,
    }
}

fn computers(world: &World) -> Vec<Ask> {
    let mut all = Vec::new();
    for (number, computer) in world.estate.going().enumerate() {
        let target = (
            "factory.computer",
            computer.id.as_str(),
            computer.organization.as_str(),
        );
        // Two of three have a key, the third is known by its message's id.
        let key = (!number.is_multiple_of(3)).then(|| format!("key-{}", computer.id));
        let name = format!("delete-{}", computer.id);
        let mut first = ask(name, "delete", target, key, Value::Null, GONE);
        let is_cancelled = number % CANCELLED_EVERY == 4;
        if is_cancelled {
            first.not_before = Some(NOT_BEFORE);
            first.requests[0].may = GONE_OR_KEPT;
        }
        first.doubled = number % TWICE_EVERY == 2;
        all.push(first);
        if number % FOLDED_EVERY == 1 && !is_cancelled {
            let name = format!("again-{}", computer.id);
            all.push(ask(name.clone(), "delete", target, Some(name), Value::Null, GONE));
        }
    }
    all
}

fn cancel_of(delete: &Ask) -> Ask {
    let asked = &delete.requests[0];
    let name = format!("cancel-{}", asked.id);
    let tenant = delete.body["tenant"].as_str().unwrap_or_default();
    let target = (asked.kind, asked.id.as_str(), tenant);
    ask(
        name.clone(),
        "cancel",
        target,
        Some(name),
        Value::Null,
        KEPT_OR_LATE,
    )
}

fn agno_one_by_one(world: &World) -> Vec<Ask> {
    let singles = world
        .agno
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 10 >= IN_BULKS_OF_TEN);
    singles
        .map(|(number, session)| {
            let name = format!("agno-{number:05}");
            let key = number.is_multiple_of(2).then(|| name.clone());
            ask(
                name,
                "delete",
                ("agno.session", session.id.as_str(), "agno-os"),
                key,
                Value::Null,
                GONE,
            )
        })
        .collect()
}

fn agno_in_bulks(world: &World) -> Vec<Ask> {
    let all = world.agno.iter().enumerate();
    let ids: Vec<&str> = all
        .filter(|(n, _)| n % 10 < IN_BULKS_OF_TEN)
        .map(|(_, session)| session.id.as_str())
        .collect();
    let size = ids.len().div_ceil(BULKS_MIN).clamp(1, BULK_MAX);
    ids.chunks(size)
        .enumerate()
        .map(|(nth, ids)| {
            let name = format!("bulk-{nth:03}");
            let targets: Vec<Value> = ids
                .iter()
                .map(|id| json!({"type": "agno.session", "id": id}))
                .collect();
            let requests = ids.iter().enumerate().map(|(place, id)| Asked {
                name: format!("{name}#{place}"),
                kind: "agno.session",
                id: (*id).to_owned(),
                may: GONE,
            });
            Ask {
                due: Duration::ZERO,
                body: json!({"targets": targets, "tenant": "agno-os", "key": name}),
                not_before: None,
                requests: requests.collect(),
                doubled: nth.is_multiple_of(2),
                after: None,
                name,
            }
        })
        .collect()
}

fn powerdrill(world: &World) -> Vec<Ask> {
    let all = world.powerdrill.iter().enumerate();
    all.map(|(number, session)| {
        let stays = World::powerdrill_stays(number);
        let (user, may): (&str, &'static [&'static str]) = match stays {
            true => ("u_mallory", &["absent"]),
            false => (&session.user, GONE),
        };
        let name = format!("powerdrill-{number:05}");
        let target = ("powerdrill.session", session.id.as_str(), session.team.as_str());
        ask(
            name.clone(),
            "delete",
            target,
            Some(name),
            json!({"user_id": user}),
            may,
        )
    })
    .collect()
}

fn pave(world: &World) -> Vec<Ask> {
    let all = world.pave.iter().enumerate();
    all.map(|(number, session)| {
        let may = if session.may_go() { GONE } else { &["refused"] };
        let target = ("pave.session", session.key.as_str(), session.account.as_str());
        ask(
            format!("pave-{number:05}"),
            "delete",
            target,
            None,
            Value::Null,
            may,
        )
    })
    .collect()
}

fn sessions(world: &World) -> Vec<Ask> {
    let mut all = Vec::new();
    for (number, session) in world.sessions.iter().enumerate() {
        let may: &'static [&'static str] = match session.may_go() {
            true => &["soft_deleted"],
            false => &["refused"],
        };
        let target = (
            "factory.session",
            session.id.as_str(),
            session.organization.as_str(),
        );
        let name = format!("session-{number:05}");
        all.push(ask(
            name.clone(),
            "delete",
            target,
            Some(name.clone()),
            Value::Null,
            may,
        ));
        if session.may_go() && number.is_multiple_of(RESTORED_EVERY) {
            let restore = format!("restore-{number:05}");
            let mut back = ask(
                restore.clone(),
                "restore",
                target,
                Some(restore),
                Value::Null,
                TAKEN_BACK,
            );
            back.after = Some(name);
            all.push(back);
        }
    }
    all
}

/// What is not there, and what nobody can read.
fn odd(world: &World) -> Vec<Ask> {
    let mut all = Vec::new();
    for number in 0..(world.estate.going().count() / NEVER_WERE_EVERY).max(3) {
        let (name, id) = (format!("never-{number:03}"), format!("cmp_never_{number}"));
        let target = ("factory.computer", id.as_str(), "org_acme");
        all.push(ask(name, "delete", target, None, Value::Null, &["absent"]));
        let name = format!("malformed-{number:03}");
        let mut bad = ask(name, "delete", target, None, Value::Null, MALFORMED);
        bad.body["not_befor"] = json!("2030-01-01T00:00:00Z");
        all.push(bad);
    }
    all
}

impl Ask {
    /// What goes over the wire; the same bytes each time it is sent, or it would be another request.
    pub(crate) fn bytes(&self, now: OffsetDateTime) -> Vec<u8> {
        let mut body = self.body.clone();
        if let Some(later) = self.not_before {
            let at = (now + later).replace_nanosecond(0).unwrap_or(now);
            body["not_before"] = json!(at.format(&Rfc3339).unwrap_or_default());
        }
        body.to_string().into_bytes()
    }
}
