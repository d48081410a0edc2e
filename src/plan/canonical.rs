//! The canonical form of a plan: what is stored, hashed, and kept by a deletion for life.
//!
//! Two texts that mean the same plan give the same bytes; a form that a later Sexton wrote is refused by an older
//! one rather than half understood.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Plan;
use crate::deletion::PlanHash;

/// Raised when a stored plan would mean something else to the code of before.
pub const CANONICAL_VERSION: u64 = 1;

#[derive(Debug, thiserror::Error)]
pub enum BadCanonical {
    #[error("the stored plan cannot be read")]
    Json(#[source] serde_json::Error),
    #[error("the stored plan has canonical version {found}; wanted {CANONICAL_VERSION}")]
    Version { found: String },
    #[error("the stored plan has parts that this version of sexton does not know; wanted a newer sexton")]
    Unknown,
}

/// JSON with sorted keys and no blanks, and its SHA-256.
pub fn canonical(plan: &Plan) -> (String, PlanHash) {
    let text = write(&value(plan));
    let digest = Sha256::digest(text.as_bytes());
    let hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    (text, PlanHash(hash))
}

/// Reads what [`canonical`] wrote, also if blanks and the order of keys were lost on the way.
pub fn from_canonical(text: &str) -> Result<Plan, BadCanonical> {
    let stored: Value = serde_json::from_str(text).map_err(BadCanonical::Json)?;
    let version = stored.get("version").unwrap_or(&Value::Null);
    if version.as_u64() != Some(CANONICAL_VERSION) {
        return Err(BadCanonical::Version {
            found: version.to_string(),
        });
    }
    let mut inner = stored.clone();
    if let Some(map) = inner.as_object_mut() {
        map.remove("version");
    }
    let plan: Plan = serde_json::from_value(inner).map_err(BadCanonical::Json)?;
    // What the types did not take would be left undone without a word.
    if value(&plan) != stored {
        return Err(BadCanonical::Unknown);
    }
    Ok(plan)
}

fn value(plan: &Plan) -> Value {
    let mut value = serde_json::to_value(plan)
        .expect("texts, whole numbers, booleans and durations under text keys are JSON");
    if let Some(map) = value.as_object_mut() {
        map.insert("version".to_owned(), CANONICAL_VERSION.into());
    }
    value
}

/// Sorted here and not left to the map's kind, which a feature of any dependency could change.
fn write(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(b.0));
            let pairs = pairs
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), write(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(write).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_plan;
    use super::*;

    const ONE: &str = "target = \"shop.customer\"\non = \"shop\"\nsql = \"delete from t where id = :id\"\n";

    #[test]
    fn the_form_and_its_hash_are_pinned() {
        let (text, hash) = canonical(&parse_plan(ONE, "one.toml").expect("a plan"));
        assert_eq!(
            text,
            r#"{"steps":[{"call":{"sql":{"none":"already_gone","sql":{"binds":["id"],"text":"delete from t where id = $1"}}},"if_failed":"park","kind":"pivot","name":"delete","on":"shop","retry":{"attempts":20,"base":"1s","max":"5m"},"timeout":"10s"}],"target":"shop.customer","version":1}"#
        );
        assert_eq!(hash.0.len(), 64);
    }

    #[test]
    fn words_that_change_nothing_make_no_new_version() {
        let other = "# a comment\nsql = \"\"\"\n  delete from t -- all of it\n  where id = :id;\n\"\"\"\non = \"shop\"\nnone = \"already_gone\"\ntarget = \"shop.customer\"\n";
        let one = canonical(&parse_plan(ONE, "one.toml").expect("a plan"));
        assert_eq!(canonical(&parse_plan(other, "other.toml").expect("a plan")), one);
        let longer = ONE.replace(":id", ":id and tenant = :tenant");
        assert_ne!(
            canonical(&parse_plan(&longer, "longer.toml").expect("a plan")).1,
            one.1
        );
    }

    #[test]
    fn what_was_written_is_read_and_what_is_not_known_is_refused() {
        let plan = parse_plan(ONE, "one.toml").expect("a plan");
        let (text, _) = canonical(&plan);
        assert_eq!(from_canonical(&text).expect("ours"), plan);
        let blank = text.replace(",\"", ", \"");
        assert_eq!(from_canonical(&blank).expect("the same with blanks"), plan);
        for (wrong, message) in [
            (
                text.replace("\"version\":1", "\"version\":2"),
                "the stored plan has canonical version 2; wanted 1",
            ),
            (
                text.replace(",\"version\":1", ""),
                "the stored plan has canonical version null; wanted 1",
            ),
            (
                text.replace("\"on\":\"shop\"", "\"on\":\"shop\",\"after_all\":1"),
                "the stored plan has parts that this version of sexton does not know; wanted a newer sexton",
            ),
            (
                text.replace("\"pivot\"", "\"turn\""),
                "the stored plan cannot be read",
            ),
            ("{".to_owned(), "the stored plan cannot be read"),
        ] {
            assert_eq!(from_canonical(&wrong).expect_err(&wrong).to_string(), message);
        }
    }
}
