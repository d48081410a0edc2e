//! How a statement reads to Postgres, as far as a plan must know it: what is text, what is a comment, what is a
//! bind. Everything that looks into a statement goes through here, so that a quoted colon is nowhere a bind.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or an unquoted name.
    Word,
    /// A name in double quotes.
    Quoted,
    Number,
    /// Text in any of Postgres' quotes.
    Literal,
    Comment,
    Space,
    /// `:name`.
    Bind,
    /// `$1`.
    Numbered,
    /// `::`, `:=`, or any other single character.
    Symbol,
}

/// Cuts a statement into tokens that together are the whole of it. The error says what was never closed.
pub(super) fn tokens(sql: &str) -> Result<Vec<(Token, Range<usize>)>, &'static str> {
    let mut all: Vec<(Token, Range<usize>)> = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (token, length) = match first {
            c if c.is_whitespace() => (Token::Space, run(rest, char::is_whitespace)),
            '-' if rest.starts_with("--") => (Token::Comment, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Token::Comment, block_comment(rest)?),
            '\'' => (Token::Literal, literal(rest, false)?),
            'e' | 'E' if rest[1..].starts_with('\'') => (Token::Literal, 1 + literal(&rest[1..], true)?),
            '"' => (
                Token::Quoted,
                quoted(rest, '"').ok_or("a quoted name is never closed")?,
            ),
            c if starts_word(c) => (Token::Word, run(rest, |c| continues_word(c) || c == '$')),
            c if c.is_ascii_digit() => (
                Token::Number,
                run(rest, |c| c.is_ascii_alphanumeric() || c == '.'),
            ),
            '$' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                (Token::Numbered, 1 + run(&rest[1..], |c| c.is_ascii_digit()))
            }
            '$' => match dollar_tag(rest) {
                Some(tag) => {
                    let end = rest[tag.len()..]
                        .find(tag)
                        .ok_or("a dollar quote is never closed")?;
                    (Token::Literal, tag.len() * 2 + end)
                }
                None => (Token::Symbol, 1),
            },
            ':' if rest.starts_with("::") || rest.starts_with(":=") => (Token::Symbol, 2),
            ':' if rest[1..].starts_with(starts_bind) && !is_slice(&open, &all, sql) => {
                (Token::Bind, 1 + run(&rest[1..], continues_bind))
            }
            c => {
                match c {
                    '(' | '[' => open.push(c),
                    ')' | ']' => drop(open.pop()),
                    _ => {}
                }
                (Token::Symbol, c.len_utf8())
            }
        };
        all.push((token, at..at + length));
        at += length;
    }
    Ok(all)
}

/// Whether `name` can be written as `:name`.
pub(super) fn is_bind_name(name: &str) -> bool {
    name.starts_with(starts_bind) && name.chars().all(continues_bind)
}

fn starts_bind(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn continues_bind(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_' || !c.is_ascii()
}

fn continues_word(c: char) -> bool {
    starts_word(c) || c.is_ascii_digit()
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// In `a[1:n]` the colon follows an operand inside brackets, where no bind could stand.
fn is_slice(open: &[char], before: &[(Token, Range<usize>)], sql: &str) -> bool {
    let last = before
        .iter()
        .rev()
        .find(|(token, _)| !matches!(token, Token::Space | Token::Comment));
    open.last() == Some(&'[')
        && last.is_some_and(|(token, range)| match token {
            Token::Symbol => matches!(&sql[range.clone()], ")" | "]"),
            _ => true,
        })
}

fn literal(text: &str, backslashes: bool) -> Result<usize, &'static str> {
    const OPEN: &str = "a text in quotes is never closed";
    if !backslashes {
        return quoted(text, '\'').ok_or(OPEN);
    }
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => drop(chars.next()),
            '\'' => return Ok(at + 1),
            _ => {}
        }
    }
    Err(OPEN)
}

/// The length of a text that begins with `mark` and in which a doubled mark stands for one.
fn quoted(text: &str, mark: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find(mark)? + 1;
        if !text[at..].starts_with(mark) {
            return Some(at);
        }
        at += 1;
    }
}

fn block_comment(text: &str) -> Result<usize, &'static str> {
    let (mut at, mut depth) = (2, 1_usize);
    while depth > 0 {
        let rest = &text[at..];
        let next = rest.find(['*', '/']).ok_or("a comment is never closed")?;
        let (step, change) = match &rest[next..] {
            inner if inner.starts_with("/*") => (2, 1),
            inner if inner.starts_with("*/") => (2, -1),
            _ => (1, 0),
        };
        depth = depth.saturating_add_signed(change);
        at += next + step;
    }
    Ok(at)
}

/// `$$` or `$tag$` at the beginning of `text`.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = 1 + text[1..].find('$')?;
    let tag = &text[1..end];
    let plain = tag.is_empty() || (tag.starts_with(starts_word) && tag.chars().all(continues_word));
    plain.then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_whole_statement_and_nothing_is_read_inside_quotes() {
        let pieces = [
            "select ",
            "'it''s :a'",
            "E'\\' :b'",
            "\"x:c\"",
            "$$ :d $$",
            "$t$ $$ :e $t$",
            "-- :f\n",
            "/* /* :g */ */",
            " x::text",
            " [1:2]",
            " a$1",
            " é",
            "(",
            "]",
            " := ",
            ",",
            "%",
        ];
        // Every ordered triple of pieces is a statement: no piece may leak into the next.
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let sql = format!("{a} {b} {c} :end");
                    let found = tokens(&sql).unwrap_or_else(|why| panic!("{why}: {sql}"));
                    let whole: String = found.iter().map(|(_, range)| &sql[range.clone()]).collect();
                    assert_eq!(whole, sql);
                    let binds: Vec<_> = found
                        .iter()
                        .filter(|(token, _)| *token == Token::Bind)
                        .map(|(_, range)| &sql[range.clone()])
                        .collect();
                    assert_eq!(binds, [":end"], "{sql}");
                }
            }
        }
    }

    #[test]
    fn what_is_never_closed_is_named() {
        for (sql, why) in [
            ("select 'a", "a text in quotes is never closed"),
            ("select 'a''", "a text in quotes is never closed"),
            ("select E'a\\'", "a text in quotes is never closed"),
            ("select \"a", "a quoted name is never closed"),
            ("select $x$ a $$", "a dollar quote is never closed"),
            ("select /* /* */", "a comment is never closed"),
        ] {
            assert_eq!(tokens(sql), Err(why), "{sql}");
        }
    }
}
