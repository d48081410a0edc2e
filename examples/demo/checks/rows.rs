//! What is in a store, against what should be.

use std::collections::BTreeSet;

use sqlx::PgPool;

use crate::Fault;

pub(super) async fn ids(pool: &PgPool, sql: &'static str) -> Result<BTreeSet<String>, Fault> {
    let all: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    Ok(all.into_iter().collect())
}

/// What differs between what is there and what should be.
pub(super) fn differs<'a>(there: &'a BTreeSet<String>, wanted: &'a BTreeSet<&str>) -> Vec<String> {
    let lost = wanted
        .iter()
        .filter(|id| !there.contains(**id))
        .map(|id| format!("{id} is not there"));
    let left = there
        .iter()
        .filter(|id| !wanted.contains(id.as_str()))
        .map(|id| format!("{id} is there"));
    lost.chain(left).collect()
}
