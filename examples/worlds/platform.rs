//! The platform: organizations, their computers with keys, and what was said in their sessions.

use sqlx::{Executor, PgPool};

use super::estate::{Estate, Provider};

pub(crate) const SCHEMA: &str = include_str!("../../deploy/demo/platform.sql");

/// The tables, and the estate in them.
pub(crate) async fn fill(pool: &PgPool, estate: &Estate) -> Result<(), sqlx::Error> {
    pool.execute(SCHEMA).await?;
    sqlx::query("insert into organizations (id) select unnest($1::text[])")
        .bind(&estate.organizations)
        .execute(pool)
        .await?;
    computers(pool, estate).await?;
    keys(pool, estate).await?;
    sessions(pool, estate).await?;
    messages(pool, estate).await
}

async fn computers(pool: &PgPool, estate: &Estate) -> Result<(), sqlx::Error> {
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

async fn keys(pool: &PgPool, estate: &Estate) -> Result<(), sqlx::Error> {
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

async fn sessions(pool: &PgPool, estate: &Estate) -> Result<(), sqlx::Error> {
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

async fn messages(pool: &PgPool, estate: &Estate) -> Result<(), sqlx::Error> {
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
