//! Whether an open deletion of one version of a plan may go on under another.
//!
//! What has begun must mean the same under both: the journal's step 3 is the new plan's step 3, at the same system,
//! on the same side of the point of no return; and every name that the new plan uses has a value. Systems are compared as
//! the deletion's request has chosen them, and what it chose by leaving a param out stays chosen.

use serde_json::{Map, Value};

use super::columns::Columns;
use super::{Call, Plan, StepKind};

/// Why not, in one sentence for the operator who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    #[error("the plan is for {to}, and the deletion is of a {from}")]
    Target { from: String, to: String },
    #[error("the plan wants the param {0} in a way that the request was not checked for")]
    Param(String),
    #[error(
        "the plan begins with a lookup, and what has begun did so without one: it would now be looked for in vain"
    )]
    Lookup,
    #[error("the plan gives the param {0} another default, and the request left it to the plan")]
    Default(String),
    #[error("the plan uses {0}, which the lookup that has run did not ask for")]
    Fact(String),
    #[error("step {number} {name:?} has begun, and the plan has no step {number}")]
    Fewer { number: usize, name: String },
    #[error("step {number} {from:?} has begun, and the plan has {to:?} in its place")]
    Name { number: usize, from: String, to: String },
    #[error(
        "step {number} {name:?} has begun as {from}, and would be {to}: the point of no return cannot move across it"
    )]
    Kind {
        number: usize,
        name: String,
        from: &'static str,
        to: &'static str,
    },
    #[error("step {number} {name:?} has begun as {from}, and would be {to}")]
    Call {
        number: usize,
        name: String,
        from: String,
        to: String,
    },
}

/// `next` is the number of the first step that has not begun, as the journal counts: 0 is the lookup (also where a
/// plan has none), and number n is `steps[n - 1]`. `params` are the request's.
pub fn compatible(
    from: &Plan,
    to: &Plan,
    next: usize,
    params: &Map<String, Value>,
) -> Result<(), Incompatible> {
    if from.target != to.target {
        return Err(Incompatible::Target {
            from: from.target.to_string(),
            to: to.target.to_string(),
        });
    }
    for (name, param) in &to.params {
        let fits = match from.params.get(name) {
            Some(had) => {
                let listed = param.one_of.is_empty()
                    || (!had.one_of.is_empty() && had.one_of.iter().all(|one| param.one_of.contains(one)));
                had.kind == param.kind && (!had.may_be_null() || !param.required) && listed
            }
            None => !param.required,
        };
        if !fits {
            return Err(Incompatible::Param(name.clone()));
        }
    }
    if next == 0 {
        return Ok(());
    }
    let had = from.param_values(params);
    let has = to.param_values(params);
    if let Some(other) = had
        .iter()
        .find(|(name, value)| has.get(*name).is_some_and(|now| now != *value))
    {
        return Err(Incompatible::Default(other.0.clone()));
    }
    let (from, to) = (&from.chosen(params), &to.chosen(params));
    if from.lookup.is_none() && to.lookup.is_some() && next > 1 {
        return Err(Incompatible::Lookup);
    }
    facts(from, to)?;
    steps(from, to, next - 1)
}

/// The lookup has run and does not run again: what it did not ask for stays unknown.
fn facts(from: &Plan, to: &Plan) -> Result<(), Incompatible> {
    let columns = |plan: &Plan| plan.lookup.as_ref().map(|lookup| Columns::of(&lookup.sql));
    let had = columns(from).unwrap_or_else(Columns::none);
    let missing = to.facts_used().into_iter().find(|name| !had.may_have(name));
    missing.map_or(Ok(()), |name| Err(Incompatible::Fact(name)))
}

