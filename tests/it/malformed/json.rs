//! JSON that is nearly right: the examples of the contract, changed where a publisher's mistake or malice would.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use serde_json::Value;

use crate::malformed::properties::SECRET;

/// A tree whose names and leaves are text as it will stand there: also what no reader should take.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Replace(String),
    Remove,
    Twice(String),
    Rename(String),
    Add(String, String),
    Deepen(usize),
    Swap(Index),
}

impl Tree {
    fn of(value: &Value) -> Self {
        match value {
            Value::Object(all) => {
                let member = |(name, value): (&String, &Value)| {
                    (Value::from(name.as_str()).to_string(), Tree::of(value))
                };
                Tree::Object(all.iter().map(member).collect())
            }
            Value::Array(all) => Tree::Array(all.iter().map(Tree::of).collect()),
            leaf => Tree::Leaf(leaf.to_string()),
        }
    }

    fn write(&self, text: &mut String) {
        let (open, close) = match self {
            Tree::Leaf(leaf) => return text.push_str(leaf),
            Tree::Array(_) => ('[', ']'),
            Tree::Object(_) => ('{', '}'),
        };
        text.push(open);
        for (nth, (name, value)) in self.inside().enumerate() {
            if nth > 0 {
                text.push(',');
            }
            if let Some(name) = name {
                text.push_str(name);
                text.push(':');
            }
            value.write(text);
        }
        text.push(close);
    }

    fn inside(&self) -> Box<dyn Iterator<Item = (Option<&str>, &Tree)> + '_> {
        match self {
            Tree::Leaf(_) => Box::new(std::iter::empty()),
            Tree::Array(all) => Box::new(all.iter().map(|value| (None, value))),
            Tree::Object(all) => Box::new(all.iter().map(|(name, value)| (Some(name.as_str()), value))),
        }
    }

    fn count(&self) -> usize {
        1 + self.inside().map(|(_, value)| value.count()).sum::<usize>()
    }

    /// The change at the nth node, the root being the first.
    fn change(&mut self, nth: usize, change: &Change) {
        let mut left = nth;
        if left == 0 {
            return self.change_here(change);
        }
        left -= 1;
        let children: Vec<usize> = self.inside().map(|(_, value)| value.count()).collect();
        for (place, count) in children.into_iter().enumerate() {
            if left >= count {
                left -= count;
                continue;
            }
            return match (left, change, &mut *self) {
                (0, Change::Remove, Tree::Object(all)) => drop(all.remove(place)),
                (0, Change::Remove, Tree::Array(all)) => drop(all.remove(place)),
                (0, Change::Twice(leaf), Tree::Object(all)) => {
                    let name = all[place].0.clone();
                    all.push((name, Tree::Leaf(leaf.clone())));
                }
                (0, Change::Rename(name), Tree::Object(all)) => all[place].0.clone_from(name),
                (0, Change::Swap(with), Tree::Object(all)) => {
                    let with = with.index(all.len());
                    let value = all[with].1.clone();
                    all[with].1 = std::mem::replace(&mut all[place].1, value);
                }
                (_, _, Tree::Object(all)) => all[place].1.change(left, change),
                (_, _, Tree::Array(all)) => all[place].change(left, change),
                (_, _, Tree::Leaf(_)) => {}
            };
        }
    }

    fn change_here(&mut self, change: &Change) {
        match (change, &mut *self) {
            (Change::Add(name, leaf), Tree::Object(all)) => {
                all.push((name.clone(), Tree::Leaf(leaf.clone())))
            }
            (Change::Add(_, leaf), Tree::Array(all)) => all.push(Tree::Leaf(leaf.clone())),
            (Change::Deepen(levels), _) => {
                for level in 0..*levels {
                    let inside = std::mem::replace(self, Tree::Leaf(String::new()));
                    *self = match level % 2 {
                        0 => Tree::Array(vec![inside]),
                        _ => Tree::Object(vec![("\"p\"".to_owned(), inside)]),
                    };
                }
            }
            (Change::Replace(leaf), _) => *self = Tree::Leaf(leaf.clone()),
            _ => {}
        }
    }
}

