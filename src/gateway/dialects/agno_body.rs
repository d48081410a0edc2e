//! Agno: what a call says, and what is wrong with it in the words that its clients know (a list, as FastAPI has it).
//!
//! What can be no target of ours (a NUL, a text that is too long) is wrong as well; so are more ids than a bulk may have.

use serde_json::{Value, json};

use crate::deletion::{BULK_TARGETS_MAX, TargetId};

const TYPES: [&str; 3] = ["agent", "team", "workflow"];
const TYPES_TEXT: &str = "'agent', 'team' or 'workflow'";

/// A body that may be carried out; whether there are as many types as ids is asked later.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sessions {
    pub(super) ids: Vec<String>,
    /// How many were given; an empty one is nobody's.
    pub(super) given: usize,
    pub(super) types: usize,
}

/// What the body is, as far as its head tells.
pub(super) enum Given<'b> {
    Nothing,
    Json(&'b [u8]),
    /// Of another content type.
    Text(&'b [u8]),
}

/// Everything that is wrong, in the order in which FastAPI names it: the query first.
pub(super) fn read(kind: Option<&str>, given: Given<'_>) -> Result<Sessions, Vec<Value>> {
    let mut wrong = Vec::new();
    if let Some(kind) = kind.filter(|kind| !TYPES.contains(kind)) {
        wrong.push(not_a_type(json!(["query", "type"]), &json!(kind)));
    }
    let body = match given {
        Given::Nothing => Err(problem(
            "missing",
            json!(["body"]),
            "Field required",
            &Value::Null,
        )),
        Given::Text(text) => Err(not_an_object(&json!(String::from_utf8_lossy(text)))),
        Given::Json(text) => serde_json::from_slice::<Value>(text).map_err(|error| not_json(text, &error)),
    };
    let read = match body {
        Ok(Value::Object(body)) => {
            let ids = texts(&body, "session_ids", &mut wrong);
            let types = types(&body, &mut wrong);
            ids.zip(types)
        }
        Ok(other) => {
            wrong.push(not_an_object(&other));
            None
        }
        Err(problem) => {
            wrong.push(problem);
            None
        }
    };
    match read {
        Some(((ids, given), types)) if wrong.is_empty() => Ok(Sessions { ids, given, types }),
        _ => Err(wrong),
    }
}

fn texts(
    body: &serde_json::Map<String, Value>,
    name: &str,
    wrong: &mut Vec<Value>,
) -> Option<(Vec<String>, usize)> {
    let all = list(body, name, wrong)?;
    if all.len() > BULK_TARGETS_MAX {
        let found = all.len();
        let mut problem = problem(
            "too_long",
            json!(["body", name]),
            &format!("List should have at most {BULK_TARGETS_MAX} items after validation, not {found}"),
            &Value::Null,
        );
        problem["ctx"] =
            json!({"field_type": "List", "max_length": BULK_TARGETS_MAX, "actual_length": found});
        wrong.push(problem);
        return None;
    }
    let before = wrong.len();
    let mut texts = Vec::with_capacity(all.len());
    for (at, value) in all.iter().enumerate() {
        let place = json!(["body", name, at]);
        match value {
            // Nobody's session, and gone as such.
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => match TargetId::parse(text.as_str()) {
                Ok(_) => texts.push(text.clone()),
                Err(bad) => wrong.push(problem(
                    "value_error",
                    place,
                    &format!("Value error, wanted {}", bad.wanted),
                    value,
                )),
            },
            other => wrong.push(problem(
                "string_type",
                place,
                "Input should be a valid string",
                other,
            )),
        }
    }
    (wrong.len() == before).then_some((texts, all.len()))
}

fn types(body: &serde_json::Map<String, Value>, wrong: &mut Vec<Value>) -> Option<usize> {
    let all = list(body, "session_types", wrong)?;
    let before = wrong.len();
    for (at, value) in all.iter().enumerate() {
        if !value.as_str().is_some_and(|text| TYPES.contains(&text)) {
            wrong.push(not_a_type(json!(["body", "session_types", at]), value));
        }
    }
    (wrong.len() == before).then_some(all.len())
}

/// A list that is there and has something in it.
fn list<'b>(
    body: &'b serde_json::Map<String, Value>,
    name: &str,
    wrong: &mut Vec<Value>,
) -> Option<&'b Vec<Value>> {
    let place = json!(["body", name]);
    match body.get(name) {
        None => {
            let whole = Value::Object(body.clone());
            wrong.push(problem("missing", place, "Field required", &whole));
            None
        }
        Some(Value::Array(all)) if all.is_empty() => {
            let text = "List should have at least 1 item after validation, not 0";
            let mut problem = problem("too_short", place, text, &json!([]));
            problem["ctx"] = json!({"field_type": "List", "min_length": 1, "actual_length": 0});
            wrong.push(problem);
            None
        }
        Some(Value::Array(all)) => Some(all),
        Some(other) => {
            wrong.push(problem("list_type", place, "Input should be a valid list", other));
            None
        }
    }
}

