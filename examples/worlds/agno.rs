//! Agno: agents', teams' and workflows' sessions with their runs, of several users; in the tables of either release.

use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::draw::Draw;

const USERS: [&str; 2] = ["u_ann", "u_bob"];

/// Whose tables they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Runs are a column of their session.
    Two,
    /// Runs are rows that go with their session, and there is more that belongs to it.
    Three,
}

impl Release {
    pub(crate) fn schema(self) -> &'static str {
        match self {
            Release::Two => include_str!("../../deploy/demo/agno2.sql"),
            Release::Three => include_str!("../../deploy/demo/agno.sql"),
        }
    }

    /// The same sessions in either.
    fn rows(self) -> &'static str {
        match self {
            Release::Two => {
                "session as (
             insert into ai.agno_sessions (session_id, session_type, user_id, runs, created_at)
             select id, kind, owner, (
                 select jsonb_agg(jsonb_build_object('run_id', id || '_' || n, 'content', 'said') order by n)
                 from generate_series(1, runs) n), 1760000000 from i
         )"
            }
            Release::Three => {
                "session as (
             insert into ai.agno_sessions (session_id, session_type, user_id, created_at)
             select id, kind, owner, 1760000000 from i
         ), run as (
             insert into ai.agno_runs (run_id, session_id, run_type, user_id, run_index, run_data, created_at)
             select id || '_' || n, id, kind, owner, n, '{\"content\": \"said\"}', 1760000000
             from i cross join lateral generate_series(1, runs) n
         ), transcript as (
             insert into ai.agno_transcripts
             select 'framework', 'project', id || '_external', '', 0, 'said', id, 1760000000 from i
         ), compaction as (
             insert into ai.agno_compactions select id || '_c', id, 'short', 1760000000 from i
         ), tool_result as (
             insert into ai.agno_tool_results select id || '_x', id, 'n', id, 1760000000 from i
         )"
            }
        }
    }
}

pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) user: String,
    pub(crate) runs: usize,
}

pub(crate) fn from_seed(seed: u64, count: usize) -> Vec<Session> {
    let mut draw = Draw::new(seed);
    (0..count)
        .map(|number| {
            let kind = ["agent", "team", "workflow"][number % 3];
            Session {
                id: format!("{kind}_{number:05}_{:06x}", draw.below(1 << 24)),
                kind,
                user: USERS[number / 3 % USERS.len()].to_owned(),
                runs: 1 + draw.below(5),
            }
        })
        .collect()
}

pub(crate) async fn fill(pool: &PgPool, release: Release, sessions: &[Session]) -> Result<(), sqlx::Error> {
    pool.execute(release.schema()).await?;
    let text = |of: fn(&Session) -> &str| sessions.iter().map(|s| of(s).to_owned()).collect::<Vec<_>>();
    let sql = format!(
        "with i as (
             select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) i (id, kind, owner, runs)
         ), {}
         insert into ai.agno_learnings select id || '_l', id, '{{\"note\": \"kept\"}}', 1760000000 from i",
        release.rows()
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(text(|session| &session.id))
        .bind(text(|session| session.kind))
        .bind(text(|session| &session.user))
        .bind(
            sessions
                .iter()
                .map(|session| i64::try_from(session.runs).unwrap_or(0))
                .collect::<Vec<_>>(),
        )
        .execute(pool)
        .await?;
    Ok(())
}
