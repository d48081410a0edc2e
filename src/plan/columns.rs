//! Which columns a query gives, as far as its text tells at a glance.
//!
//! This only serves to find a misspelt name before the first deletion does: what is not plain is left to run time,
//! and a name is never refused on a guess.

use super::Sql;
use super::tokens::{Token, tokens};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    /// The names are all that there are.
    pub(super) complete: bool,
}

impl Columns {
    pub(super) fn none() -> Columns {
        Columns {
            names: Vec::new(),
            complete: true,
        }
    }

    pub(super) fn of(query: &Sql) -> Columns {
        let mut found = Columns::none();
        match select_list(&query.text) {
            Some(items) => {
                for item in items {
                    match name(&item) {
                        Some(name) => found.names.push(name),
                        None => found.complete = false,
                    }
                }
            }
            None => found.complete = false,
        }
        found
    }

    /// How many there are, if the text tells.
    pub(super) fn count(query: &Sql) -> Option<usize> {
        let items = select_list(&query.text)?;
        let star = |item: &Item<'_>| {
            let parts: Vec<&str> = item.iter().map(|(_, part)| *part).collect();
            matches!(parts.as_slice(), ["*"] | [.., ".", "*"])
        };
        match items.as_slice() {
            [item] if item.is_empty() => Some(0),
            items => (!items.iter().any(star)).then_some(items.len()),
        }
    }

    pub(super) fn may_have(&self, name: &str) -> bool {
        !self.complete || self.names.iter().any(|known| known == name)
    }
}

type Item<'s> = Vec<(Token, &'s str)>;

fn select_list(text: &str) -> Option<Vec<Item<'_>>> {
    let all = tokens(text).ok()?;
    let mut words = all
        .into_iter()
        .filter(|(token, _)| *token != Token::Space)
        .map(|(token, range)| (token, &text[range]));
    let (_, first) = words.next()?;
    if !first.eq_ignore_ascii_case("select") {
        return None;
    }
    let mut items = vec![Item::new()];
    let mut depth = 0_usize;
    for (token, part) in words {
        match part {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                items.push(Item::new());
                continue;
            }
            _ if depth == 0 && token == Token::Word && ends_list(part) => break,
            _ => {}
        }
        items.last_mut()?.push((token, part));
    }
    Some(items)
}

fn ends_list(word: &str) -> bool {
    [
        "from",
        "where",
        "group",
        "having",
        "union",
        "intersect",
        "except",
        "order",
        "limit",
        "offset",
        "fetch",
        "for",
    ]
    .iter()
    .any(|end| word.eq_ignore_ascii_case(end))
}

/// `a`, `t.a` and `… as a` are plain; all else is not.
fn name(item: &Item<'_>) -> Option<String> {
    let (last, before) = item.split_last()?;
    let named = before
        .last()
        .is_some_and(|(token, part)| *token == Token::Word && part.eq_ignore_ascii_case("as"));
    let path = before
        .chunks(2)
        .all(|pair| matches!(pair, [(Token::Word | Token::Quoted, _), (Token::Symbol, ".")]));
    if !named && !path {
        return None;
    }
    match last {
        (Token::Quoted, part) => Some(part.trim_matches('"').replace("\"\"", "\"")),
        (Token::Word, part) => {
            let name = part.to_lowercase();
            let is_value = ["null", "true", "false"].contains(&name.as_str());
            (named || !is_value).then_some(name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_columns_are_known_and_the_rest_is_left_open() {
        for (sql, names, complete) in [
            ("select provider_type from computers", vec!["provider_type"], true),
            (
                "SELECT c.Provider_Type, s.\"Title\" from c",
                vec!["provider_type", "Title"],
                true,
            ),
            ("select count(*) as n, coalesce(a, b) AS x", vec!["n", "x"], true),
            ("select (select a, b from t) as z from u", vec!["z"], true),
            ("select * from t", vec![], false),
            ("select a, t.* from t", vec!["a"], false),
            ("select a::text, b from t", vec!["b"], false),
            ("select count(*) n from t", vec![], false),
            ("select null", vec![], false),
            ("select distinct a from t", vec![], false),
            ("with x as (select 1 as a) select a from x", vec![], false),
        ] {
            let found = Columns::of(&Sql::parse(sql).expect(sql));
            assert_eq!(found.names, names, "{sql}");
            assert_eq!(found.complete, complete, "{sql}");
        }
    }

    #[test]
    fn how_many_there_are_is_told_where_no_star_stands() {
        for (sql, count) in [
            ("select a = 'x' from t", Some(1)),
            ("select count(*), f(a, b) from t", Some(2)),
            ("select a * 2 from t", Some(1)),
            ("select from t", Some(0)),
            ("select * from t", None),
            ("select a, t.* from t", None),
            ("with x as (select 1) select a, b from x", None),
        ] {
            assert_eq!(Columns::count(&Sql::parse(sql).expect(sql)), count, "{sql}");
        }
    }
}