fn not_a_type(place: Value, input: &Value) -> Value {
    let mut problem = problem("enum", place, &format!("Input should be {TYPES_TEXT}"), input);
    problem["ctx"] = json!({"expected": TYPES_TEXT});
    problem
}

fn not_an_object(input: &Value) -> Value {
    let text = "Input should be a valid dictionary or object to extract fields from";
    problem("model_attributes_type", json!(["body"]), text, input)
}

/// At which character, counted over the whole text.
fn not_json(text: &[u8], error: &serde_json::Error) -> Value {
    let before = text
        .split(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1));
    let at = before.map(|line| line.len() + 1).sum::<usize>() + error.column();
    let mut problem = problem(
        "json_invalid",
        json!(["body", at]),
        "JSON decode error",
        &json!({}),
    );
    problem["ctx"] = json!({"error": "not JSON from here on"});
    problem
}

fn problem(kind: &str, place: Value, text: &str, input: &Value) -> Value {
    json!({"type": kind, "loc": place, "msg": text, "input": input})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Option<&str>, body: &Value) -> Vec<(String, Value)> {
        let text = body.to_string();
        let wrong = read(kind, Given::Json(text.as_bytes())).expect_err("it is wrong");
        let one = |problem: Value| {
            (
                problem["type"].as_str().expect("a type").to_owned(),
                problem["loc"].clone(),
            )
        };
        wrong.into_iter().map(one).collect()
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_with_its_place() {
        let both = |ids: Value, types: Value| json!({"session_ids": ids, "session_types": types});
        let place = |kind: &str, place: Value| (kind.to_owned(), place);
        assert_eq!(
            told(None, &json!({})),
            [
                place("missing", json!(["body", "session_ids"])),
                place("missing", json!(["body", "session_types"]))
            ]
        );
        assert_eq!(
            told(None, &json!([])),
            [place("model_attributes_type", json!(["body"]))]
        );
        assert_eq!(
            told(Some("robot"), &both(json!([]), json!("agent"))),
            [
                place("enum", json!(["query", "type"])),
                place("too_short", json!(["body", "session_ids"])),
                place("list_type", json!(["body", "session_types"]))
            ]
        );
        assert_eq!(
            told(
                None,
                &both(json!(["a", 1, "b\u{0}"]), json!(["agent", "robot", 7]))
            ),
            [
                place("string_type", json!(["body", "session_ids", 1])),
                place("value_error", json!(["body", "session_ids", 2])),
                place("enum", json!(["body", "session_types", 1])),
                place("enum", json!(["body", "session_types", 2]))
            ]
        );
        let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
        let wrong = read(
            None,
            Given::Json(both(json!(many), json!(["agent"])).to_string().as_bytes()),
        );
        let wrong = wrong.expect_err("too many");
        assert!(
            wrong[0]["msg"]
                .as_str()
                .is_some_and(|text| text.contains("at most 10000")),
            "{wrong:?}"
        );
    }

    #[test]
    fn what_is_no_body_is_told_apart() {
        let one = |given: Given<'_>| {
            let wrong = read(None, given).expect_err("it is wrong");
            (wrong[0]["type"].clone(), wrong[0]["loc"].clone())
        };
        assert_eq!(one(Given::Nothing), (json!("missing"), json!(["body"])));
        assert_eq!(
            one(Given::Text(b"{}")),
            (json!("model_attributes_type"), json!(["body"]))
        );
        assert_eq!(
            one(Given::Json(b"{")),
            (json!("json_invalid"), json!(["body", 1]))
        );
    }

    #[test]
    fn what_is_right_is_read_whole() {
        let body =
            json!({"session_ids": ["a", "b", ""], "session_types": ["agent", "team"], "more": 1}).to_string();
        let read = read(Some("team"), Given::Json(body.as_bytes())).expect("it is right");
        assert_eq!(
            (read.ids, read.given, read.types),
            (vec!["a".to_owned(), "b".to_owned()], 3, 2)
        );
    }
}
