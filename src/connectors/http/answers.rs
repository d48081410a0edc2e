//! What an answer of a service means, by its profile.
//!
//! The invariant: an answer that the profile does not name is never success. A rule that also looks into the body is
//! more certain than one that knows the status alone, and is asked first; where there is one for a status, a body that
//! cannot be read leaves the answer without a name.

use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::Value;

use crate::plan::{Template, Values};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Done,
    /// It is not there (any more); believed only with evidence.
    Gone,
    Pending,
    /// A look found the thing as if nobody had asked for its deletion: repeating is right.
    Standing,
    Retry,
    Throttled,
    /// Not there, and no evidence could show that it was: absent at first, ours if an earlier attempt may have worked.
    Missing,
    /// As missing, but the service says the same of credentials that it does not know: it never counts as ours.
    Unseen,
    Refused,
    Blocked,
    Failed,
}

impl Meaning {
    pub(super) fn word(self) -> &'static str {
        match self {
            Meaning::Done => "done",
            Meaning::Gone => "gone",
            Meaning::Pending => "pending",
            Meaning::Standing => "standing",
            Meaning::Retry => "retry",
            Meaning::Throttled => "throttled",
            Meaning::Missing => "missing",
            Meaning::Unseen => "unseen",
            Meaning::Refused => "refused",
            Meaning::Blocked => "blocked",
            Meaning::Failed => "failed",
        }
    }
}

impl Meaning {
    /// It claims nothing about the thing itself.
    fn is_trouble(self) -> bool {
        matches!(
            self,
            Meaning::Retry | Meaning::Throttled | Meaning::Blocked | Meaning::Failed
        )
    }
}

/// What a profile need not say: credentials that are refused, and a service in trouble, look alike everywhere.
const BY_DEFAULT: [(Meaning, u16); 4] = [
    (Meaning::Blocked, 401),
    (Meaning::Blocked, 403),
    (Meaning::Throttled, 429),
    (Meaning::Retry, 408),
];

/// Not found, and gone. Alone they say as little as a wrong path or another account's credentials would.
const GONE_STATUSES: [u16; 2] = [404, 410];

#[derive(Clone, Debug)]
pub(super) struct Rule {
    meaning: Meaning,
    status: u16,
    body: Option<InBody>,
}

#[derive(Clone, Debug)]
struct InBody {
    /// A JSON pointer.
    at: String,
    is: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Value(Value),
    Text(Template),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    rules: Vec<Rule>,
}

impl Answers {
    /// Adds one line of a profile, like `gone = [404]`. The error says what is wanted instead.
    pub(super) fn add(&mut self, meaning: Meaning, raw: Vec<RawAnswer>) -> Result<(), String> {
        for answer in raw {
            if !(100..=599).contains(&answer.status) {
                return Err(format!("found status {}; wanted 100 to 599", answer.status));
            }
            let body = match (answer.at, answer.is) {
                (None, None) => None,
                (Some(at), Some(is)) if at.is_empty() || at.starts_with('/') => {
                    Some(InBody { at, is: wanted(is)? })
                }
                (Some(at), Some(_)) => {
                    return Err(format!("found at = {at:?}; wanted a JSON pointer like \"/code\""));
                }
                _ => return Err("found one of `at` and `is`; wanted both or none".to_owned()),
            };
            if body.is_none()
                && let Some(other) = self.plain(answer.status)
            {
                return Err(format!(
                    "found status {} twice, as {} and as {}; wanted one meaning, or a look into the body by `at`",
                    answer.status,
                    other.word(),
                    meaning.word()
                ));
            }
            if body.is_none() && meaning == Meaning::Done && GONE_STATUSES.contains(&answer.status) {
                return Err(format!(
                    "found status {} as done, which any wrong address or account gets as well; wanted it under `gone`, \
                     which asks for evidence, or a look into the body by `at`",
                    answer.status
                ));
            }
            self.rules.push(Rule {
                meaning,
                status: answer.status,
                body,
            });
        }
        Ok(())
    }

