//! Reading rows of a foreign database as JSON.
//!
//! The server makes the JSON (`row_to_json`), so that every type of every extension can be read; here only numbers
//! need care: one that a JSON library would round is kept as text, for ids must survive the way through a fact.

use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;

use super::database::{Database, Mode, Work};
use crate::clock::Boottime;
use crate::deletion::Verdict;
use crate::plan::{Sql, Values};

/// The columns of one row, in their order.
pub(in crate::connectors) type JsonRow = Vec<(String, Value)>;

/// Wraps a query so that each row comes as one JSON text. As a FROM item it can only be a query, never a change.
pub(in crate::connectors) fn as_json(sql: &Sql, limit: Option<u32>) -> Sql {
    let query = sql.text.trim().trim_end_matches(';');
    let limit = limit.map(|rows| format!(" limit {rows}")).unwrap_or_default();
    // The line breaks keep a closing `--` comment from swallowing the bracket.
    Sql {
        text: format!("select row_to_json(of_plan)::text from (\n{query}\n) of_plan{limit}"),
        binds: sql.binds.clone(),
    }
}

/// At most `limit` rows, read in a transaction that cannot write.
pub(in crate::connectors) async fn read_rows(
    database: &Database,
    sql: &Sql,
    values: &Values,
    limit: u32,
    deadline: Boottime,
) -> Result<Vec<JsonRow>, Verdict> {
    let read = async {
        let mut work = database.begin(Mode::ReadOnly, deadline).await?;
        let rows = rows_of(&mut work, sql, values, limit).await?;
        work.commit().await?;
        Ok(rows)
    };
    match tokio::time::timeout(deadline.left(), read).await {
        Ok(Err(Verdict::Unknown { why })) => Err(Verdict::again(why)),
        Ok(read) => read,
        // A read has no effect, so silence is no reason to probe.
        Err(_) => Err(Verdict::again("the database gave no answer in time")),
    }
}

/// The same in a transaction that goes on. After an error it is over, or goes with its connection.
pub(super) async fn rows_of(
    work: &mut Work,
    sql: &Sql,
    values: &Values,
    limit: u32,
) -> Result<Vec<JsonRow>, Verdict> {
    let sql = as_json(sql, Some(limit));
    let bound = match work.bind(&sql, values).await {
        Ok(bound) => bound,
        Err(unbound) => return Err(work.give_up(unbound).await),
    };
    let query = sqlx::query_scalar_with::<_, String, _>(AssertSqlSafe(sql.text), bound);
    let texts = match query.fetch_all(work.connection()).await {
        Ok(texts) => texts,
        Err(error) => return Err(work.trouble(&error).await),
    };
    texts.iter().map(|text| parse(text)).collect()
}

fn parse(text: &str) -> Result<JsonRow, Verdict> {
    let wrong = || Verdict::failed("the database answered a row that is not a JSON object");
    // An ordered map of raw texts: serde_json's own map would sort the columns and round the numbers.
    struct Columns(Vec<(String, Box<RawValue>)>);
    impl<'de> serde::Deserialize<'de> for Columns {
        fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Columns;
                fn expecting(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
                    to.write_str("a row")
                }
                fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<Columns, M::Error> {
                    let mut all = Vec::new();
                    while let Some(column) = map.next_entry()? {
                        all.push(column);
                    }
                    Ok(Columns(all))
                }
            }
            source.deserialize_map(Visitor)
        }
    }
    let columns: Columns = serde_json::from_str(text).map_err(|_| wrong())?;
    columns
        .0
        .into_iter()
        .map(|(name, raw)| Ok((name, exact(raw.get()).ok_or_else(wrong)?)))
        .collect()
}

fn exact(raw: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(raw).ok()?;
    match &value {
        Value::Number(number) if number.to_string() != raw => Some(Value::String(raw.to_owned())),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_number_is_rounded_on_its_way_into_a_fact() {
        let row = parse(
            r#"{"b":9223372036854775807,"a":123456789012345678901234567890,"c":1.10,"d":1.5,"e":null}"#,
        )
        .expect("a row");
        assert_eq!(
            row,
            vec![
                ("b".to_owned(), json!(9_223_372_036_854_775_807_i64)),
                ("a".to_owned(), json!("123456789012345678901234567890")),
                ("c".to_owned(), json!("1.10")),
                ("d".to_owned(), json!(1.5)),
                ("e".to_owned(), json!(null)),
            ]
        );
    }

    #[test]
    fn a_query_may_end_in_a_comment_or_a_semicolon() {
        for text in [
            "select 1 as a;",
            " select 1 as a -- all of it",
            "select 1 as a ;\n",
        ] {
            let wrapped = as_json(
                &Sql {
                    text: text.into(),
                    binds: vec![],
                },
                Some(2),
            )
            .text;
            assert!(wrapped.ends_with("\n) of_plan limit 2"), "{wrapped}");
            assert!(!wrapped.contains(';'), "{wrapped}");
        }
    }
}
