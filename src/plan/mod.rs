//! The plan: how targets of one type are deleted.
//!
//! A plan is declarative and closed: every call in it is typed, every name in it is checked before it is first
//! used, and its canonical form is what a deletion keeps for life. Reading TOML happens once, at the edge
//! ([`parse`]); from there on a plan cannot be wrong in shape.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::deletion::TargetType;

mod check_choices;
mod check_courses;
mod check_guard;
mod parse;
mod parse_courses;
mod parse_params;
mod parse_when;
pub use parse::{parse_plan, parse_plan_for};
mod parse_step;
mod source;
pub use source::{Part, PlanError, PlanErrors};

mod sql;
pub use sql::BadSql;
mod places;
mod template;
mod tokens;
pub use template::{BadTemplate, CannotRender};
mod choice;
mod condition;
pub use choice::Choice;
mod courses;
pub use condition::CannotTell;
pub use courses::{Restorable, TOMBSTONE_DEFAULT, Watch};
mod params;
pub use params::MeantBy;

mod check;
pub use check::{
    ATTEMPTS_MAX, CHUNK_MAX_ROWS, Problem, Problems, STEPS_MAX, SystemKind, Systems, TIMEOUT_MAX, check,
};
mod check_names;
mod columns;
mod given;

mod canonical;
pub use canonical::{BadCanonical, CANONICAL_VERSION, canonical, from_canonical};
mod compatible;
pub use compatible::{Incompatible, compatible};
mod show;
pub use show::show;

/// Facts, params and built-in names that statements and templates may use, by name.
pub type Values = BTreeMap<String, Value>;

/// Names that every statement and template may use; a param or fact of the same name is refused by the check.
pub const BUILT_IN_NAMES: [&str; 6] = ["id", "tenant", "type", "deletion_id", "generation", "chunk"];

/// A named place of the settings where targets live.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SystemName(pub String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub target: TargetType,
    /// Declared params of a request; one that is not declared is refused at admission.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// Names that stand for one of several systems, by a param.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub choices: BTreeMap<SystemName, Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Lookup>,
    pub steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// How long its end is remembered, for repeats and against resurrection.
    #[serde(
        with = "humantime_serde",
        default = "courses::tombstone_default",
        skip_serializing_if = "courses::is_tombstone_default"
    )]
    pub tombstone: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable: Option<Restorable>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    pub kind: ParamKind,
    pub required: bool,
    /// A text that is one of these; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// What it is if a request leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    Text,
    Integer,
    Boolean,
}

/// The first recorded step: what the target is. Its one row becomes the facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    pub on: SystemName,
    pub sql: Sql,
    pub none: LookupNone,
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// What it means that the lookup found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupNone {
    /// Ends `absent`, or `already_gone` if a tombstone knows the target.
    Absent,
    AlreadyGone,
    /// Ends `refused`.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub on: SystemName,
    pub kind: StepKind,
    pub call: Call,
    /// Runs only if this holds of the facts and params; else the journal says `skipped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Read anew before each attempt; its columns join the values. No row, or a null, is *again*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Read>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Call>,
    /// A query on the step's system whose one boolean must be true before the step is believed done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Read>,
    /// Hard: an attempt is cut off here and its outcome is unknown.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    pub retry: Retry,
    pub if_failed: IfFailed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Has an undo and stands before the pivot.
    Compensable,
    /// The point of no return.
    Pivot,
    /// After the pivot: goes forward only.
    Retriable,
}

/// What follows when a step fails for good or is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfFailed {
    Park,
    /// Before the pivot only: undo what was done and end `refused`.
    Undo,
    /// Name what is left as an orphan and go on.
    Orphan,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Read {
    pub on: SystemName,
    pub sql: Sql,
}