    pub(super) fn knows(&self, meaning: Meaning) -> bool {
        self.rules.iter().any(|rule| rule.meaning == meaning)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter_map(|rule| rule.body.as_ref())
            .flat_map(|body| {
                let template = match &body.is {
                    Wanted::Text(template) => Some(template.names()),
                    Wanted::Value(_) => None,
                };
                template.into_iter().flatten()
            })
    }

    /// None: the profile does not know this answer. No body is one that is not JSON, or too long to be read.
    pub(super) fn meaning(&self, status: u16, body: Option<&Value>, values: &Values) -> Option<Meaning> {
        let mut of_status = self.rules.iter().filter(|rule| rule.status == status);
        let Some(body) = body else {
            let by_status = self.plain(status).or_else(|| by_default(status));
            // Where the body decides, one that cannot be read decides nothing: any of these rules might have held. Only
            // trouble is believed without it, since a proxy that fails answers in no service's form.
            return match of_status.any(|rule| rule.body.is_some()) {
                true => by_status.filter(|meaning| meaning.is_trouble()),
                false => by_status,
            };
        };
        of_status
            .find(|rule| {
                rule.body
                    .as_ref()
                    .is_some_and(|wanted| wanted.holds(body, values))
            })
            .map(|rule| rule.meaning)
            .or_else(|| self.plain(status))
            .or_else(|| by_default(status))
    }

    fn plain(&self, status: u16) -> Option<Meaning> {
        self.rules
            .iter()
            .find(|rule| rule.status == status && rule.body.is_none())
            .map(|rule| rule.meaning)
    }
}

fn by_default(status: u16) -> Option<Meaning> {
    if (500..=599).contains(&status) {
        return Some(Meaning::Retry);
    }
    let known = BY_DEFAULT.iter().find(|(_, known)| *known == status);
    known.map(|(meaning, _)| *meaning)
}

impl InBody {
    fn holds(&self, body: &Value, values: &Values) -> bool {
        let found = body.pointer(&self.at);
        match &self.is {
            Wanted::Value(wanted) => found == Some(wanted),
            // A name without a value matches nothing: evidence must not come about by two things being absent.
            Wanted::Text(template) => template.render_plain(values).is_ok_and(|wanted| {
                !wanted.is_empty() && found.and_then(Value::as_str) == Some(wanted.as_str())
            }),
        }
    }
}

fn wanted(is: toml::Value) -> Result<Wanted, String> {
    if let toml::Value::String(text) = &is
        && text.contains('{')
    {
        return Template::parse(text)
            .map(Wanted::Text)
            .map_err(|error| error.to_string());
    }
    serde_json::to_value(is).map(Wanted::Value).map_err(|_| {
        "found an `is` that JSON has no word for; wanted a text, a number or a boolean".to_owned()
    })
}

/// `404`, or `{ status = 200, at = "/code", is = 0 }`.
#[derive(Clone, Debug)]
pub(super) struct RawAnswer {
    status: u16,
    at: Option<String>,
    is: Option<toml::Value>,
}

impl<'de> Deserialize<'de> for RawAnswer {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawAnswer;

            fn expecting(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
                to.write_str("a status like 404, or { status = 200, at = \"/code\", is = 0 }")
            }

