//! JSON as it came over the wire, read without mercy and without losing the rest.
//!
//! A publisher that says one thing twice, hides a NUL or nests without end is told where. Reading goes on after the
//! first fault, so that the rejection can still name tenant, type and key. No text of this file repeats a value, or a
//! name that is not of the contract: people put addresses there, and a pointer goes into events and headers.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::reading::is_known_name;

/// Params may nest 8 deep and stand two deep in a CloudEvent; more than that no request needs, and recursion is bounded.
const TREE_DEPTH_MAX: usize = 10;
/// `serde_json` reads an object with such a name as something else; kept in a row, it could never be read back.
const MAGIC_PREFIX: &str = "$serde_json::private::";

pub(super) struct Strict {
    pub(super) value: Value,
    /// The first thing that is JSON, and yet not acceptable.
    pub(super) fault: Option<Fault>,
}

pub(super) struct Fault {
    pub(super) pointer: String,
    pub(super) detail: &'static str,
}

/// Errs with what is not JSON about it, and where.
pub(super) fn read(text: &[u8]) -> Result<Strict, String> {
    let mut fault = None;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let node = Node {
        place: &Place::Root,
        depth: 0,
        fault: &mut fault,
    };
    let value = node.deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(Strict { value, fault })
}

/// `pointer` extended by a name of the contract; these need no escaping.
pub(super) fn pointer_to(pointer: &str, name: &str) -> String {
    format!("{pointer}/{name}")
}

/// Where the reader stands, kept on the stack: a pointer is written only when there is a fault.
enum Place<'p> {
    Root,
    Key(&'p Place<'p>, &'p str),
    Index(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// As far as its names are of the contract: then the nearest parent of which that is true.
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        self.write(&mut pointer);
        pointer
    }

    /// Whether all of it could be written.
    fn write(&self, pointer: &mut String) -> bool {
        let (parent, part) = match self {
            Place::Root => return true,
            Place::Key(parent, name) if is_known_name(name) => (parent, (*name).to_owned()),
            Place::Key(parent, _) => {
                parent.write(pointer);
                return false;
            }
            Place::Index(parent, index) => (parent, index.to_string()),
        };
        let whole = parent.write(pointer);
        if whole {
            *pointer = pointer_to(pointer, &part);
        }
        whole
    }
}

struct Node<'n> {
    place: &'n Place<'n>,
    depth: usize,
    fault: &'n mut Option<Fault>,
}

impl Node<'_> {
    fn fault(&mut self, place: &Place<'_>, detail: &'static str) {
        if self.fault.is_none() {
            *self.fault = Some(Fault {
                pointer: place.pointer(),
                detail,
            });
        }
    }

    fn is_too_deep(&mut self) -> bool {
        let too_deep = self.depth >= TREE_DEPTH_MAX;
        if too_deep {
            self.fault(self.place, "found nesting without end; wanted at most 10 levels");
        }
        too_deep
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let too_deep = self.is_too_deep();
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if too_deep {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let place = Place::Key(self.place, &name);
            if name.contains('\0') {
                self.fault(&place, "found a NUL in a name; wanted text without one");
            }
            if name.starts_with(MAGIC_PREFIX) {
                self.fault(&place, "found a reserved name; wanted another");
            }
            if object.contains_key(&name) {
                self.fault(&place, "found a name twice in one object; wanted it once");
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value_seed(Node {
                place: &place,
                depth: self.depth + 1,
                fault: self.fault,
            })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        if self.is_too_deep() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut array = Vec::new();
        loop {
            let place = Place::Index(self.place, array.len());
            let node = Node {
                place: &place,
                depth: self.depth + 1,
                fault: self.fault,
            };
            match seq.next_element_seed(node)? {
                Some(value) => array.push(value),
                None => return Ok(Value::Array(array)),
            }
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(mut self, text: String) -> Result<Value, E> {
        if text.contains('\0') {
            self.fault(self.place, "found a NUL; wanted text without one");
        }
        Ok(Value::String(text))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (String, &'static str) {
        let strict = read(text.as_bytes()).expect(text);
        let fault = strict.fault.expect(text);
        (fault.pointer, fault.detail)
    }

    #[test]
    fn what_is_plain_json_is_read_as_serde_json_reads_it() {
        let text = r#"{"a": [1, -2, 3.5, true, null, "é\n"], "b": {"c": {}}, "big": 18446744073709551615}"#;
        let strict = read(text.as_bytes()).expect("plain JSON");
        assert!(strict.fault.is_none());
        assert_eq!(
            strict.value,
            serde_json::from_str::<Value>(text).expect("plain JSON")
        );
    }

    #[test]
    fn a_name_given_twice_is_a_fault_and_the_rest_is_still_read() {
        let text = r#"{"a": {"b/~": 1, "b/~": 2}, "tenant": "org_1"}"#;
        assert_eq!(fault(text).0, "");
        let strict = read(text.as_bytes()).expect("JSON");
        assert_eq!(strict.value["tenant"], "org_1");
        assert_eq!(strict.value["a"]["b/~"], 1);
    }

    #[test]
    fn a_nul_is_found_wherever_it_hides() {
        assert_eq!(fault(r#"{"params": {"a": ["x", "\u0000"]}}"#).0, "/params");
        assert_eq!(fault(r#"{"params": {"a\u0000": 1}}"#).0, "/params");
    }

    #[test]
    fn nesting_without_end_neither_recurses_nor_stops_the_reader() {
        let deep = format!(
            r#"{{"params": {}{}, "tenant": "t"}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        let strict = read(deep.as_bytes()).expect("it is JSON");
        assert!(strict.fault.is_some());
        assert_eq!(strict.value["tenant"], "t");
        assert!(read("[".repeat(50_000).as_bytes()).is_err());
    }

    #[test]
    fn a_name_that_a_later_reader_would_misread_is_a_fault() {
        assert!(
            fault(r#"{"params": {"$serde_json::private::RawValue": "[1"}}"#)
                .1
                .contains("reserved")
        );
    }

    #[test]
    fn a_pointer_ends_before_the_first_name_that_is_not_of_the_contract() {
        for (text, pointer) in [
            (r#"{"target": {"id": "\u0000"}}"#, "/target/id"),
            (r#"{"tenant": ["a", "\u0000"]}"#, "/tenant/1"),
            (
                r#"{"params": {"alice@example.com": {"id": "\u0000"}}}"#,
                "/params",
            ),
            (r#"{"alice@example.com": [{"id": "\u0000"}]}"#, ""),
            (r#"{"data": {"params": {"x": 1, "x": 2}}}"#, "/data/params"),
        ] {
            assert_eq!(fault(text).0, pointer, "{text}");
        }
    }
}
