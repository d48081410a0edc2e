//! A JSON body with `{name}` places in its texts.
//!
//! A text that is one place and nothing else takes the value as it is, so that a number stays a number; values are
//! put into the tree, never into JSON text, so none can break out of its place.

use serde_json::{Map, Value};

use crate::plan::{BadTemplate, CannotRender, Template, TemplatePart, Values};

#[derive(Clone, Debug)]
pub(super) enum Body {
    Plain(Value),
    Text(Template),
    List(Vec<Body>),
    Object(Vec<(String, Body)>),
}

impl Body {
    pub(super) fn parse(json: Value) -> Result<Body, BadTemplate> {
        Ok(match json {
            Value::String(text) if text.contains(['{', '}']) => Body::Text(Template::parse(&text)?),
            Value::Array(all) => Body::List(all.into_iter().map(Body::parse).collect::<Result<_, _>>()?),
            Value::Object(all) => Body::Object(
                all.into_iter()
                    .map(|(key, value)| Ok((key, Body::parse(value)?)))
                    .collect::<Result<_, _>>()?,
            ),
            plain => Body::Plain(plain),
        })
    }

    pub(super) fn render(&self, values: &Values) -> Result<Value, CannotRender> {
        Ok(match self {
            Body::Plain(value) => value.clone(),
            Body::Text(template) => match template.parts.as_slice() {
                [TemplatePart::Name(name)] => whole(name, values)?,
                _ => Value::String(template.render_plain(values)?),
            },
            Body::List(all) => Value::Array(
                all.iter()
                    .map(|one| one.render(values))
                    .collect::<Result<_, _>>()?,
            ),
            Body::Object(all) => {
                let mut object = Map::new();
                for (key, value) in all {
                    object.insert(key.clone(), value.render(values)?);
                }
                Value::Object(object)
            }
        })
    }

    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Body::Plain(_) => Vec::new(),
            Body::Text(template) => template.names().collect(),
            Body::List(all) => all.iter().flat_map(Body::names).collect(),
            Body::Object(all) => all.iter().flat_map(|(_, one)| one.names()).collect(),
        }
    }
}

/// A value that takes a whole place. An empty one would widen what the call is about, as it would in a path.
fn whole(name: &str, values: &Values) -> Result<Value, CannotRender> {
    let value = values
        .get(name)
        .ok_or_else(|| CannotRender::Missing(name.to_owned()))?;
    let is_empty = match value {
        Value::Null => return Err(CannotRender::Null(name.to_owned())),
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    match is_empty {
        true => Err(CannotRender::Empty(name.to_owned())),
        false => Ok(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_stay_in_their_places_and_keep_their_kind() {
        let body = Body::parse(json!({"ids": ["{id}"], "n": "{count}", "why": "gone: {id}", "x": 1}))
            .expect("a body");
        let values = Values::from([
            ("id".to_owned(), json!("a\",\"admin\":true")),
            ("count".to_owned(), json!(3)),
        ]);
        assert_eq!(
            body.render(&values),
            Ok(json!({"ids": ["a\",\"admin\":true"], "n": 3, "why": "gone: a\",\"admin\":true", "x": 1}))
        );
        assert!(body.render(&Values::new()).is_err());
    }

    #[test]
    fn a_hole_in_a_body_is_an_error_that_names_the_place() {
        let name = || "owner".to_owned();
        for body in [json!({"user": "{owner}"}), json!(["user-{owner}"])] {
            let body = Body::parse(body).expect("a body");
            let render = |owner: Value| body.render(&Values::from([(name(), owner)]));
            assert_eq!(render(json!("")), Err(CannotRender::Empty(name())));
            assert_eq!(render(json!(null)), Err(CannotRender::Null(name())));
            assert!(render(json!([])).is_err() && render(json!({})).is_err());
            assert!(render(json!("u1")).is_ok() && render(json!(0)).is_ok());
        }
    }
}
