//! The rules for names and statements: every name means something where it stands, no statement can touch more
//! than its target, and what an undo reverses cannot be done again by a worker that wakes late.

use std::collections::BTreeSet;

use super::check::Check;
use super::columns::Columns;
use super::source::{Part, one_of};
use super::tokens::is_bind_name;
use super::{
    BUILT_IN_NAMES, Call, Condition, Is, Param, Plan, Sql, Step, Template, TemplatePart, Values, ZeroRows,
    check_guard,
};

/// What a condition may ask of the built-in names: the rest says nothing about the target.
const CONDITION_NAMES: [&str; 3] = ["id", "tenant", "type"];

pub(super) fn check(check: &mut Check<'_>) {
    let plan = check.plan;
    // The params are those of every course; they are wrong once.
    let once = check.is_first_course();
    for name in plan.params.keys().filter(|_| once) {
        if !is_bind_name(name) {
            check.found(Part::Params, name, format!("{name:?} cannot be written as :name"));
        }
        if BUILT_IN_NAMES.contains(&name.as_str()) {
            check.found(
                Part::Params,
                name,
                format!("{name:?} is a built-in name; wanted another"),
            );
        }
    }
    let mut facts = Columns::none();
    if let Some(lookup) = &plan.lookup {
        let scope = Scope::new(plan, &facts);
        query(check, Part::Lookup, "sql", &lookup.sql, &scope);
        facts = Columns::of(&lookup.sql);
        shadows(check, Part::Lookup, "sql", &facts);
    }
    let mut paths = BTreeSet::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let part = Part::Step(index);
        one_step(check, part, step, &facts);
        if let Call::Archive { store, path, .. } = &step.call
            && !paths.insert((store, path.readable()))
        {
            check.found(
                part,
                "archive.to",
                "another step archives to the same place; wanted one of its own",
            );
        }
    }
}

fn one_step(check: &mut Check<'_>, part: Part, step: &Step, facts: &Columns) {
    let plan = check.plan;
    let before = Scope::new(plan, facts);
    if let Some(condition) = &step.when {
        when(check, part, condition, facts);
    }
    let mut scope = Scope::new(plan, facts);
    if let Some(read) = &step.read {
        query(check, part, "read", &read.sql, &before);
        scope.read = Columns::of(&read.sql);
        shadows(check, part, "read", &scope.read);
    }
    match &step.call {
        Call::Nothing | Call::Http { .. } => {}
        Call::Sql { sql, guard, .. } => {
            statement(check, part, "sql", sql, &scope);
            if let Some(guard) = guard {
                check_guard::check(check, part, guard, &scope);
            }
        }
        Call::Chunks { sql, .. } => {
            scope.chunk = true;
            statement(check, part, "chunks.sql", sql, &scope);
            scope.chunk = false;
            if !sql.uses("chunk") {
                let text =
                    "chunks.sql has no :chunk; wanted `… limit :chunk`, so that one transaction stays small";
                check.found(part, "chunks.sql", text);
            }
        }
        Call::Archive { rows, path, .. } => {
            query(check, part, "archive.rows", rows, &scope);
            archive_path(check, part, path, &scope);
        }
    }
    if let Some(verify) = &step.verify {
        query(check, part, "verify", &verify.sql, &scope);
    }
    if let Some(Call::Sql { sql, .. }) = &step.undo {
        // What was read for the step is not read again for its undo.
        statement(check, part, "undo", sql, &before);
    }
    generation(check, part, step);
}

impl Plan {
    /// The names that only the lookup can have given.
    pub(super) fn facts_used(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for step in &self.steps {
            let read = step
                .read
                .as_ref()
                .map_or_else(Columns::none, |read| Columns::of(&read.sql));
            let mut own: Vec<&str> = Vec::new();
            let mut others: Vec<&str> = Vec::new();
            match &step.call {
                Call::Sql { sql, guard, .. } => {
                    own.extend(sql.names());
                    own.extend(guard.iter().flat_map(|guard| guard.sql.names()));
                }
                Call::Chunks { sql, .. } => own.extend(sql.names()),
                Call::Archive { rows, path, .. } => own.extend(rows.names().chain(path.names())),
                Call::Nothing | Call::Http { .. } => {}
            }
            own.extend(step.verify.iter().flat_map(|verify| verify.sql.names()));
            others.extend(step.read.iter().flat_map(|read| read.sql.names()));
            others.extend(
                step.when
                    .iter()
                    .flat_map(|when| &when.all)
                    .map(|test| test.name.as_str()),
            );
            if let Some(Call::Sql { sql, .. }) = &step.undo {
                others.extend(sql.names());
            }
            others.extend(own.into_iter().filter(|name| !read.may_have(name)));
            used.extend(others.into_iter().map(str::to_owned));
        }
        used.retain(|name| !BUILT_IN_NAMES.contains(&name.as_str()) && !self.params.contains_key(name));
        used
    }
}

