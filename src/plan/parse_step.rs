//! One `[[step]]`, and the smallest form in which the whole plan is one.

use std::time::Duration;

use toml::de::DeValue;

use super::parse::retry;
use super::parse_when::condition;
use super::source::Section;
use super::{Call, Guard, IfFailed, Read, Retry, Step, StepKind, SystemName, Template, ZeroRows};

/// The name of the only step of the smallest form.
pub(super) const SMALL_STEP: &str = "delete";
/// Where archives go if a plan does not say.
const STORE_DEFAULT: &str = "archive";
/// One chunk takes well under a second on plain tables, and its locks are short.
const CHUNK_DEFAULT_ROWS: u32 = 1_000;

const STEP_KEYS: [&str; 17] = [
    "name",
    "on",
    "sql",
    "none",
    "guard",
    "call",
    "archive",
    "chunks",
    "nothing",
    "when",
    "read",
    "undo",
    "pivot",
    "verify",
    "timeout",
    "retry",
    "if_failed",
];
const ACTIONS: [&str; 5] = ["sql", "call", "archive", "chunks", "nothing"];
const ONE_ACTION: &str = "one of: sql, call, archive, chunks, nothing";

const NONE: [(&str, ZeroRows); 3] = [
    ("already_gone", ZeroRows::AlreadyGone),
    ("again", ZeroRows::Again),
    ("refused", ZeroRows::Refused),
];
const IF_FAILED: [(&str, IfFailed); 3] = [
    ("park", IfFailed::Park),
    ("undo", IfFailed::Undo),
    ("orphan", IfFailed::Orphan),
];

/// What the top of the plan says for all its parts.
pub(super) struct Defaults {
    pub(super) on: Option<SystemName>,
    pub(super) timeout: Duration,
    pub(super) retry: Retry,
}

impl Defaults {
    pub(super) fn system(&self, section: &Section<'_>, key: &str) -> Option<SystemName> {
        if section.has(key) {
            return section.system(key);
        }
        if self.on.is_none() {
            section.missing(key, "the name of a system, here or once at the top of the plan");
        }
        self.on.clone()
    }
}

pub(super) fn small_step(top: &Section<'_>, defaults: &Defaults, name: &str) -> Option<Step> {
    if !top.has("sql") {
        top.error("sql", "says nothing to do; wanted sql, or [[step]] tables");
    }
    let (on, sql) = (defaults.system(top, "on"), top.sql("sql"));
    let none = top.choice("none", &NONE).unwrap_or(ZeroRows::AlreadyGone);
    Some(Step {
        name: name.to_owned(),
        kind: StepKind::Pivot,
        on: on?,
        call: Call::Sql {
            sql: sql?,
            none,
            guard: None,
        },
        when: None,
        read: None,
        undo: None,
        verify: None,
        timeout: defaults.timeout,
        retry: defaults.retry.clone(),
        if_failed: IfFailed::Park,
    })
}

/// The step, and whether it calls itself the pivot. Its kind is given when all are known.
pub(super) fn step(section: &Section<'_>, defaults: &Defaults) -> Option<(Step, bool)> {
    section.only(&STEP_KEYS);
    if !section.has("name") {
        section.missing("name", "a short name, like \"revoke-key\"");
    }
    let name = section.text("name", "a short name, like \"revoke-key\"");
    let call = call(section, defaults);
    // Reads of a step that is not at a database are at the plan's own.
    let reads_on = match &call {
        Some((on, Call::Sql { .. } | Call::Chunks { .. } | Call::Archive { .. })) => Some(on.clone()),
        _ => defaults.on.clone(),
    };
    let read = query(section, "read", &reads_on);
    let verify = query(section, "verify", &reads_on);
    let undo = undo(section, call.as_ref().map(|(on, _)| on));
    let when = section
        .table("when", "{ fact = \"value\" }")
        .map(|when| condition(&when));
    let pivot = section.flag("pivot").unwrap_or(false);
    let timeout = section.duration("timeout").unwrap_or(defaults.timeout);
    let retry = retry(section, &defaults.retry);
    let if_failed = section.choice("if_failed", &IF_FAILED).unwrap_or(IfFailed::Park);
    let (on, call) = call?;
    let step = Step {
        name: name?.to_owned(),
        kind: StepKind::Retriable,
        on,
        call,
        when: given(when)?,
        read: given(read)?,
        undo: given(undo)?,
        verify: given(verify)?,
        timeout,
        retry,
        if_failed,
    };
    Some((step, pivot))
}