            fn visit_i64<E: Error>(self, status: i64) -> Result<RawAnswer, E> {
                let status = u16::try_from(status)
                    .map_err(|_| E::custom(format!("found status {status}; wanted 100 to 599")))?;
                Ok(RawAnswer {
                    status,
                    at: None,
                    is: None,
                })
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawAnswer, M::Error> {
                let (mut status, mut at, mut is) = (None, None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "status" => status = Some(map.next_value()?),
                        "at" => at = Some(map.next_value()?),
                        "is" => is = Some(map.next_value()?),
                        _ => return Err(M::Error::unknown_field(&key, &["status", "at", "is"])),
                    }
                }
                let status = status.ok_or_else(|| M::Error::missing_field("status"))?;
                Ok(RawAnswer { status, at, is })
            }
        }
        source.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Lists {
        done: Vec<RawAnswer>,
        gone: Vec<RawAnswer>,
    }

    fn answers(text: &str) -> Result<Answers, String> {
        let lists: Lists = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let mut answers = Answers::default();
        answers.add(Meaning::Done, lists.done)?;
        answers.add(Meaning::Gone, lists.gone)?;
        Ok(answers)
    }

    #[test]
    fn invariant_07_an_answer_that_the_profile_does_not_name_is_not_success() {
        let known = answers("done=[{status=200, at='/code', is=0}]\ngone=[404]").expect("rules");
        let none = Values::new();
        let meaning = |status, body: Value| known.meaning(status, Some(&body), &none);
        assert_eq!(meaning(200, json!({"code": 0})), Some(Meaning::Done));
        assert_eq!(meaning(200, json!({"code": 9999})), None);
        assert_eq!(meaning(200, json!({"code": "0"})), None);
        assert_eq!(meaning(200, json!({})), None);
        assert_eq!(known.meaning(200, None, &none), None);
        assert_eq!(meaning(204, json!(null)), None);
        assert_eq!(meaning(302, json!(null)), None);
        assert_eq!(meaning(404, json!(null)), Some(Meaning::Gone));
        assert_eq!(meaning(401, json!(null)), Some(Meaning::Blocked));
        assert_eq!(meaning(503, json!(null)), Some(Meaning::Retry));
    }

    #[test]
    fn invariant_07_where_the_body_decides_one_that_cannot_be_read_is_no_success() {
        let known = answers(
            "done=[200, 204, {status=404, at='/code', is='gone'}]
             gone=[404, {status=200, at='/state', is='absent'}, {status=502, at='/code', is='absent'}]",
        )
        .expect("rules");
        let none = Values::new();
        assert_eq!(known.meaning(200, Some(&json!({})), &none), Some(Meaning::Done));
        assert_eq!(known.meaning(200, None, &none), None);
        assert_eq!(known.meaning(404, None, &none), None);
        assert_eq!(known.meaning(204, None, &none), Some(Meaning::Done));
        // The page of a proxy that fails is no JSON, and trouble all the same.
        assert_eq!(known.meaning(502, None, &none), Some(Meaning::Retry));
    }

    #[test]
    fn evidence_does_not_come_about_by_absence() {
        let known = answers("done=[{status=200, at='/account', is='{account}'}]\ngone=[]").expect("rules");
        let mine = Values::from([("account".to_owned(), json!("acct_1"))]);
        let says = |body: Value, values: &Values| known.meaning(200, Some(&body), values);
        assert_eq!(says(json!({"account": "acct_1"}), &mine), Some(Meaning::Done));
        assert_eq!(says(json!({"account": "acct_2"}), &mine), None);
        assert_eq!(says(json!({}), &Values::new()), None);
        assert_eq!(says(json!({"account": null}), &Values::new()), None);
        let empty = Values::from([("account".to_owned(), json!(""))]);
        assert_eq!(says(json!({"account": ""}), &empty), None);
    }

    #[test]
    fn rules_that_contradict_each_other_are_refused() {
        for (text, wanted) in [
            ("done=[403]\ngone=[403]", "twice"),
            ("done=[404]\ngone=[]", "wanted it under `gone`"),
            ("done=[200, 410]\ngone=[]", "wanted it under `gone`"),
            ("done=[99]\ngone=[]", "100 to 599"),
            ("done=[-1]\ngone=[]", "100 to 599"),
            ("done=[{status=200, at='/a'}]\ngone=[]", "both or none"),
            ("done=[{status=200, at='a', is=1}]\ngone=[]", "JSON pointer"),
            ("done=[{status=200, code=1}]\ngone=[]", "unknown field"),
            ("done=['200']\ngone=[]", "a status like 404"),
        ] {
            let error = answers(text).expect_err(text);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
