//! Statements with named binds, as a person writes them, made into what Postgres takes.
//!
//! A value reaches a statement as a bind and never as text, so no id can be read as SQL. Comments are left out
//! and blanks are made one, so that a reworded comment is not another version of the plan.

use super::Sql;
use super::tokens::{Token, tokens};

/// A statement is read by people at night; whatever needs more belongs into a function of the target's database.
pub(super) const STATEMENT_MAX_BYTES: usize = 16_384;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSql {
    #[error("the statement is empty")]
    Empty,
    #[error("the statement has {0} bytes; wanted at most {STATEMENT_MAX_BYTES}")]
    TooLong(usize),
    #[error("the statement has a NUL byte, which Postgres cannot take")]
    Nul,
    #[error("{0}")]
    Open(&'static str),
    #[error("found {0} written by hand; wanted a name, like :id")]
    Numbered(String),
    #[error("found several statements; wanted one (a step is one statement: make it two steps)")]
    Several,
}

impl Sql {
    /// Turns each `:name` into `$n`, one number for each name.
    pub fn parse(sql: &str) -> Result<Sql, BadSql> {
        if sql.len() > STATEMENT_MAX_BYTES {
            return Err(BadSql::TooLong(sql.len()));
        }
        if sql.contains('\0') {
            return Err(BadSql::Nul);
        }
        let mut text = String::new();
        let mut binds: Vec<String> = Vec::new();
        let mut ended = false;
        for (token, range) in tokens(sql).map_err(BadSql::Open)? {
            let part = &sql[range];
            match token {
                Token::Space | Token::Comment => blank(&mut text, part),
                Token::Symbol if part == ";" => ended = true,
                _ if ended => return Err(BadSql::Several),
                Token::Numbered => return Err(BadSql::Numbered(part.to_owned())),
                Token::Bind => {
                    let name = &part[1..];
                    let number = binds.iter().position(|bind| bind == name).unwrap_or_else(|| {
                        binds.push(name.to_owned());
                        binds.len() - 1
                    });
                    // `then:x` must not become the one word `then$1`.
                    if text.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                        text.push(' ');
                    }
                    text.push_str(&format!("${}", number + 1));
                }
                _ => text.push_str(part),
            }
        }
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            return Err(BadSql::Empty);
        }
        Ok(Sql { text, binds })
    }

    /// The statement with its names back, for people.
    pub fn readable(&self) -> String {
        let Ok(all) = tokens(&self.text) else {
            return self.text.clone();
        };
        let mut out = String::new();
        for (token, range) in all {
            let part = &self.text[range];
            let bind = (token == Token::Numbered)
                .then(|| part[1..].parse::<usize>().ok())
                .flatten()
                .and_then(|number| self.binds.get(number.checked_sub(1)?));
            match bind {
                Some(name) => {
                    out.push(':');
                    out.push_str(name);
                }
                None if token == Token::Space => out.push(' '),
                None => out.push_str(part),
            }
        }
        out
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.binds.iter().map(String::as_str)
    }

    pub fn uses(&self, name: &str) -> bool {
        self.binds.iter().any(|bind| bind == name)
    }

    /// The first keyword, in lower case.
    pub(super) fn verb(&self) -> String {
        let first = self
            .text
            .split(|c: char| !c.is_ascii_alphabetic())
            .find(|word| !word.is_empty());
        first.unwrap_or_default().to_ascii_lowercase()
    }

    /// Whether something of the target's is compared to be below `:name`, directly beside it: `g < :name`, `:name >= g`.
    /// Any other comparison, and any other operator with such a sign in it, says nothing about the name.
    pub(super) fn is_bound_from_above_by(&self, name: &str) -> bool {
        let Some(number) = self.binds.iter().position(|bind| bind == name) else {
            return false;
        };
        let bind = format!("${}", number + 1);
        let parts = parts(&self.text);
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        (0..parts.len()).filter(|at| parts[*at] == bind).any(|at| {
            let before = at >= 2 && ["<", "<="].contains(&part(at - 1)) && ends_operand(part(at - 2));
            let mut next = at + 1;
            while part(next) == "::" {
                next += 2;
            }
            before || ([">", ">="].contains(&part(next)) && begins_operand(part(next + 1)))
        })
    }

    /// Whether it keeps the rows that it finds from changing until its transaction ends.
    pub(super) fn locks(&self) -> bool {
        let parts = parts(&self.text);
        let is = |at: usize, word: &str| parts.get(at).is_some_and(|part| part.eq_ignore_ascii_case(word));
        (0..parts.len()).any(|at| {
            is(at, "for")
                && (is(at + 1, "update")
                    || is(at + 1, "share")
                    || (is(at + 1, "no") && is(at + 2, "key") && is(at + 3, "update")))
        })
    }

    /// Whether it passes over rows that somebody else holds.
    pub(super) fn skips_locked(&self) -> bool {
        parts(&self.text)
            .windows(2)
            .any(|two| two[0].eq_ignore_ascii_case("skip") && two[1].eq_ignore_ascii_case("locked"))
    }
}

