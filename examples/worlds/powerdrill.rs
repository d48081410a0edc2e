//! Powerdrill: sessions of teams and their users, with job histories of any length.

use sqlx::{Executor, PgPool};

use super::draw::Draw;

pub(crate) const SCHEMA: &str = include_str!("../../deploy/demo/powerdrill.sql");
const TEAM: &str = "team_blue";
const USERS: [&str; 3] = ["u_ann", "u_bob", "u_eve"];

pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) team: String,
    pub(crate) user: String,
    pub(crate) jobs: usize,
}

/// Most histories are short, some are empty; the first is as long as it is asked to be.
pub(crate) fn from_seed(seed: u64, count: usize, longest: usize) -> Vec<Session> {
    let mut draw = Draw::new(seed);
    (0..count)
        .map(|number| Session {
            id: format!("pd_{number:04}_{:06x}", draw.below(1 << 24)),
            team: TEAM.to_owned(),
            user: USERS[number % USERS.len()].to_owned(),
            jobs: if number == 0 { longest } else { draw.below(40) },
        })
        .collect()
}

pub(crate) async fn fill(pool: &PgPool, sessions: &[Session]) -> Result<(), sqlx::Error> {
    pool.execute(SCHEMA).await?;
    let text = |of: fn(&Session) -> &str| sessions.iter().map(|s| of(s).to_owned()).collect::<Vec<_>>();
    sqlx::query(
        "insert into sessions (id, team, user_id, name)
         select id, team, user_id, 'session ' || id from unnest($1::text[], $2::text[], $3::text[]) i (id, team, user_id)",
    )
    .bind(text(|session| &session.id))
    .bind(text(|session| &session.team))
    .bind(text(|session| &session.user))
    .execute(pool)
    .await?;
    // The trigger would look at the session a million times.
    pool.execute("alter table jobs disable trigger jobs_hold_session")
        .await?;
    sqlx::query(
        "insert into jobs (session_id, question, answer)
         select s.id, 'question ' || n, repeat('answer ', 1 + (n % 5)::integer)
         from unnest($1::text[], $2::bigint[]) s (id, jobs) cross join lateral generate_series(1, s.jobs) n",
    )
    .bind(text(|session| &session.id))
    .bind(
        sessions
            .iter()
            .map(|session| i64::try_from(session.jobs).unwrap_or(i64::MAX))
            .collect::<Vec<_>>(),
    )
    .execute(pool)
    .await?;
    pool.execute("alter table jobs enable trigger jobs_hold_session; analyze jobs")
        .await?;
    Ok(())
}
