//! Text with `{name}` places, for paths and headers.
//!
//! A value never makes another path segment, never climbs out of one, and is never silently empty: a path with a
//! hole in it would name the parent of what is to go, and a query like `user=` may mean every user.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tokens::is_bind_name;
use super::{Template, TemplatePart, Values};

/// Longer values are cut in object paths: encoded, 512 bytes of id would exceed the 255 that a file name may have.
const OBJECT_VALUE_MAX_BYTES: usize = 112;
/// What is kept of a cut value for people to read; the digest beside it keeps two of them apart.
const OBJECT_VALUE_KEPT_BYTES: usize = 72;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    #[error("found a `{{` that is never closed; wanted {{name}}, or `{{{{` for the sign itself")]
    Open,
    #[error("found a lone `}}`; wanted `}}}}` for the sign itself")]
    Close,
    #[error("found {{{0}}}; wanted a name of a-z, 0-9 and _")]
    Name(String),
    #[error("the text is empty")]
    Empty,
}

/// Names are of the plan, so an error shows them; values are foreign and are never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRender {
    #[error("{{{0}}} is not known")]
    Missing(String),
    #[error("{{{0}}} is null")]
    Null(String),
    #[error("{{{0}}} is empty, and an empty place would name something else, or all there is")]
    Empty(String),
    #[error("{{{0}}} is a list or an object; wanted a text, a number or a boolean")]
    Shape(String),
    #[error("the path has a segment `.` or `..`, which would make it another path")]
    Dots,
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, BadTemplate> {
        if text.is_empty() {
            return Err(BadTemplate::Empty);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let mark = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(mark) {
                literal.push_str(mark);
                rest = after;
                continue;
            }
            if mark == "}" {
                return Err(BadTemplate::Close);
            }
            let (name, after) = rest.split_once('}').ok_or(BadTemplate::Open)?;
            if !is_bind_name(name) {
                return Err(BadTemplate::Name(name.to_owned()));
            }
            if !literal.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut literal)));
            }
            parts.push(TemplatePart::Name(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TemplatePart::Text(literal));
        }
        Ok(Template { parts })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Name(name) => Some(name.as_str()),
            TemplatePart::Text(_) => None,
        })
    }

    /// The template as it was written, for people.
    pub fn readable(&self) -> String {
        let shown = self.parts.iter().map(|part| match part {
            TemplatePart::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            TemplatePart::Name(name) => format!("{{{name}}}"),
        });
        shown.collect()
    }

    /// Values as they are: for headers, query values and bodies, whose writer escapes them.
    pub fn render_plain(&self, values: &Values) -> Result<String, CannotRender> {
        self.render(values, not_empty)
    }

    /// For HTTP paths: values are percent-encoded. Dots that would make a whole segment are an error, since
    /// URL readers resolve them even when encoded.
    pub fn render_path(&self, values: &Values) -> Result<String, CannotRender> {
        let path = self.render(values, |name, text| {
            not_empty(name, text).map(|text| encode(&text))
        })?;
        if path
            .split(['/', '?', '#'])
            .any(|part| part == "." || part == "..")
        {
            return Err(CannotRender::Dots);
        }
        Ok(path)
    }

    /// For object stores, to be read with `Path::parse`: values are percent-encoded, dots that would stand alone
    /// too, and a long value is cut and told apart by its digest.
    pub fn render_object_path(&self, values: &Values) -> Result<String, CannotRender> {
        let path = self.render(values, |name, text| match text.as_str() {
            "" => Err(CannotRender::Empty(name.to_owned())),
            "." | ".." => Ok(text.replace('.', "%2E")),
            text => Ok(shorten(text, encode(text))),
        })?;
        if path.split('/').any(|part| part == "." || part == "..") {
            return Err(CannotRender::Dots);
        }
        Ok(path)
    }

    fn render(
        &self,
        values: &Values,
        place: impl Fn(&str, String) -> Result<String, CannotRender>,
    ) -> Result<String, CannotRender> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => out.push_str(text),
                TemplatePart::Name(name) => {
                    let text = match values.get(name) {
                        None => return Err(CannotRender::Missing(name.clone())),
                        Some(Value::Null) => return Err(CannotRender::Null(name.clone())),
                        Some(Value::String(text)) => text.clone(),
                        Some(plain @ (Value::Bool(_) | Value::Number(_))) => plain.to_string(),
                        Some(_) => return Err(CannotRender::Shape(name.clone())),
                    };
                    out.push_str(&place(name, text)?);
                }
            }
        }
        Ok(out)
    }
}