fn steps(from: &Plan, to: &Plan, begun: usize) -> Result<(), Incompatible> {
    for (index, old) in from.steps.iter().take(begun).enumerate() {
        let (number, name) = (index + 1, old.name.clone());
        let Some(new) = to.steps.get(index) else {
            return Err(Incompatible::Fewer { number, name });
        };
        if old.name != new.name {
            let to = new.name.clone();
            return Err(Incompatible::Name {
                number,
                from: name,
                to,
            });
        }
        if old.kind != new.kind {
            let (from, to) = (word(old.kind), word(new.kind));
            return Err(Incompatible::Kind {
                number,
                name,
                from,
                to,
            });
        }
        // A handle or the progress of one connector says nothing to another.
        let (from, to) = (old.call.at(&old.on.0), new.call.at(&new.on.0));
        if from != to {
            return Err(Incompatible::Call {
                number,
                name,
                from,
                to,
            });
        }
    }
    Ok(())
}

fn word(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Compensable => "compensable",
        StepKind::Pivot => "the pivot",
        StepKind::Retriable => "retriable",
    }
}

impl Call {
    fn at(&self, system: &str) -> String {
        match self {
            Call::Nothing => "nothing".to_owned(),
            Call::Sql { .. } => format!("a statement at {system}"),
            Call::Chunks { .. } => format!("chunks at {system}"),
            Call::Http { .. } => format!("a call of {system}"),
            Call::Archive { store, .. } => format!("an archive from {system} to {}", store.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_plan;
    use super::*;

    const BASE: &str = r#"
target = "a.b"
on = "db"
params = { owner = "text" }
[lookup]
sql = "select kind from t where id = :id"
[[step]]
name = "fence"
sql = "update t set g = :generation where id = :id and g < :generation"
undo = "update t set g = :generation, f = null where id = :id and g < :generation"
[[step]]
name = "kill"
when = { kind = "x" }
sql = "delete from u where id = :id"
[[step]]
name = "clean"
sql = "delete from v where id = :id"
"#;

    fn why(change: (&str, &str), next: usize) -> String {
        let changed = BASE.replace(change.0, change.1);
        assert_ne!(changed, BASE, "{change:?}");
        let (from, to) = (parse_plan(BASE, "from"), parse_plan(&changed, "to"));
        match compatible(&from.expect("a plan"), &to.expect("a plan"), next, &Map::new()) {
            Ok(()) => "may go on".to_owned(),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn a_deletion_goes_on_only_where_what_has_begun_means_the_same() {
        let rename = ("\"kill\"", "\"end\"");
        for (change, next, expected) in [
            (
                ("a.b", "a.c"),
                0,
                "the plan is for a.c, and the deletion is of a a.b",
            ),
            (
                ("owner =", "buyer ="),
                0,
                "the plan wants the param buyer in a way that the request was not checked for",
            ),
            (
                ("owner = \"text\"", "owner = \"integer\""),
                0,
                "the plan wants the param owner in a way that the request was not checked for",
            ),
            (
                ("owner = \"text\"", "owner = \"text\", more = \"text?\""),
                2,
                "may go on",
            ),
            (rename, 0, "may go on"),
            (rename, 2, "may go on"),
            (
                rename,
                3,
                "step 2 \"kill\" has begun, and the plan has \"end\" in its place",
            ),
            (
                ("delete from v where id", "delete from w where id"),
                4,
                "may go on",
            ),
            (
                ("name = \"clean\"", "name = \"clean\"\non = \"other\""),
                3,
                "may go on",
            ),
            (
                ("name = \"clean\"", "name = \"clean\"\non = \"other\""),
                4,
                "step 3 \"clean\" has begun as a statement at db, and would be a statement at other",
            ),
            (
                (
                    "name = \"clean\"\nsql = \"delete from v where id = :id\"",
                    "name = \"clean\"\ncall = \"web.clean\"",
                ),
                4,
                "step 3 \"clean\" has begun as a statement at db, and would be a call of web",
            ),
            (
                (
                    "[[step]]\nname = \"clean\"\nsql = \"delete from v where id = :id\"\n",
                    "",
                ),
                3,
                "may go on",
            ),
            (
                (
                    "[[step]]\nname = \"clean\"\nsql = \"delete from v where id = :id\"\n",
                    "",
                ),
                4,
                "step 3 \"clean\" has begun, and the plan has no step 3",
            ),
            (("select kind from", "select kind, size from"), 4, "may go on"),
        ] {
            assert_eq!(why(change, next), expected, "{change:?} at {next}");
        }
    }

    #[test]
    fn the_pivot_does_not_move_across_what_has_begun_and_facts_must_be_known() {
        let from = parse_plan(BASE, "from").expect("a plan");
        let undo = BASE
            .lines()
            .find(|line| line.starts_with("undo"))
            .expect("the fence has one");
        let early = parse_plan(&BASE.replace(undo, ""), "to").expect("a plan whose fence is the pivot");
        assert_eq!(compatible(&from, &early, 1, &Map::new()), Ok(()));
        assert_eq!(
            compatible(&from, &early, 2, &Map::new())
                .expect_err("moved")
                .to_string(),
            "step 1 \"fence\" has begun as compensable, and would be the pivot: the point of no return cannot move across it"
        );
        let fact = BASE
            .replace("select kind from", "select kind, size from")
            .replace(
                "delete from v where id = :id",
                "delete from v where id = :id and size = :size",
            );
        let fact = parse_plan(&fact, "to").expect("a plan");
        assert_eq!(compatible(&from, &fact, 0, &Map::new()), Ok(()));
        assert_eq!(
            compatible(&from, &fact, 1, &Map::new()),
            Err(Incompatible::Fact("size".into()))
        );
        assert_eq!(compatible(&fact, &from, 3, &Map::new()), Ok(()));
    }

    #[test]
    fn a_lookup_is_not_begun_behind_steps_that_have_begun() {
        let bare = "target = \"a.b\"\non = \"db\"\nsql = \"delete from v where id = :id\"";
        let asks = format!("{bare}\n[lookup]\nsql = \"select 1 as one from v where id = :id\"");
        let plan = |text: &str| parse_plan(text, "plan").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(compatible(&plan(bare), &plan(&asks), 0, &Map::new()), Ok(()));
        assert_eq!(
            compatible(&plan(bare), &plan(&asks), 2, &Map::new()),
            Err(Incompatible::Lookup)
        );
        assert_eq!(compatible(&plan(&asks), &plan(bare), 2, &Map::new()), Ok(()));
    }

    #[test]
    fn what_a_request_chose_stays_chosen_for_what_has_begun() {
        const CHOSEN: &str = r#"
target = "a.b"
on = "store"
params = { db_id = ["main", "second"], table = { one_of = ["new", "old"], default = "new" } }
[choose.store]
by = "db_id"
main = "store-main"
second = "store-second"
[[step]]
name = "row"
sql = "delete from {table} where id = :id"
"#;
        let plan = |text: &str| parse_plan(text, "plan").unwrap_or_else(|errors| panic!("{errors}"));
        let from = plan(CHOSEN);
        let of = |db_id: &str, table: Option<&str>| {
            let mut params = Map::from_iter([("db_id".to_owned(), Value::from(db_id))]);
            params.extend(table.map(|table| ("table".to_owned(), Value::from(table))));
            params
        };
        let moved = plan(&CHOSEN.replace("store-main", "store-new"));
        assert_eq!(compatible(&from, &moved, 2, &of("second", None)), Ok(()));
        assert_eq!(compatible(&from, &moved, 0, &of("main", None)), Ok(()));
        assert_eq!(
            compatible(&from, &moved, 2, &of("main", None))
                .expect_err("elsewhere")
                .to_string(),
            "step 1 \"row\" has begun as a statement at store-main, and would be a statement at store-new"
        );
        let other = plan(&CHOSEN.replace("default = \"new\"", "default = \"old\""));
        assert_eq!(compatible(&from, &other, 2, &of("main", Some("new"))), Ok(()));
        assert_eq!(
            compatible(&from, &other, 2, &of("main", None)),
            Err(Incompatible::Default("table".into()))
        );
        let fewer = plan(&CHOSEN.replace("[\"new\", \"old\"]", "[\"new\"]"));
        assert_eq!(
            compatible(&from, &fewer, 0, &of("main", Some("old"))),
            Err(Incompatible::Param("table".into()))
        );
    }
}
