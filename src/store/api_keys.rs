//! Keys for HTTP: who comes with them, and whether they still may.
//!
//! The secret itself is never here. A word that this release does not know (a role or a dialect of a newer one) gives
//! nothing.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::decide::access::{Dialect, Role};
use crate::deletion::Tenant;

/// More keys than this are not read by anybody.
const LIST_MAX_ROWS: i64 = 1_000;

/// A key that is made now.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub id: Uuid,
    pub digest: [u8; 32],
    pub name: String,
    pub tenant: Tenant,
    pub roles: BTreeSet<Role>,
    pub dialects: BTreeSet<Dialect>,
    pub rate: Option<u16>,
    pub burst: Option<u16>,
    pub expires_at: Option<OffsetDateTime>,
}

/// A key that stands: neither revoked nor expired, by the database's clock.
#[derive(Clone, Debug)]
pub struct StandingKey {
    pub digest: Vec<u8>,
    pub name: String,
    pub tenant: Tenant,
    pub roles: BTreeSet<Role>,
    pub dialects: BTreeSet<Dialect>,
    pub rate: Option<u16>,
    pub burst: Option<u16>,
}

/// As a person sees it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ListedKey {
    pub id: Uuid,
    pub name: String,
    pub tenant: String,
    pub roles: Vec<String>,
    pub dialects: Vec<String>,
    pub rate: Option<i32>,
    pub burst: Option<i32>,
    #[serde(with = "time::serde::rfc3339")]
    pub made_at: OffsetDateTime,
    pub made_by: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    pub revoked_by: Option<String>,
    /// `standing`, `expired` or `revoked`.
    pub state: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    digest: Vec<u8>,
    name: String,
    tenant: String,
    roles: Vec<String>,
    dialects: Vec<String>,
    rate: Option<i32>,
    burst: Option<i32>,
}

impl Store {
    /// With its line in the audit, in one transaction.
    pub async fn make_key(&self, key: &NewKey, by: &str) -> Result<(), StoreError> {
        let roles: Vec<&str> = key.roles.iter().map(|role| role.word()).collect();
        let dialects: Vec<&str> = key.dialects.iter().map(|dialect| dialect.word()).collect();
        sqlx::query(
            "/* make_key */ with made as (
                 insert into sexton.api_keys (id, digest, name, tenant, roles, dialects, rate, burst, expires_at, made_by)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             )
             insert into sexton.audit (said_by, action, detail) values ($10, 'make_key', $11)",
        )
        .bind(key.id)
        .bind(&key.digest[..])
        .bind(&key.name)
        .bind(key.tenant.as_str())
        .bind(&roles)
        .bind(&dialects)
        .bind(key.rate.map(i32::from))
        .bind(key.burst.map(i32::from))
        .bind(key.expires_at)
        .bind(by)
        .bind(Json(json!({
            "key": key.id, "name": key.name, "tenant": key.tenant.as_str(), "roles": roles, "dialects": dialects,
        })))
        .execute(&self.pool)
        .await
        .map_err(StoreError::doing("making a key"))?;
        Ok(())
    }

    /// `None`: there is none, or it does not stand any more.
    pub async fn standing_key(&self, id: Uuid) -> Result<Option<StandingKey>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "/* standing_key */ select digest, name, tenant, roles, dialects, rate, burst from sexton.api_keys
             where id = $1 and revoked_at is null and (expires_at is null or expires_at > now())",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::doing("looking a key up"))?;
        let bound = |number: Option<i32>| number.and_then(|number| u16::try_from(number).ok());
        Ok(row.and_then(|row| {
            Some(StandingKey {
                digest: row.digest,
                name: row.name,
                tenant: Tenant::parse(row.tenant).ok()?,
                roles: row.roles.iter().filter_map(|word| Role::parse(word)).collect(),
                dialects: row
                    .dialects
                    .iter()
                    .filter_map(|word| Dialect::parse(word))
                    .collect(),
                rate: bound(row.rate),
                burst: bound(row.burst),
            })
        }))
    }

    /// From the moment in which this returns it opens nothing. `false`: there is none that stands.
    pub async fn revoke_key(&self, id: Uuid, by: &str) -> Result<bool, StoreError> {
        let revoked: Option<i64> = sqlx::query_scalar(
            "/* revoke_key */ with revoked as (
                 update sexton.api_keys set revoked_at = now(), revoked_by = $2 where id = $1 and revoked_at is null
                 returning id, name, tenant
             )
             insert into sexton.audit (said_by, action, detail)
             select $2, 'revoke_key', jsonb_build_object('key', id, 'name', name, 'tenant', tenant) from revoked
             returning id",
        )
        .bind(id)
        .bind(by)
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::doing("revoking a key"))?;
        Ok(revoked.is_some())
    }

    /// Newest first; of one tenant, or of all.
    pub async fn keys(&self, tenant: Option<&Tenant>) -> Result<Vec<ListedKey>, StoreError> {
        sqlx::query_as(
            "/* keys */ select id, name, tenant, roles, dialects, rate, burst, made_at, made_by, expires_at, revoked_at,
                    revoked_by, case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired'
                                     else 'standing' end as state
             from sexton.api_keys where $1::text is null or tenant = $1
             order by made_at desc, id limit $2",
        )
        .bind(tenant.map(Tenant::as_str))
        .bind(LIST_MAX_ROWS)
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::doing("listing keys"))
    }
}