fn not_empty(name: &str, text: String) -> Result<String, CannotRender> {
    match text.is_empty() {
        true => Err(CannotRender::Empty(name.to_owned())),
        false => Ok(text),
    }
}

/// All but the signs that no reader of a URL or a path gives a meaning.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The `=` stands in no encoded value, so no short value can pass for a cut one.
fn shorten(text: &str, encoded: String) -> String {
    if encoded.len() <= OBJECT_VALUE_MAX_BYTES {
        return encoded;
    }
    let kept = &encoded[..OBJECT_VALUE_KEPT_BYTES];
    let kept = match kept.rfind('%') {
        Some(at) if at + 3 > kept.len() => &kept[..at],
        _ => kept,
    };
    let digest = Sha256::digest(text.as_bytes());
    let digest: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kept}={digest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(id: Value) -> Values {
        Values::from([("tenant".into(), json!("org_1")), ("id".into(), id)])
    }

    fn template(text: &str) -> Template {
        Template::parse(text).expect(text)
    }

    #[test]
    fn text_and_names_alternate_and_doubled_braces_are_themselves() {
        let all = template("a{{b}}/{tenant}/{id}.x");
        assert_eq!(all.names().collect::<Vec<_>>(), ["tenant", "id"]);
        assert_eq!(all.readable(), "a{{b}}/{tenant}/{id}.x");
        assert_eq!(all.render_plain(&values(json!(7))), Ok("a{b}/org_1/7.x".into()));
        for (text, error) in [
            ("", BadTemplate::Empty),
            ("a{id", BadTemplate::Open),
            ("a}b", BadTemplate::Close),
            ("{a b}", BadTemplate::Name("a b".into())),
            ("{}", BadTemplate::Name(String::new())),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_value_never_makes_another_segment() {
        let path = template("{tenant}/{id}/sessions");
        for hostile in [
            "../../x", "a/b", "a\\b", "..%2f", "a\0b", "a\nb", "a?b#c", "é", "a%2Fb", ".../...", "%2e%2e",
        ] {
            for rendered in [
                path.render_path(&values(json!(hostile))),
                path.render_object_path(&values(json!(hostile))),
            ] {
                let rendered = rendered.expect(hostile);
                let segments: Vec<_> = rendered.split('/').collect();
                assert_eq!(
                    (segments.len(), segments[0], segments[2]),
                    (3, "org_1", "sessions"),
                    "{rendered}"
                );
                assert!(
                    rendered
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b)),
                    "{rendered}"
                );
            }
        }
        for dots in [".", ".."] {
            assert_eq!(path.render_path(&values(json!(dots))), Err(CannotRender::Dots));
            let object = path.render_object_path(&values(json!(dots))).expect(dots);
            assert!(object.contains("/%2E"), "{object}");
            assert_eq!(
                template("x/{id}{id}").render_object_path(&values(json!("."))),
                Ok("x/%2E%2E".into())
            );
            assert_eq!(
                template(".{id}").render_path(&values(json!("."))),
                Err(CannotRender::Dots)
            );
        }
    }

    #[test]
    fn a_hole_in_a_path_is_an_error_that_names_the_place() {
        let path = template("/v1/sessions/{id}");
        assert_eq!(
            path.render_path(&values(json!(""))),
            Err(CannotRender::Empty("id".into()))
        );
        assert_eq!(
            path.render_path(&values(Value::Null)),
            Err(CannotRender::Null("id".into()))
        );
        assert_eq!(
            path.render_path(&values(json!([1]))),
            Err(CannotRender::Shape("id".into()))
        );
        assert_eq!(
            path.render_path(&Values::new()),
            Err(CannotRender::Missing("id".into()))
        );
        assert_eq!(
            template("{id}").render_plain(&values(json!(""))),
            Err(CannotRender::Empty("id".into()))
        );
    }

    #[test]
    fn long_ids_fit_a_file_name_and_stay_apart() {
        let path = template("{id}");
        let render = |id: &str| path.render_object_path(&values(json!(id))).expect("a long id");
        for filler in ["é", "x", "xé", "/"] {
            let long = filler.repeat(200);
            let (one, two) = (render(&format!("{long}1")), render(&format!("{long}2")));
            assert!(one.len() <= OBJECT_VALUE_MAX_BYTES && one != two, "{one}");
            let kept = one.split('=').next().expect("a beginning");
            assert!(kept.rfind('%').is_none_or(|at| at + 3 <= kept.len()), "{one}");
        }
    }
}