/// A part that may be left out, but not be wrong.
fn given<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    match part {
        Some(found) => found.map(Some),
        None => Some(None),
    }
}

fn call(section: &Section<'_>, defaults: &Defaults) -> Option<(SystemName, Call)> {
    let found: Vec<&str> = ACTIONS.into_iter().filter(|action| section.has(action)).collect();
    let [action] = found.as_slice() else {
        let text = match found.as_slice() {
            [] => format!("says nothing to do; wanted {ONE_ACTION}"),
            [first, second, ..] => format!("found both {first} and {second}; wanted {ONE_ACTION}"),
            [_] => return None,
        };
        section.error(found.last().copied().unwrap_or("name"), text);
        return None;
    };
    if *action != "sql" && section.has("none") {
        section.error(
            "none",
            format!("none tells what 0 rows mean; wanted it with sql only, found it with {action}"),
        );
    }
    if *action != "sql" && section.has("guard") {
        let text = format!(
            "guard stands in the statement's transaction; wanted it with sql only, found it with {action}"
        );
        section.error("guard", text);
    }
    if *action == "call" {
        if section.has("on") {
            section.error(
                "on",
                "found both on and call; wanted call alone, which names its system",
            );
        }
        return http(section, "call");
    }
    let on = defaults.system(section, "on");
    let call = match *action {
        "sql" => {
            let none = section.choice("none", &NONE).unwrap_or(ZeroRows::AlreadyGone);
            let guard = given(guard(section));
            section
                .sql("sql")
                .zip(guard)
                .map(|(sql, guard)| Call::Sql { sql, none, guard })
        }
        "chunks" => chunks(section),
        "archive" => archive(section),
        _ => nothing(section),
    };
    Some((on?, call?))
}

fn nothing(section: &Section<'_>) -> Option<Call> {
    let said = section.flag("nothing")?;
    if !said {
        section.error("nothing", "nothing is false; wanted true, or something to do");
    }
    said.then_some(Call::Nothing)
}

fn http(section: &Section<'_>, key: &str) -> Option<(SystemName, Call)> {
    const WANTED: &str = "SYSTEM.CALL, like \"cloud.terminate\"";
    let text = section.text(key, WANTED)?;
    let Some((system, call)) = text.split_once('.').filter(|(_, call)| !call.is_empty()) else {
        section.error(key, format!("{key} is {text:?}; wanted {WANTED}"));
        return None;
    };
    let call = Call::Http {
        call: call.to_owned(),
    };
    Some((section.system_name(key, system)?, call))
}

fn chunks(section: &Section<'_>) -> Option<Call> {
    let chunks = section.table("chunks", "{ sql = \"delete … limit :chunk\", size = 1000 }")?;
    chunks.only(&["sql", "size"]);
    if !chunks.has("sql") {
        chunks.missing("sql", "a statement that removes at most :chunk rows");
    }
    let size = if chunks.has("size") {
        chunks.whole("size")
    } else {
        Some(CHUNK_DEFAULT_ROWS)
    };
    Some(Call::Chunks {
        sql: chunks.sql("sql")?,
        size: size?,
    })
}

