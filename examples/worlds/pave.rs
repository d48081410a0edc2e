//! Pave: sessions of several accounts, some of which have been started.

use sqlx::{Executor, PgPool};

use super::draw::Draw;

pub(crate) const SCHEMA: &str = include_str!("../../deploy/demo/pave.sql");
const ACCOUNTS: [&str; 2] = ["acc_north", "acc_south"];

pub(crate) struct Session {
    pub(crate) key: String,
    pub(crate) account: String,
    pub(crate) status: &'static str,
}

impl Session {
    /// Only what nobody has started may be removed.
    pub(crate) fn may_go(&self) -> bool {
        self.status == "IDLE"
    }
}

/// Of every four sessions two are idle, one is started, one is finished.
pub(crate) fn from_seed(seed: u64, count: usize) -> Vec<Session> {
    let mut draw = Draw::new(seed);
    (0..count)
        .map(|number| Session {
            key: format!("pv_{number:05}_{:06x}", draw.below(1 << 24)),
            account: ACCOUNTS[number / 4 % ACCOUNTS.len()].to_owned(),
            status: ["IDLE", "STARTED", "IDLE", "FINISHED"][number % 4],
        })
        .collect()
}

pub(crate) async fn fill(pool: &PgPool, sessions: &[Session]) -> Result<(), sqlx::Error> {
    pool.execute(SCHEMA).await?;
    let text = |of: fn(&Session) -> &str| sessions.iter().map(|s| of(s).to_owned()).collect::<Vec<_>>();
    sqlx::query(
        "insert into sessions (session_key, account, status, token)
         select key, account, status, 'tok_' || key from unnest($1::text[], $2::text[], $3::text[]) i (key, account, status)",
    )
    .bind(text(|session| &session.key))
    .bind(text(|session| &session.account))
    .bind(text(|session| session.status))
    .execute(pool)
    .await?;
    Ok(())
}
