//! Puts the estate where it lives: rows into the platform's database, machines into the cloud.

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::Fault;
use crate::estate::{Estate, Provider};

/// Somebody else's machines at the same provider, under another account.
pub(crate) const FOREIGN_MACHINES: [&str; 3] = ["i-foreign-1", "i-foreign-2", "i-foreign-3"];

pub(crate) async fn platform(pool: &PgPool, schema: &str, estate: &Estate) -> Result<(), Fault> {
    pool.execute(AssertSqlSafe(schema.to_owned())).await?;
    sqlx::query("insert into organizations (id) select unnest($1::text[])")
        .bind(&estate.organizations)
        .execute(pool)
        .await?;
    computers(pool, estate).await?;
    keys(pool, estate).await?;
    sessions(pool, estate).await?;
    messages(pool, estate).await
}

async fn computers(pool: &PgPool, estate: &Estate) -> Result<(), Fault> {
    let all = &estate.computers;
    let of = |what: fn(&Provider) -> Option<&str>| -> Vec<Option<String>> {
        all.iter()
            .map(|computer| what(&computer.provider).map(str::to_owned))
            .collect()
    };
    sqlx::query(
        "insert into computers (id, organization_id, provider_type, provider_id, status)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])",
    )
    .bind(all.iter().map(|computer| computer.id.clone()).collect::<Vec<_>>())
    .bind(
        all.iter()
            .map(|computer| computer.organization.clone())
            .collect::<Vec<_>>(),
    )
    .bind(of(|provider| {
        Some(match provider {
            Provider::Byom => "byom",
            _ => "e2b",
        })
    }))
    .bind(of(|provider| match provider {
        Provider::Managed(machine) => Some(machine),
        _ => None,
    }))
    .bind(of(|provider| {
        Some(match provider {
            Provider::Provisioning(_) => "provisioning",
            _ => "active",
        })
    }))
    .execute(pool)
    .await?;
    Ok(())
}

async fn keys(pool: &PgPool, estate: &Estate) -> Result<(), Fault> {
    let (mut ids, mut of, mut revoked) = (vec![], vec![], vec![]);
    for computer in &estate.computers {
        for key in &computer.keys {
            ids.push(key.id.clone());
            of.push(computer.id.clone());
            revoked.push(key.revoked_at);
        }
    }
    sqlx::query("insert into api_keys select * from unnest($1::text[], $2::text[], $3::timestamptz[])")
        .bind(ids)
        .bind(of)
        .bind(revoked)
        .execute(pool)
        .await?;
    Ok(())
}

async fn sessions(pool: &PgPool, estate: &Estate) -> Result<(), Fault> {
    let (mut ids, mut organizations, mut of, mut titles, mut created) =
        (vec![], vec![], vec![], vec![], vec![]);
    for computer in &estate.computers {
        for session in &computer.sessions {
            ids.push(session.id.clone());
            organizations.push(computer.organization.clone());
            of.push(computer.id.clone());
            titles.push(session.title.clone());
            created.push(session.created_at);
        }
    }
    sqlx::query(
        "insert into sessions (id, organization_id, computer_id, title, created_at)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])",
    )
    .bind(ids)
    .bind(organizations)
    .bind(of)
    .bind(titles)
    .bind(created)
    .execute(pool)
    .await?;
    Ok(())
}

async fn messages(pool: &PgPool, estate: &Estate) -> Result<(), Fault> {
    let (mut ids, mut of, mut roles, mut bodies, mut created) = (vec![], vec![], vec![], vec![], vec![]);
    for session in estate.computers.iter().flat_map(|computer| &computer.sessions) {
        for message in &session.messages {
            ids.push(message.id);
            of.push(session.id.clone());
            roles.push(message.role);
            bodies.push(message.body.clone());
            created.push(message.created_at);
        }
    }
    sqlx::query(
        "insert into messages (id, session_id, role, body, created_at)
         select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])",
    )
    .bind(ids)
    .bind(of)
    .bind(roles)
    .bind(bodies)
    .bind(created)
    .execute(pool)
    .await?;
    Ok(())
}

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