fn archive(section: &Section<'_>) -> Option<Call> {
    let archive = section.table("archive", "{ rows = \"select …\", to = \"{tenant}/{id}/rows\" }")?;
    archive.only(&["rows", "to", "store"]);
    if !archive.has("rows") {
        archive.missing("rows", "a query for the rows to keep");
    }
    if !archive.has("to") {
        archive.missing("to", "a path, like \"{tenant}/{id}/sessions\"");
    }
    let rows = archive.sql("rows");
    let path = archive
        .text("to", "a path, like \"{tenant}/{id}/sessions\"")
        .and_then(|text| {
            Template::parse(text)
                .map_err(|why| archive.error("to", format!("archive.to: {why}")))
                .ok()
        });
    let store = if archive.has("store") {
        archive.system("store")
    } else {
        Some(SystemName(STORE_DEFAULT.to_owned()))
    };
    Some(Call::Archive {
        rows: rows?,
        store: store?,
        path: path?,
    })
}

/// A query as text, or a table with a system of its own.
fn query(section: &Section<'_>, key: &str, on: &Option<SystemName>) -> Option<Option<Read>> {
    const WANTED: &str = "a query, or { on = \"system\", sql = \"select …\" }";
    let value = section.get(key)?.get_ref();
    if let DeValue::Table(_) = value {
        let table = section.table(key, WANTED)?;
        table.only(&["on", "sql"]);
        if !table.has("sql") {
            table.missing("sql", "a query");
        }
        let sql = table.sql("sql");
        let on = if table.has("on") {
            table.system("on")
        } else {
            need(section, key, on)
        };
        return Some(on.zip(sql).map(|(on, sql)| Read { on, sql }));
    }
    if value.as_str().is_none() {
        section.wrong(key, value, WANTED);
        return Some(None);
    }
    let sql = section.sql(key);
    Some(need(section, key, on).zip(sql).map(|(on, sql)| Read { on, sql }))
}

fn need(section: &Section<'_>, key: &str, on: &Option<SystemName>) -> Option<SystemName> {
    if on.is_none() {
        section.error(
            key,
            format!("{key} has no database; wanted {key} = {{ on = \"system\", sql = \"…\" }}"),
        );
    }
    on.clone()
}

/// What must be so in the very moment of the statement.
fn guard(section: &Section<'_>) -> Option<Option<Guard>> {
    const WANTED: &str = "{ sql = \"select … for update\", otherwise = \"why it is refused\" }";
    section.get("guard")?;
    let Some(guard) = section.table("guard", WANTED) else {
        return Some(None);
    };
    guard.only(&["sql", "otherwise"]);
    for key in ["sql", "otherwise"] {
        if !guard.has(key) {
            guard.missing(key, WANTED);
        }
    }
    let otherwise = guard.text("otherwise", "a sentence that says why it is refused");
    Some(guard.sql("sql").zip(otherwise).map(|(sql, otherwise)| Guard {
        sql,
        otherwise: otherwise.to_owned(),
    }))
}

/// An undo is at the step's own system: what was done there is taken back there.
fn undo(section: &Section<'_>, on: Option<&SystemName>) -> Option<Option<Call>> {
    const WANTED: &str = "a statement, { call = \"system.call\" } or { nothing = true }";
    let value = section.get("undo")?.get_ref();
    if value.as_str().is_some() {
        let none = ZeroRows::AlreadyGone;
        return Some(section.sql("undo").map(|sql| Call::Sql {
            sql,
            none,
            guard: None,
        }));
    }
    let table = section.table("undo", WANTED);
    let Some(table) = table else {
        return Some(None);
    };
    table.only(&["call", "nothing"]);
    if table.has("nothing") {
        return Some(nothing(&table));
    }
    if !table.has("call") {
        table.missing("call", WANTED);
    }
    let Some((system, call)) = http(&table, "call") else {
        return Some(None);
    };
    if on.is_some_and(|on| *on != system) {
        let text = format!(
            "undo.call is at system \"{}\"; wanted the step's own, \"{}\"",
            system.0,
            on.map_or("", |on| on.0.as_str())
        );
        table.error("call", text);
        return Some(None);
    }
    Some(Some(call))
}