/// The statement without blanks, and with operators as Postgres reads them: `->>` is one and not three.
fn parts(text: &str) -> Vec<&str> {
    let mut parts: Vec<std::ops::Range<usize>> = Vec::new();
    let mut in_operator = false;
    for (token, range) in tokens(text).unwrap_or_default() {
        let is_operator = token == Token::Symbol && OPERATOR_SIGNS.contains(&text[range.clone()]);
        match parts.last_mut() {
            Some(last) if in_operator && is_operator && last.end == range.start => last.end = range.end,
            _ if matches!(token, Token::Space | Token::Comment) => {}
            _ => parts.push(range),
        }
        in_operator = is_operator;
    }
    parts.into_iter().map(|range| &text[range]).collect()
}

/// Of these are Postgres' operators made.
const OPERATOR_SIGNS: &str = "+-*/<>=~!@#%^&|`?";

/// A column, or an expression in parentheses; a number or a text would compare nothing of the target's.
fn ends_operand(part: &str) -> bool {
    part == ")" || is_name(part)
}

fn begins_operand(part: &str) -> bool {
    part == "(" || is_name(part)
}

fn is_name(part: &str) -> bool {
    part.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"')
}

/// One blank, none at the beginning. Between two texts a line break joins them, so there it stays one.
fn blank(text: &mut String, part: &str) {
    if part.contains('\n') && text.trim_end().ends_with('\'') {
        text.truncate(text.trim_end().len());
        text.push('\n');
    } else if !text.is_empty() && !text.ends_with([' ', '\n']) {
        text.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> (String, Vec<String>) {
        let sql = Sql::parse(sql).expect(sql);
        (sql.text, sql.binds)
    }

    #[test]
    fn every_name_has_one_number_and_only_names_have_one() {
        for (written, text, binds) in [
            ("select 1", "select 1", vec![]),
            (
                "delete from t where a = :a and b = :b or c = :a",
                "delete from t where a = $1 and b = $2 or c = $1",
                vec!["a", "b"],
            ),
            (
                "select ':a', \":b\", $$:c$$, $q$:d$q$ where x = :e",
                "select ':a', \":b\", $$:c$$, $q$:d$q$ where x = $1",
                vec!["e"],
            ),
            ("select E'\\':a', :b", "select E'\\':a', $1", vec!["b"]),
            ("select '\\', :b", "select '\\', $1", vec!["b"]),
            (
                "select :a::text, :b ::int",
                "select $1::text, $2 ::int",
                vec!["a", "b"],
            ),
            (
                "select x[1:2], x[lo:hi], x[:n], x[f(:m):2], array[:a,:b]",
                "select x[1:2], x[lo:hi], x[$1], x[f($2):2], array[$3,$4]",
                vec!["n", "m", "a", "b"],
            ),
            ("select f(a := :b)", "select f(a := $1)", vec!["b"]),
            (
                "select 1 -- :a ; $1\n, :b /* :c /* ; */ */ + 2",
                "select 1 , $1 + 2",
                vec!["b"],
            ),
            ("\n select 1 ;\n -- done\n ; ", "select 1", vec![]),
            ("select ';' , \";\"", "select ';' , \";\"", vec![]),
            (
                "select a$1 from t where b=:b",
                "select a$1 from t where b=$1",
                vec!["b"],
            ),
            ("select 'a' -- c\n  'b'", "select 'a'\n'b'", vec![]),
            (
                "select data->>'k' from t where e @> :x and d ? 'y'",
                "select data->>'k' from t where e @> $1 and d ? 'y'",
                vec!["x"],
            ),
            (
                "select case when a=1 then:x else:y end",
                "select case when a=1 then $1 else $2 end",
                vec!["x", "y"],
            ),
        ] {
            let (found, names) = parsed(written);
            assert_eq!(
                (found.as_str(), names),
                (text, binds.iter().map(|s| (*s).to_owned()).collect())
            );
        }
    }

    #[test]
    fn hand_numbered_several_and_unreadable_statements_are_refused() {
        for (written, error) in [
            ("", BadSql::Empty),
            (" -- nothing\n ; ", BadSql::Empty),
            ("delete from t where a = $1", BadSql::Numbered("$1".into())),
            ("delete from a; delete from b", BadSql::Several),
            ("select 'a", BadSql::Open("a text in quotes is never closed")),
            ("select '\0'", BadSql::Nul),
        ] {
            assert_eq!(Sql::parse(written), Err(error), "{written}");
        }
        assert_eq!(
            Sql::parse(&"x".repeat(STATEMENT_MAX_BYTES + 1)),
            Err(BadSql::TooLong(STATEMENT_MAX_BYTES + 1))
        );
    }

    #[test]
    fn what_is_shown_parses_to_the_same_statement() {
        for written in [
            "update t set a = :x, b = '$1 :x' where id = :id and g < :g and x[1:2] = :x",
            "select a$2, $$ $1 $$, :b",
            "select 'a'\n'b', :c",
        ] {
            let sql = Sql::parse(written).expect(written);
            let again = Sql::parse(&sql.readable()).expect(written);
            assert_eq!(again.binds, sql.binds);
            assert_eq!(again.readable(), sql.readable());
        }
    }

    #[test]
    fn only_a_comparison_beside_the_name_bounds_it_from_above() {
        for (sql, bounded) in [
            ("UPDATE t SET g = :g WHERE g < :g", true),
            ("update t set g = :g where t.g<=:g", true),
            ("update t set g = :g where \"g\" < :g::bigint and id = :id", true),
            ("update t set g = :g where coalesce(g, 0) < :g", true),
            ("update t set g = :g where :g > g", true),
            ("update t set g = :g where :g::bigint >= (g)", true),
            ("update t set g = :g where a = '<'", false),
            ("update t set g = :g where g <> :g", false),
            ("update t set g = :g where g > :g", false),
            ("update t set g = :g where :g < g", false),
            ("update t set g = :g where data->>'g' = :g", false),
            ("update t set g = :g where data -> :g > 'a'", false),
            ("update t set g = :g where data #> :g", false),
            ("update t set g = :g where at < now() and g = :g", false),
            ("update t set g = :g where n < :n", false),
            ("update t set g = :g where 0 < :g", false),
            ("update t set g = :g where :g > 0", false),
            ("update t set h = 1 where g < 5", false),
        ] {
            assert_eq!(
                Sql::parse(sql).expect(sql).is_bound_from_above_by("g"),
                bounded,
                "{sql}"
            );
        }
    }

    #[test]
    fn a_statement_says_what_it_begins_with_and_what_it_passes_over() {
        let fence = Sql::parse("UPDATE t SET g = :g WHERE g < :g").expect("a statement");
        assert_eq!(fence.verb(), "update");
        assert!(fence.uses("g") && !fence.uses("id") && !fence.skips_locked());
        let skips = |sql: &str| Sql::parse(sql).expect(sql).skips_locked();
        assert!(skips(
            "delete from t where ctid in (select ctid from t for update SKIP -- why\n Locked)"
        ));
        assert!(!skips("delete from t where a = 'skip locked' or skip = locked"));
    }
}