/// What may be named in one place.
pub(super) struct Scope<'p> {
    plan: &'p Plan,
    facts: &'p Columns,
    pub(super) read: Columns,
    chunk: bool,
}

impl<'p> Scope<'p> {
    pub(super) fn new(plan: &'p Plan, facts: &'p Columns) -> Self {
        Scope {
            plan,
            facts,
            read: Columns::none(),
            chunk: false,
        }
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        match name {
            "chunk" => self.chunk,
            name => BUILT_IN_NAMES.contains(&name) || self.is_of_target(name),
        }
    }

    /// It is another value for another target.
    fn is_of_target(&self, name: &str) -> bool {
        name == "id"
            || self.plan.params.contains_key(name)
            || (!BUILT_IN_NAMES.contains(&name) && (self.facts.may_have(name) || self.read.may_have(name)))
    }

    fn all(&self) -> String {
        let built_in = BUILT_IN_NAMES
            .into_iter()
            .filter(|name| self.chunk || *name != "chunk");
        let params = self.plan.params.keys().map(String::as_str);
        let columns = self
            .facts
            .names
            .iter()
            .chain(&self.read.names)
            .map(String::as_str);
        let mut all: Vec<&str> = Vec::new();
        for name in built_in.chain(params).chain(columns) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        one_of(&all)
    }
}

fn names(check: &mut Check<'_>, part: Part, key: &str, found: &[String], scope: &Scope<'_>) {
    for name in found {
        if name == "chunk" && !scope.chunk {
            check.found(
                part,
                key,
                format!("{key} uses chunk, which stands only in chunks.sql"),
            );
        } else if !scope.knows(name) {
            let text = format!(
                "{key} uses {name}, which is not known here; wanted {}",
                scope.all()
            );
            check.found(part, key, text);
        }
    }
}

pub(super) fn query(check: &mut Check<'_>, part: Part, key: &str, sql: &Sql, scope: &Scope<'_>) {
    if !["select", "with"].contains(&sql.verb().as_str()) {
        let text = format!(
            "{key} begins with {:?}; wanted a query that begins with select or with",
            sql.verb()
        );
        check.found(part, key, text);
    }
    names(check, part, key, &sql.binds, scope);
    of_target(check, part, key, sql, scope);
}

fn statement(check: &mut Check<'_>, part: Part, key: &str, sql: &Sql, scope: &Scope<'_>) {
    const VERBS: [&str; 6] = ["delete", "update", "insert", "merge", "select", "with"];
    if !VERBS.contains(&sql.verb().as_str()) {
        let text = format!("{key} begins with {:?}; wanted {}", sql.verb(), one_of(&VERBS));
        check.found(part, key, text);
    }
    waits(check, part, key, sql);
    names(check, part, key, &sql.binds, scope);
    // A select may be a guard that asks about the world and not about the target.
    if sql.verb() != "select" {
        of_target(check, part, key, sql, scope);
    }
}

pub(super) fn waits(check: &mut Check<'_>, part: Part, key: &str, sql: &Sql) {
    if sql.skips_locked() {
        let text = format!(
            "{key} has `skip locked`, so what somebody else holds for a moment is passed over, and the step ends without \
             it; wanted the statement without, which waits"
        );
        check.found(part, key, text);
    }
}

fn of_target(check: &mut Check<'_>, part: Part, key: &str, sql: &Sql, scope: &Scope<'_>) {
    // A name that is not known has its own error.
    if !sql
        .binds
        .iter()
        .any(|name| scope.is_of_target(name) || !scope.knows(name))
    {
        let text =
            format!("{key} names nothing of the target, so it would touch every row; wanted :id in it");
        check.found(part, key, text);
    }
}

