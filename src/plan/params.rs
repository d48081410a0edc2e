//! What a request may say beyond its target, checked at admission against what the plan declares.

use serde_json::{Map, Value};

use super::condition::kind;
use super::source::one_of;
use super::{Param, ParamKind, Plan, Values};

/// A param that is a part of what is meant by a target.
#[derive(Clone, Debug, PartialEq)]
pub struct MeantBy {
    pub name: String,
    pub value: Value,
    /// What a request means that does not say it.
    pub left_out: Value,
}

impl Plan {
    /// The field is a JSON pointer into the request; the detail never repeats what was sent.
    pub fn check_params(&self, given: &Map<String, Value>) -> Result<(), (String, String)> {
        for (name, value) in given {
            let Some(param) = self.params.get(name) else {
                let known: Vec<&str> = self.params.keys().map(String::as_str).collect();
                let wanted = match known.as_slice() {
                    [] => "no params at all".to_owned(),
                    known => format!("only {}", known.join(", ")),
                };
                // The name is the sender's, and as little repeated as a value.
                return Err((
                    "/params".to_owned(),
                    format!("a param that is not of this type; wanted {wanted}"),
                ));
            };
            param
                .check(value)
                .map_err(|detail| (format!("/params/{name}"), detail))?;
        }
        match self
            .params
            .iter()
            .find(|(name, param)| param.required && !given.contains_key(*name))
        {
            Some((name, param)) => Err((
                format!("/params/{name}"),
                format!("missing; wanted {}", param.kind.wanted()),
            )),
            None => Ok(()),
        }
    }

    /// The params that say, with the target's id, which one is meant: those that the lookup asks for, and those that choose
    /// where it asks. To be asked of the plan as it was written: once all is chosen, nothing tells of the choice.
    pub fn meant_by(&self, given: &Map<String, Value>) -> Vec<MeantBy> {
        let Some(lookup) = &self.lookup else {
            return Vec::new();
        };
        let places = lookup.sql.places();
        let chooser = self.choices.get(&lookup.on).map(|choice| &choice.by);
        let asked = |name: &String| {
            lookup.sql.uses(name) || places.contains(name) || chooser.is_some_and(|by| by == name)
        };
        let nothing = Map::new();
        let (values, left_out) = (self.param_values(given), self.param_values(&nothing));
        values
            .into_iter()
            .zip(left_out.into_values())
            .filter(|((name, _), _)| asked(name))
            .map(|((name, value), left_out)| MeantBy {
                name,
                value,
                left_out,
            })
            .collect()
    }

    /// The params as statements and conditions see them: one that may be left out and was, is its default, or null.
    pub fn param_values(&self, given: &Map<String, Value>) -> Values {
        let value = |name: &String, param: &Param| match given.get(name) {
            None | Some(Value::Null) => param.default.clone().map_or(Value::Null, Value::from),
            Some(value) => value.clone(),
        };
        self.params
            .iter()
            .map(|(name, param)| (name.clone(), value(name, param)))
            .collect()
    }
}

impl Param {
    /// Whether statements may see a null in its place.
    pub fn may_be_null(&self) -> bool {
        !self.required && self.default.is_none()
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        match (self.kind, value) {
            (_, Value::Null) if !self.required => Ok(()),
            (ParamKind::Text, Value::String(text)) if !self.one_of.is_empty() => {
                match self.one_of.contains(text) {
                    true => Ok(()),
                    false => Err(format!("another text; wanted {}", one_of(&self.one_of))),
                }
            }
            (ParamKind::Text, Value::String(text)) if text.contains('\0') => {
                Err("a text with a NUL character; wanted a text without".to_owned())
            }
            (ParamKind::Text, Value::String(_)) | (ParamKind::Boolean, Value::Bool(_)) => Ok(()),
            (ParamKind::Integer, Value::Number(number)) if number.as_i64().is_some() => Ok(()),
            (wanted, found) => Err(format!("{}; wanted {}", kind(found), wanted.wanted())),
        }
    }
}

impl ParamKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            ParamKind::Text => "text",
            ParamKind::Integer => "integer",
            ParamKind::Boolean => "boolean",
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            ParamKind::Text => "a text",
            ParamKind::Integer => "a whole number of 64 bits",
            ParamKind::Boolean => "true or false",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_plan;
    use serde_json::{Value, json};

    #[test]
    fn what_is_not_declared_missing_or_of_another_kind_is_named_without_its_content() {
        let plan = "target = \"a\"\non = \"db\"\nsql = \"delete from t where id = :id and a = :owner\"\n\
                    [params]\nowner = \"text\"\ncount = \"integer?\"\nforce = \"boolean?\"\n";
        let plan = parse_plan(plan, "a.toml").expect("a plan");
        let check = |params: Value| plan.check_params(params.as_object().expect("an object"));
        let wrong = |field: &str, detail: &str| Err((field.to_owned(), detail.to_owned()));
        assert_eq!(check(json!({"owner": "x"})), Ok(()));
        assert_eq!(check(json!({"owner": "x", "count": -3, "force": null})), Ok(()));
        assert_eq!(check(json!({})), wrong("/params/owner", "missing; wanted a text"));
        assert_eq!(
            check(json!({"owner": null})),
            wrong("/params/owner", "null; wanted a text")
        );
        assert_eq!(
            check(json!({"owner": "a\u{0}"})),
            wrong(
                "/params/owner",
                "a text with a NUL character; wanted a text without"
            )
        );
        assert_eq!(
            check(json!({"owner": "x", "count": 1.5})),
            wrong("/params/count", "a number; wanted a whole number of 64 bits")
        );
        assert_eq!(
            check(json!({"owner": "x", "s/e": "secret"})),
            wrong(
                "/params",
                "a param that is not of this type; wanted only count, force, owner"
            )
        );
        let given = json!({"owner": "x"});
        let values = plan.param_values(given.as_object().expect("an object"));
        assert_eq!(values.get("count"), Some(&Value::Null));
        assert_eq!(values.get("owner"), Some(&json!("x")));
    }

    #[test]
    fn what_is_meant_is_told_by_what_the_lookup_asks_for_and_by_where_it_asks() {
        let plan = r#"
            target = "a.b"
            on = "agno"
            [params]
            db_id = { one_of = ["main", "second"], default = "main" }
            table = { one_of = ["new", "old"], default = "new" }
            part = { one_of = ["x", "y"], default = "x" }
            owner = "text?"
            note = "text?"
            [choose.agno]
            by = "db_id"
            main = "agno-main"
            second = "agno-second"
            [lookup]
            sql = "select 1 as there from {table} where id = :id and owner = :owner"
            [[step]]
            name = "row"
            sql = "delete from {part} where id = :id and note = :note"
        "#;
        let plan = parse_plan(plan, "a.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let given = json!({"table": "old", "note": "n", "owner": null});
        let told: Vec<Value> = plan
            .meant_by(given.as_object().expect("an object"))
            .into_iter()
            .map(|by| json!([by.name, by.value, by.left_out]))
            .collect();
        assert_eq!(
            told,
            [
                json!(["db_id", "main", "main"]),
                json!(["owner", null, null]),
                json!(["table", "old", "new"])
            ]
        );
    }
}