/// Values that somebody has sent to some service once.
fn odd_leaf() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "0",
        "1",
        "2",
        "-1",
        "1.0",
        "1e999",
        "-1e999",
        "1e-999",
        "18446744073709551616",
        "01",
        "1000001",
        "NaN",
        "",
        "\"\"",
        "\"\\u0000\"",
        "\"a\\u0000b\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\"\u{7f}\"",
        "\"\\u001b[0m\"",
        "\"\\u0085\"",
        "\"delete\"",
        "\"purge\"",
        "\"restore\"",
        "\"1.0\"",
        "\"0.3\"",
        "\"2030-01-01T00:00:00Z\"",
        "\"2030-01-01T00:00:00.123456789+13:59\"",
        "\"9999-12-31T23:59:59-01:00\"",
        "\"2016-12-31T23:59:60Z\"",
        "\"tomorrow\"",
        "\"a.b\"",
        "\"A.B\"",
        "\"a..b\"",
        "\"\u{e9}\u{301}\"",
        "[]",
        "{}",
        "[[]]",
        "{\"type\":\"a.b\",\"id\":\"1\"}",
        "[{\"type\":\"a.b\",\"id\":\"1\"},{\"type\":\"a.b\",\"id\":\"2\"}]",
        "\"eyJ0YXJnZXQiOnsidHlwZSI6ImEuYiIsImlkIjoiMSJ9LCJ0ZW5hbnQiOiJ0In0=\"",
        "\"e30=\"",
        "\"bm90IEpTT04=\"",
        "\"application/json; charset=utf-8\"",
        "\"text/xml\"",
        "\"018f4b7e-0000-7000-8000-000000000001\"",
        "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"",
    ];
    let secret = [
        format!("\"{SECRET}\""),
        format!("\"{SECRET}\\u0000\""),
        format!("[\"{SECRET}\"]"),
    ];
    let all: Vec<String> = fixed.into_iter().map(str::to_owned).chain(secret).collect();
    let long = (1_usize..1_200, select(vec!["x", "é", "\\n", "😀"]))
        .prop_map(|(times, what)| format!("\"{}\"", what.repeat(times)));
    let wide = (1_usize..80).prop_map(|entries| {
        let entries: Vec<String> = (0..entries).map(|nth| format!("\"p{nth}\":{nth}")).collect();
        format!("{{{}}}", entries.join(","))
    });
    prop_oneof![6 => select(all), 1 => long, 1 => wide, 1 => any::<f64>().prop_map(|n| Value::from(n).to_string())]
}

fn odd_name() -> impl Strategy<Value = String> {
    let known = [
        "version",
        "action",
        "target",
        "targets",
        "tenant",
        "key",
        "batch",
        "batch_size",
        "requested_by",
        "reason",
        "not_before",
        "deadline",
        "params",
        "deletion",
        "window",
        "type",
        "id",
        "ticket",
        "specversion",
        "source",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",
        "traceparent",
        "tracestate",
        "Tenant",
        "tennant",
        "a\\u0000",
        "",
        "$serde_json::private::Number",
        "$serde_json::private::RawValue",
        SECRET,
    ];
    select(known.to_vec()).prop_map(|name| format!("\"{name}\""))
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => odd_leaf().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        1 => odd_leaf().prop_map(Change::Twice),
        2 => odd_name().prop_map(Change::Rename),
        3 => (odd_name(), odd_leaf()).prop_map(|(name, leaf)| Change::Add(name, leaf)),
        1 => (1_usize..14).prop_map(Change::Deepen),
        1 => any::<Index>().prop_map(Change::Swap),
    ]
}

/// The example with all changes, each at a place of its own.
pub(crate) fn changed(example: &Value, changes: &[(Index, Change)]) -> String {
    let mut tree = Tree::of(example);
    for (place, change) in changes {
        let nth = place.index(tree.count());
        tree.change(nth, change);
    }
    let mut text = String::new();
    tree.write(&mut text);
    text
}
