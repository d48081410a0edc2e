//! Puts the estate's machines into the cloud; its rows are the generator's.

use serde_json::json;
use sqlx::PgPool;

use crate::Fault;
use crate::worlds::estate::{Estate, Provider};

/// Somebody else's machines at the same provider, under another account.
pub(crate) const FOREIGN_MACHINES: [&str; 3] = ["i-foreign-1", "i-foreign-2", "i-foreign-3"];

/// The machines that are known from the start, and some of another account.
pub(crate) async fn cloud(client: &reqwest::Client, url: &str, estate: &Estate) -> Result<(), Fault> {
    let known: Vec<&str> = estate
        .computers
        .iter()
        .filter_map(|computer| match &computer.provider {
            Provider::Managed(machine) => Some(machine.as_str()),
            _ => None,
        })
        .collect();
    create(client, url, "demo-token", &known).await?;
    create(client, url, "other-token", &FOREIGN_MACHINES).await
}

/// What was still being provisioned has its machine now, and the platform learns the id.
pub(crate) async fn reveal(
    pool: &PgPool,
    client: &reqwest::Client,
    url: &str,
    estate: &Estate,
) -> Result<usize, Fault> {
    let (ids, machines): (Vec<&str>, Vec<&str>) = estate
        .provisioning()
        .map(|(computer, machine)| (computer.id.as_str(), machine))
        .unzip();
    create(client, url, "demo-token", &machines).await?;
    sqlx::query(
        "update computers c set provider_id = i.machine, status = 'active'
         from unnest($1::text[], $2::text[]) as i (id, machine) where c.id = i.id",
    )
    .bind(&ids)
    .bind(&machines)
    .execute(pool)
    .await?;
    Ok(ids.len())
}

async fn create(client: &reqwest::Client, url: &str, token: &str, ids: &[&str]) -> Result<(), Fault> {
    client
        .post(format!("{url}/machines"))
        .bearer_auth(token)
        .json(&json!({ "ids": ids }))
        .send()
        .await?
        .error_for_status()?;
    Ok(())
}
