//! Choices: what a request may choose of a plan, out of closed lists.
//!
//! A request never names a system or a table. It names one of the values that the plan lists for a param, and the plan
//! says which system or which identifier that means. Whoever carries the plan out gets it with everything chosen.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Call, Plan, Sql, Step, SystemName};

/// A name that stands for one of several systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The closed param that decides.
    pub by: String,
    /// Which system each of its values means.
    pub systems: BTreeMap<String, SystemName>,
}

impl Plan {
    /// Whether what it does depends on what a request chooses.
    pub fn has_choices(&self) -> bool {
        !self.choices.is_empty() || !self.places().is_empty()
    }

    /// The values that decide, for telling one chosen plan from another.
    pub fn choice_of(&self, params: &Map<String, Value>) -> Vec<String> {
        let values = self.param_values(params);
        let chosen = self.params.iter().filter(|(_, param)| !param.one_of.is_empty());
        chosen
            .map(|(name, _)| {
                values
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// The plan with every system and every identifier chosen. Params were checked at admission; a value that is none
    /// of the list leaves its place as it is, which no database takes.
    pub fn chosen(&self, params: &Map<String, Value>) -> Plan {
        let values = self.param_values(params);
        let value = |name: &str| {
            values
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let system = |name: &mut SystemName| {
            if let Some(choice) = self.choices.get(name)
                && let Some(chosen) = choice.systems.get(&value(&choice.by))
            {
                *name = chosen.clone();
            }
        };
        let listed = |name: &str, value: &str| {
            let param = self.params.get(name);
            param.is_some_and(|param| param.one_of.iter().any(|one| one == value))
        };
        let statement = |sql: &mut Sql| {
            *sql = sql.with_identifiers(|name| Some(value(name)).filter(|value| listed(name, value)));
        };
        let mut plan = self.clone();
        if let Some(lookup) = &mut plan.lookup {
            system(&mut lookup.on);
            statement(&mut lookup.sql);
        }
        let restorable = plan.restorable.iter_mut();
        let more = restorable.flat_map(|of| of.restore.iter_mut().chain(&mut of.purge));
        for step in plan.steps.iter_mut().chain(more) {
            choose(step, &system, &statement);
        }
        plan.choices.clear();
        plan
    }

    /// Chosen plans in which every value of every closed param is chosen at least once.
    pub fn all_choices(&self) -> Vec<Plan> {
        let most = self
            .params
            .values()
            .map(|param| param.one_of.len())
            .max()
            .unwrap_or(0);
        let nth = |at: usize| {
            let chosen = self.params.iter().filter(|(_, param)| !param.one_of.is_empty());
            chosen
                .map(|(name, param)| {
                    let value = &param.one_of[at % param.one_of.len()];
                    (name.clone(), Value::from(value.as_str()))
                })
                .collect::<Map<_, _>>()
        };
        (0..most.max(1)).map(|at| self.chosen(&nth(at))).collect()
    }

    /// The params that stand as identifiers somewhere in its statements.
    pub(super) fn places(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut look = |sql: &Sql| all.extend(sql.places());
        self.lookup.iter().for_each(|lookup| look(&lookup.sql));
        for step in self.all_steps() {
            step.statements().for_each(|(_, sql)| look(sql));
        }
        all
    }
}

impl Step {
    /// Every statement and query of it, by its key in the plan.
    pub(super) fn statements(&self) -> impl Iterator<Item = (&'static str, &Sql)> {
        let mut all = Vec::new();
        match &self.call {
            Call::Sql { sql, guard, .. } => {
                all.push(("sql", sql));
                all.extend(guard.iter().map(|guard| ("guard.sql", &guard.sql)));
            }
            Call::Chunks { sql, .. } => all.push(("chunks.sql", sql)),
            Call::Archive { rows, .. } => all.push(("archive.rows", rows)),
            Call::Nothing | Call::Http { .. } => {}
        }
        all.extend(self.read.iter().map(|read| ("read", &read.sql)));
        all.extend(self.verify.iter().map(|verify| ("verify", &verify.sql)));
        if let Some(Call::Sql { sql, .. }) = &self.undo {
            all.push(("undo", sql));
        }
        all.into_iter()
    }
}

fn choose(step: &mut Step, system: &impl Fn(&mut SystemName), statement: &impl Fn(&mut Sql)) {
    system(&mut step.on);
    for read in step.read.iter_mut().chain(&mut step.verify) {
        system(&mut read.on);
        statement(&mut read.sql);
    }
    for call in std::iter::once(&mut step.call).chain(&mut step.undo) {
        match call {
            Call::Sql { sql, guard, .. } => {
                statement(sql);
                guard.iter_mut().for_each(|guard| statement(&mut guard.sql));
            }
            Call::Chunks { sql, .. } => statement(sql),
            Call::Archive { rows, store, .. } => {
                statement(rows);
                system(store);
            }
            Call::Nothing | Call::Http { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Plan, parse_plan};
    use super::*;

    const TWO: &str = r#"
target = "a.b"
on = "agno"
[params]
db_id = ["main", "second"]
table = { one_of = ["agno_sessions", "old_sessions"], default = "agno_sessions" }
[choose.agno]
by = "db_id"
main = "agno-main"
second = "agno-second"
[[step]]
name = "row"
sql = "delete from ai.{table} where session_id = :id and '{table}' <> ''"
verify = "select not exists (select from ai.{table} where session_id = :id)"
"#;

    fn plan(text: &str) -> Result<Plan, String> {
        parse_plan(text, "p.toml").map_err(|errors| errors.to_string())
    }

    fn of(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn what_is_chosen_is_a_plan_without_choices() {
        let plan = plan(TWO).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(plan.has_choices());
        let names: Vec<&str> = plan.systems().into_iter().map(|name| name.0.as_str()).collect();
        assert_eq!(names, ["agno-main", "agno-second"]);
        let chosen = plan.chosen(&of(json!({"db_id": "second", "table": "old_sessions"})));
        assert!(!chosen.has_choices());
        assert_eq!(chosen.steps[0].on.0, "agno-second");
        let Call::Sql { sql, .. } = &chosen.steps[0].call else {
            panic!()
        };
        assert_eq!(
            sql.text,
            "delete from ai.\"old_sessions\" where session_id = $1 and '{table}' <> ''"
        );
        let standard = plan.chosen(&of(json!({"db_id": "main"})));
        let read = standard.steps[0].verify.as_ref().expect("it has one");
        assert_eq!(read.on.0, "agno-main");
        assert!(
            read.sql.text.contains("ai.\"agno_sessions\""),
            "{}",
            read.sql.text
        );
        let (text, _) = crate::plan::canonical(&plan);
        assert_eq!(crate::plan::from_canonical(&text).ok(), Some(plan));
    }

    #[test]
    fn a_value_that_is_not_listed_never_becomes_part_of_a_statement() {
        let plan = plan(TWO).unwrap_or_else(|errors| panic!("{errors}"));
        let hostile = "x\"; drop table t; --";
        for (params, field) in [
            (json!({"db_id": hostile}), "/params/db_id"),
            (json!({"db_id": "main", "table": hostile}), "/params/table"),
            (json!({"db_id": 7}), "/params/db_id"),
            (json!({}), "/params/db_id"),
        ] {
            let params = of(params);
            let (at, why) = plan.check_params(&params).expect_err("it is not listed");
            assert_eq!(at, field);
            assert!(!why.contains("drop"), "{why}");
            let chosen = plan.chosen(&params);
            let text = format!("{chosen:?}");
            assert!(!text.contains("drop"), "{text}");
        }
        let listed = plan
            .check_params(&of(json!({"db_id": "other"})))
            .expect_err("no such");
        assert_eq!(listed.1, "another text; wanted one of: main, second");
        assert_eq!(plan.check_params(&of(json!({"db_id": "main"}))), Ok(()));
    }

    #[test]
    fn what_is_wrong_with_a_choice_is_said_with_its_line() {
        for (from, to, wanted) in [
            (
                "{table} where session_id = :id and",
                "{other} where session_id = :id and",
                "p.toml:13: step \"row\": sql has {other}, which is no closed param whose values are plain names",
            ),
            (
                "\"old_sessions\"]",
                "\"Old Sessions\"]",
                "sql has {table}, which is no closed param",
            ),
            (
                "second = \"agno-second\"\n",
                "",
                "p.toml:7: choose.agno says nothing for \"second\", which db_id may be; wanted a system for it",
            ),
            (
                "second = \"agno-second\"\n",
                "second = \"agno-second\"\nthird = \"x\"\n",
                "choose.agno has \"third\", which db_id cannot be",
            ),
            (
                "by = \"db_id\"",
                "by = \"nobody\"",
                "choose.agno goes by \"nobody\", which is no closed param",
            ),
            (
                "default = \"agno_sessions\"",
                "default = \"x\"",
                "default is \"x\"; wanted one of",
            ),
            (
                "[\"main\", \"second\"]",
                "[\"main\", \"main\"]",
                "p.toml:5: params: db_id lists \"main\" twice",
            ),
            (
                "[\"main\", \"second\"]",
                "[\"main\", \"second\", \"\"]",
                "p.toml:5: params: db_id lists a text that nobody can send",
            ),
            (
                "[\"main\", \"second\"]",
                &format!("[\"main\", \"second\", \"{}\"]", "x".repeat(65)),
                "p.toml:5: params: db_id lists a text of more than 64 characters",
            ),
            (
                "[\"main\", \"second\"]",
                &format!(
                    "[{}]",
                    (0..65).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",")
                ),
                "p.toml:5: params: db_id lists 65 values; wanted at most 64",
            ),
            (
                "from ai.{table} where session_id = :id and",
                "from ai.old_{table} where session_id = :id and",
                "p.toml:13: step \"row\": sql has a brace that is no {name} by itself",
            ),
            (
                "on = \"agno\"",
                "on = \"another\"",
                "p.toml:7: choose.agno is named nowhere",
            ),
            (
                "main = \"agno-main\"",
                "main = \"agno\"",
                "p.toml:7: choose.agno leads to \"agno\", which is chosen itself",
            ),
            (
                "name = \"row\"",
                "name = \"row\"\nwhen = { db_id = { not = \"mian\" }, table = [\"old_sessions\", 7] }",
                "p.toml:13: step \"row\": when compares db_id with \"mian\", which it cannot be; wanted one of: main, second",
            ),
            (
                "name = \"row\"",
                "name = \"row\"\nwhen = { table = [\"old_sessions\", 7] }",
                "when compares table with 7, which it cannot be",
            ),
        ] {
            let errors = plan(&TWO.replace(from, to)).expect_err(to);
            assert!(errors.contains(wanted), "{to}:\n{errors}\nwanted {wanted}");
        }
    }

    #[test]
    fn each_system_that_may_be_chosen_must_be_there_and_fit() {
        use crate::plan::{SystemKind, Systems, parse_plan_for};
        let told = |systems: &[(&str, SystemKind)]| {
            let systems = systems
                .iter()
                .map(|(name, kind)| (SystemName((*name).to_owned()), *kind));
            parse_plan_for(TWO, "p.toml", &systems.collect::<Systems>())
                .map_or_else(|errors| errors.to_string(), |_| String::new())
        };
        let main = ("agno-main", SystemKind::Postgres);
        let second = ("agno-second", SystemKind::Postgres);
        assert_eq!(told(&[main, second]), "");
        assert!(
            told(&[main])
                .starts_with("p.toml:3: system \"agno-second\" is not in the settings; wanted agno-main\n")
        );
        assert!(
            told(&[main, ("agno-second", SystemKind::Http)])
                .contains("system \"agno-second\" is an http system; wanted a postgres system")
        );
        assert_eq!(
            told(&[main, second, ("agno", SystemKind::Postgres)]),
            "p.toml:7: choose.agno has the name of a system in the settings; wanted another, so that \"agno\" means one thing"
        );
    }
}