fn shadows(check: &mut Check<'_>, part: Part, key: &str, columns: &Columns) {
    for name in &columns.names {
        let taken = if BUILT_IN_NAMES.contains(&name.as_str()) {
            "a built-in name"
        } else if check.plan.params.contains_key(name) {
            "a param"
        } else {
            continue;
        };
        let text =
            format!("{key} gives a column {name}, which is {taken}; wanted another name (`{name} as …`)");
        check.found(part, key, text);
    }
}

fn when(check: &mut Check<'_>, part: Part, condition: &Condition, facts: &Columns) {
    let plan = check.plan;
    for test in &condition.all {
        let name = test.name.as_str();
        let key = format!("when.{name}");
        let built_in = BUILT_IN_NAMES.contains(&name);
        let known = match built_in {
            true => CONDITION_NAMES.contains(&name),
            false => plan.params.contains_key(name) || facts.may_have(name),
        };
        if !known {
            let params = plan.params.keys().map(String::as_str);
            let all = CONDITION_NAMES.into_iter().chain(params);
            let all: Vec<&str> = all.chain(facts.names.iter().map(String::as_str)).collect();
            let text = format!(
                "when asks for {name}, which is not known before the step; wanted {}",
                one_of(&all)
            );
            check.found(part, &key, text);
        }
        let optional = plan.params.get(name).is_some_and(Param::may_be_null);
        let guarded = condition
            .all
            .iter()
            .any(|other| other.name == test.name && matches!(other.is, Is::Present(_)));
        if optional && !guarded {
            let text = format!(
                "when compares {name}, which a request may leave out; wanted present = true or false beside it"
            );
            check.found(part, &key, text);
        }
    }
}

fn archive_path(check: &mut Check<'_>, part: Part, path: &Template, scope: &Scope<'_>) {
    let found: Vec<String> = path.names().map(str::to_owned).collect();
    names(check, part, "archive.to", &found, scope);
    for wanted in ["tenant", "id"] {
        if !found.iter().any(|name| name == wanted) {
            let text = format!(
                "archive.to has no {{{wanted}}}, so one archive would replace another; wanted it in the path"
            );
            check.found(part, "archive.to", text);
        }
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=".contains(c);
    let texts = path.parts.iter().all(|part| match part {
        TemplatePart::Text(text) => text.chars().all(plain),
        TemplatePart::Name(_) => true,
    });
    let sample: Values = found.iter().map(|name| (name.clone(), "x".into())).collect();
    let segments = path.render_object_path(&sample);
    if !texts || !segments.is_ok_and(|path| path.split('/').all(|segment| !segment.is_empty())) {
        let text = "archive.to is no plain path; wanted segments of a-z, A-Z, 0-9, `.`, `_`, `-` and `=`, joined by `/`";
        check.found(part, "archive.to", text);
    }
}

/// Rows are fenced by Sexton's own tables, effects are not: only the target can turn away a worker that was
/// frozen, lost its lane and wakes after the step was undone.
fn generation(check: &mut Check<'_>, part: Part, step: &Step) {
    let undo = step.undo.as_ref().filter(|undo| **undo != Call::Nothing);
    let reversed = match (undo, check.restorable) {
        (Some(_), _) => "the step has an undo",
        (None, true) => "the plan can be restored",
        (None, false) => return,
    };
    let done = match &step.call {
        Call::Sql { sql, .. } => Some(("sql", sql)),
        Call::Chunks { sql, .. } => Some(("chunks.sql", sql)),
        _ => None,
    };
    let undone = match undo {
        Some(Call::Sql { sql, .. }) => Some(("undo", sql)),
        _ => None,
    };
    for (key, sql) in done.into_iter().chain(undone) {
        // A function of the target's own may do the comparing; a query that only guards changes nothing.
        let guards = matches!(
            &step.call,
            Call::Sql {
                none: ZeroRows::Refused,
                ..
            }
        ) && undo.is_none();
        let by_query = sql.verb() == "select" && (sql.uses("generation") || guards);
        if !by_query && !sql.is_bound_from_above_by("generation") {
            let text = format!(
                "{key} does not compare :generation, and {reversed}; wanted `set generation = :generation … \
                 and generation < :generation`, else a frozen worker that wakes late repeats what was reversed"
            );
            check.found(part, key, text);
        }
    }
}
