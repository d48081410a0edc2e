//! `when`: whether a step has anything to do for this target.
//!
//! A condition is true, false, or cannot be told; what cannot be told is an error and never "no". A step skipped
//! on a guess would leave a machine running under a row that says deleted.

use serde_json::Value;

use super::{Condition, Is, Test, Values};

/// Names are of the plan, so an error shows them; values are foreign and are never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotTell {
    #[error("the condition asks for {0}, which is not known")]
    Missing(String),
    #[error("the condition compares {0}, which is null; `present` would say what that means")]
    Null(String),
    #[error("the condition compares {name} with {wanted}, but it is {found}")]
    Kind {
        name: String,
        found: &'static str,
        wanted: &'static str,
    },
}

impl Condition {
    /// Whether all tests hold. Presence is asked first, so that `{ present = true, not = "x" }` guards itself.
    pub fn holds(&self, values: &Values) -> Result<bool, CannotTell> {
        let (presence, rest): (Vec<&Test>, Vec<&Test>) = self
            .all
            .iter()
            .partition(|test| matches!(test.is, Is::Present(_)));
        for test in presence.into_iter().chain(rest) {
            if !test.holds(values)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Test {
    fn holds(&self, values: &Values) -> Result<bool, CannotTell> {
        let value = values
            .get(&self.name)
            .ok_or_else(|| CannotTell::Missing(self.name.clone()))?;
        match &self.is {
            Is::Present(wanted) => Ok(value.is_null() != *wanted),
            Is::Equal(wanted) => self.same(value, wanted),
            Is::Not(wanted) => self.same(value, wanted).map(|same| !same),
            Is::In(all) => {
                for wanted in all {
                    if self.same(value, wanted)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    fn same(&self, value: &Value, wanted: &Value) -> Result<bool, CannotTell> {
        if value.is_null() {
            return Err(CannotTell::Null(self.name.clone()));
        }
        if kind(value) != kind(wanted) {
            return Err(CannotTell::Kind {
                name: self.name.clone(),
                found: kind(value),
                wanted: kind(wanted),
            });
        }
        Ok(value == wanted)
    }
}

/// What a value is, in the words of a person.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn when(tests: &[(&str, Is)]) -> Condition {
        let all = tests.iter().map(|(name, is)| Test {
            name: (*name).into(),
            is: is.clone(),
        });
        Condition { all: all.collect() }
    }

    #[test]
    fn a_condition_is_true_false_or_an_error_and_never_a_guess() {
        let facts = Values::from([
            ("kind".into(), json!("e2b")),
            ("size".into(), json!(3)),
            ("gone".into(), Value::Null),
        ]);
        let missing = |name: &str| Err(CannotTell::Missing(name.into()));
        let null = Err(CannotTell::Null("gone".into()));
        for (tests, expected) in [
            (vec![("kind", Is::Not(json!("byom")))], Ok(true)),
            (vec![("kind", Is::Equal(json!("byom")))], Ok(false)),
            (
                vec![("kind", Is::In(vec![json!("byom"), json!("e2b")]))],
                Ok(true),
            ),
            (vec![("kind", Is::In(vec![]))], Ok(false)),
            (
                vec![("size", Is::Equal(json!(3))), ("kind", Is::Equal(json!("e2b")))],
                Ok(true),
            ),
            (
                vec![("size", Is::Equal(json!(3))), ("kind", Is::Equal(json!("x")))],
                Ok(false),
            ),
            (
                vec![("gone", Is::Present(false)), ("size", Is::Present(true))],
                Ok(true),
            ),
            (vec![("nope", Is::Not(json!("x")))], missing("nope")),
            (vec![("nope", Is::Present(false))], missing("nope")),
            (vec![("gone", Is::Equal(json!("x")))], null.clone()),
            (vec![("gone", Is::Not(json!("x")))], null),
            (
                vec![("gone", Is::Not(json!("x"))), ("gone", Is::Present(true))],
                Ok(false),
            ),
            (
                vec![("size", Is::Equal(json!("3")))],
                Err(CannotTell::Kind {
                    name: "size".into(),
                    found: "a number",
                    wanted: "a text",
                }),
            ),
        ] {
            assert_eq!(when(&tests).holds(&facts), expected, "{tests:?}");
        }
    }
}