/// A typed connector call. The step's system says where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Does nothing and says done: for measuring the engine alone.
    Nothing,
    /// One statement, in one transaction of its own.
    Sql {
        sql: Sql,
        none: ZeroRows,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guard: Option<Guard>,
    },
    /// A statement that removes at most `:chunk` rows, repeated until a full pass finds none.
    Chunks { sql: Sql, size: u32 },
    /// A call of the system's service profile.
    Http { call: String },
    /// The rows of a query, kept as NDJSON + zstd in the object store `to`.
    Archive {
        rows: Sql,
        store: SystemName,
        path: Template,
    },
}

/// A query in the statement's own transaction, before it. No row: the statement says what that means. False or null: the
/// step is refused, and nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub sql: Sql,
    /// Why it is refused then: a text of the plan's author, fit to be told.
    pub otherwise: String,
}

/// What it means that a statement changed no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroRows {
    AlreadyGone,
    Again,
    Refused,
}

/// A statement with its named binds already turned into `$1…`; `binds[0]` is `$1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sql {
    pub text: String,
    pub binds: Vec<String>,
}

/// Text with `{name}` places; literals and names alternate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    pub parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplatePart {
    Text(String),
    Name(String),
}

/// All tests must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    pub all: Vec<Test>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    pub name: String,
    pub is: Is,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    Equal(Value),
    Not(Value),
    In(Vec<Value>),
    Present(bool),
}

/// Delays are full jitter below `min(max, base * 2^attempt)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    pub attempts: u32,
    #[serde(with = "humantime_serde")]
    pub base: Duration,
    #[serde(with = "humantime_serde")]
    pub max: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deadline {
    #[serde(with = "humantime_serde")]
    pub after: Duration,
    pub then: Overdue,
}

/// What happens when a deadline passes. It is alerted in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overdue {
    Alert,
    Park,
}

impl Call {
    /// A guard is asked in the transaction of the statement.
    pub fn is_guarded(&self) -> bool {
        matches!(self, Call::Sql { guard: Some(_), .. })
    }

    /// Whether a repeat may say "refused" of what the first time has done: where zero rows mean that, and where a guard
    /// looks at what the statement changes. A delete leaves its guard nothing to say no to, and a select changes nothing.
    pub fn repeat_may_mislead(&self) -> bool {
        match self {
            Call::Sql { sql, .. } if sql.verb() == "select" => false,
            Call::Sql {
                none: ZeroRows::Refused,
                ..
            } => true,
            Call::Sql {
                sql, guard: Some(_), ..
            } => sql.verb() != "delete",
            _ => false,
        }
    }
}

impl Step {
    /// It asks the world whether to go on, and does nothing: that it is done is no sign that anything was deleted.
    pub fn only_asks(&self) -> bool {
        let asks =
            matches!(&self.call, Call::Sql { sql, none: ZeroRows::Refused, .. } if sql.verb() == "select");
        asks && self.undo == Some(Call::Nothing)
    }
}

impl Plan {
    /// The place of the point of no return among the steps; `steps.len()` if every step can be undone.
    pub fn pivot(&self) -> usize {
        self.steps
            .iter()
            .position(|step| step.kind == StepKind::Pivot)
            .unwrap_or(self.steps.len())
    }

    /// Every system that a worker must know to carry this plan out, whatever is chosen.
    pub fn systems(&self) -> std::collections::BTreeSet<&SystemName> {
        let mut all = self.named_systems();
        for (name, choice) in &self.choices {
            if all.remove(name) {
                all.extend(choice.systems.values());
            }
        }
        all
    }

    /// As the plan names them: also what stands for several.
    fn named_systems(&self) -> std::collections::BTreeSet<&SystemName> {
        let mut all = std::collections::BTreeSet::new();
        all.extend(self.lookup.iter().map(|lookup| &lookup.on));
        for step in self.all_steps() {
            all.insert(&step.on);
            all.extend(step.read.iter().chain(&step.verify).map(|read| &read.on));
            for call in std::iter::once(&step.call).chain(&step.undo) {
                if let Call::Archive { store, .. } = call {
                    all.insert(store);
                }
            }
        }
        all
    }
}
