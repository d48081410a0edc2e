//! From JSON values to bound parameters of the types that the server inferred.
//!
//! Nothing from a request ever becomes part of a statement's text. A value that does not fit its parameter fails for
//! good with the parameter's name: "no such row" would be a lie, since the question could not even be put.

use serde_json::Value;
use sqlx::postgres::{PgArguments, PgTypeInfo, PgTypeKind};
use sqlx::{Arguments, Encode, Postgres, Type, TypeInfo};
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use crate::deletion::Verdict;
use crate::plan::Values;

/// Binds in the order of the statement's parameters.
pub(super) fn arguments(
    names: &[String],
    types: &[PgTypeInfo],
    values: &Values,
) -> Result<PgArguments, Verdict> {
    if names.len() != types.len() {
        return Err(Verdict::failed(format!(
            "the statement has {} parameters, but the plan binds {}",
            types.len(),
            names.len()
        )));
    }
    let mut arguments = PgArguments::default();
    for (name, kind) in names.iter().zip(types) {
        let Some(value) = values.get(name) else {
            return Err(Verdict::failed(format!(
                "the statement needs `:{name}`, which is neither a param nor a fact"
            )));
        };
        bind(&mut arguments, name, kind, value)?;
    }
    Ok(arguments)
}

fn bind(arguments: &mut PgArguments, name: &str, kind: &PgTypeInfo, value: &Value) -> Result<(), Verdict> {
    let not = |wanted: &str| Verdict::failed(format!("`:{name}` is not {wanted}"));
    if value.is_null() {
        return add(arguments, name, Option::<String>::None);
    }
    match base_name(kind).as_str() {
        "INT8" => add(arguments, name, integer(value).ok_or_else(|| not("a bigint"))?),
        "INT4" => {
            let fits = integer(value).and_then(|wide| i32::try_from(wide).ok());
            add(arguments, name, fits.ok_or_else(|| not("an integer"))?)
        }
        "INT2" => {
            let fits = integer(value).and_then(|wide| i16::try_from(wide).ok());
            add(arguments, name, fits.ok_or_else(|| not("a smallint"))?)
        }
        "FLOAT8" => add(arguments, name, value.as_f64().ok_or_else(|| not("a number"))?),
        "BOOL" => {
            let truth = match value {
                Value::Bool(truth) => Some(*truth),
                Value::String(text) => text.parse().ok(),
                _ => None,
            };
            add(arguments, name, truth.ok_or_else(|| not("a boolean"))?)
        }
        "UUID" => {
            let uuid = value.as_str().and_then(|text| Uuid::parse_str(text).ok());
            add(arguments, name, uuid.ok_or_else(|| not("a uuid"))?)
        }
        "JSON" | "JSONB" => add(arguments, name, sqlx::types::Json(value.clone())),
        "TIMESTAMPTZ" => {
            let at = value
                .as_str()
                .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
            add(
                arguments,
                name,
                at.ok_or_else(|| not("a time like 2026-01-31T12:00:00Z"))?,
            )
        }
        "TIMESTAMP" => {
            let at = value
                .as_str()
                .and_then(|text| PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).ok());
            add(
                arguments,
                name,
                at.ok_or_else(|| not("a time like 2026-01-31T12:00:00"))?,
            )
        }
        "DATE" => {
            let day = value
                .as_str()
                .and_then(|text| Date::parse(text, &Iso8601::DEFAULT).ok());
            add(arguments, name, day.ok_or_else(|| not("a day like 2026-01-31"))?)
        }
        // An enum's binary form is its text, as for these; the server takes the bytes by the type it inferred.
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "CITEXT" | "UNKNOWN" | "ENUM" => {
            let text = text(value).ok_or_else(|| not("a text"))?;
            if text.contains('\0') {
                return Err(not("a text without NUL, which Postgres cannot keep"));
            }
            add(arguments, name, text)
        }
        other => {
            let other = other.to_lowercase();
            Err(Verdict::failed(format!(
                "`:{name}` stands where a {other} is wanted, which cannot be bound; write `:{name}::text::{other}`"
            )))
        }
    }
}

fn add<'t, T>(arguments: &mut PgArguments, name: &str, value: T) -> Result<(), Verdict>
where
    T: Encode<'t, Postgres> + Type<Postgres> + 't,
{
    arguments
        .add(value)
        .map_err(|_| Verdict::failed(format!("`:{name}` cannot be bound")))
}

/// Domains are bound as what they are made of.
fn base_name(kind: &PgTypeInfo) -> String {
    match kind.kind() {
        PgTypeKind::Domain(inner) => base_name(inner),
        PgTypeKind::Enum(_) => "ENUM".to_owned(),
        _ => kind.name().trim_matches('"').to_uppercase(),
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        // Ids of targets are text; in the table they are often numbers. Only the one canonical spelling is taken, so
        // that `007` never deletes `7`.
        Value::String(text) => text
            .parse::<i64>()
            .ok()
            .filter(|number| number.to_string() == *text),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_canonical_spelling_of_a_number_is_that_number() {
        assert_eq!(integer(&json!("42")), Some(42));
        assert_eq!(integer(&json!("-7")), Some(-7));
        assert_eq!(
            integer(&json!(9_007_199_254_740_993_i64)),
            Some(9_007_199_254_740_993)
        );
        for wrong in [
            json!("007"),
            json!("+7"),
            json!("4 2"),
            json!("x"),
            json!(1.5),
            json!(null),
        ] {
            assert_eq!(integer(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_fails_by_its_name_and_not_by_its_content() {
        let types = [<i64 as Type<Postgres>>::type_info()];
        let values = Values::from([("id".to_owned(), json!("secret-person"))]);
        let Err(Verdict::Failed { why }) = arguments(&["id".to_owned()], &types, &values) else {
            panic!("failed");
        };
        assert_eq!(why, "`:id` is not a bigint");
        assert!(arguments(&["gone".to_owned()], &types, &values).is_err());
        assert!(arguments(&[], &types, &values).is_err());
    }
}
