//! Places for identifiers in a statement: `{table}`.
//!
//! What comes into a place stands in double quotes, and a place stands by itself: beside a letter or another quote it
//! would become a part of something else (`old_{table}` is a table `old_` under another name). In texts, quoted names and
//! comments a brace is a brace.

use std::ops::Range;

use super::Sql;
use super::tokens::{Token, tokens};

impl Sql {
    /// The names in braces.
    pub(super) fn places(&self) -> Vec<String> {
        let all = tokens(&self.text).unwrap_or_default();
        let found = found(&self.text, &all).into_iter();
        found.map(|(_, name)| name.to_owned()).collect()
    }

    /// Whether each of its braces belongs to a place, and each place stands by itself.
    pub(super) fn has_plain_places(&self) -> bool {
        let all = tokens(&self.text).unwrap_or_default();
        let found = found(&self.text, &all);
        let symbol = |at: usize, which: &[&str]| {
            all.get(at).is_some_and(|(token, range)| {
                *token == Token::Symbol && which.contains(&&self.text[range.clone()])
            })
        };
        let braces = (0..all.len()).filter(|at| symbol(*at, &["{", "}"])).count();
        let apart = |at: Option<usize>| {
            at.and_then(|at| all.get(at))
                .is_none_or(|(token, _)| match token {
                    Token::Space | Token::Comment => true,
                    Token::Symbol => !at.is_some_and(|at| symbol(at, &["{", "}", "&"])),
                    _ => false,
                })
        };
        let alone = found
            .iter()
            .all(|(at, _)| apart(at.checked_sub(1)) && apart(Some(at + 3)));
        braces == found.len() * 2 && alone
    }

    /// The statement with identifiers in their places; what is not given stays as it is.
    pub(super) fn with_identifiers(&self, given: impl Fn(&str) -> Option<String>) -> Sql {
        let all = tokens(&self.text).unwrap_or_default();
        let mut text = String::new();
        let mut copied = 0;
        for (at, name) in found(&self.text, &all) {
            let (Some(identifier), Some((_, open)), Some((_, close))) =
                (given(name), all.get(at), all.get(at + 2))
            else {
                continue;
            };
            text.push_str(&self.text[copied..open.start]);
            text.push_str(&format!("\"{}\"", identifier.replace('"', "\"\"")));
            copied = close.end;
        }
        text.push_str(&self.text[copied..]);
        Sql {
            text,
            binds: self.binds.clone(),
        }
    }
}

/// Each place by its first token.
fn found<'t>(text: &'t str, all: &[(Token, Range<usize>)]) -> Vec<(usize, &'t str)> {
    let part = |(token, range): &(Token, Range<usize>)| (*token, &text[range.clone()]);
    let three = all.windows(3).enumerate();
    three
        .filter_map(
            |(at, three)| match [part(&three[0]), part(&three[1]), part(&three[2])] {
                [(Token::Symbol, "{"), (Token::Word, name), (Token::Symbol, "}")] => Some((at, name)),
                _ => None,
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_takes_an_identifier_and_stands_by_itself() {
        for (sql, places, plain) in [
            ("delete from {t} where a = 1", vec!["t"], true),
            ("delete from s.{t} where {t}.{c} = :id", vec!["t", "t", "c"], true),
            (
                "select f({c})::text, {c}::int from {t}",
                vec!["c", "c", "t"],
                true,
            ),
            (
                "select '{1,2}'::int[], '{\"a\": {}}'::jsonb, $${x}$$, \"{y}\"",
                vec![],
                true,
            ),
            ("select 1 -- {x}\n from t /* { */", vec![], true),
            ("delete from old_{t}", vec!["t"], false),
            ("delete from {t}_old", vec!["t"], false),
            ("delete from {a}{b}", vec!["a", "b"], false),
            ("delete from \"a\"{t}", vec!["t"], false),
            ("select U&{t}", vec!["t"], false),
            ("delete from { t }", vec![], false),
            ("delete from {1}", vec![], false),
            ("delete from {}", vec![], false),
            ("delete from {{t}}", vec!["t"], false),
            ("delete from {t} where }", vec!["t"], false),
            ("delete from {\"t\"}", vec![], false),
            ("delete from {:t}", vec![], false),
        ] {
            let sql = Sql::parse(sql).expect(sql);
            assert_eq!(sql.places(), places, "{sql:?}");
            assert_eq!(sql.has_plain_places(), plain, "{sql:?}");
        }
        let sql = Sql::parse("delete from s.{t} where {c} = :id and b <> '{t}' and {other}").expect("one");
        let with = sql.with_identifiers(|name| (name != "other").then(|| format!("my {name}\"s")));
        assert_eq!(
            with.text,
            "delete from s.\"my t\"\"s\" where \"my c\"\"s\" = $1 and b <> '{t}' and {other}"
        );
        assert_eq!(with.binds, ["id"]);
    }
}
