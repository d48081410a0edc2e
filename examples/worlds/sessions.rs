//! Factory sessions beside the computers' own: of organizations with and without the feature, on a computer and on none.

use sqlx::PgPool;

use super::draw::Draw;

/// The first may delete sessions, the second may not.
pub(crate) const ORGANIZATIONS: [&str; 2] = ["org_selected", "org_plain"];
pub(crate) const COMPUTERS: [&str; 2] = ["cmp_of_sessions_1", "cmp_of_sessions_2"];

pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) organization: String,
    pub(crate) computer: Option<String>,
    pub(crate) messages: usize,
}

impl Session {
    /// Its organization has the feature.
    pub(crate) fn may_go(&self) -> bool {
        self.organization == ORGANIZATIONS[0]
    }
}

/// Of every four sessions three are of the organization that may delete them.
pub(crate) fn from_seed(seed: u64, count: usize) -> Vec<Session> {
    let mut draw = Draw::new(seed);
    (0..count)
        .map(|number| Session {
            id: format!("fs_{number:05}_{:06x}", draw.below(1 << 24)),
            organization: ORGANIZATIONS[usize::from(number % 4 == 3)].to_owned(),
            computer: (number % 3 != 0).then(|| COMPUTERS[number % 2].to_owned()),
            messages: draw.below(6),
        })
        .collect()
}

/// Into the tables of the platform, which stand already.
pub(crate) async fn fill(pool: &PgPool, sessions: &[Session]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into organizations (id, session_deletion) select o, o = $2 from unnest($1::text[]) o",
    )
    .bind(ORGANIZATIONS)
    .bind(ORGANIZATIONS[0])
    .execute(pool)
    .await?;
    sqlx::query(
        "insert into computers (id, organization_id, provider_type, status) select c, $2, 'byom', 'active' from unnest($1::text[]) c",
    )
    .bind(COMPUTERS)
    .bind(ORGANIZATIONS[0])
    .execute(pool)
    .await?;
    let text = |of: fn(&Session) -> Option<&str>| {
        sessions
            .iter()
            .map(|session| of(session).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    sqlx::query(
        "insert into sessions (id, organization_id, computer_id, title)
         select id, organization, computer, 'session ' || id from unnest($1::text[], $2::text[], $3::text[])
             i (id, organization, computer)",
    )
    .bind(text(|session| Some(&session.id)))
    .bind(text(|session| Some(&session.organization)))
    .bind(text(|session| session.computer.as_deref()))
    .execute(pool)
    .await?;
    // Identities of their own, so that they come between no others'.
    sqlx::query(
        "insert into messages (id, session_id, role, body)
         select 1000000 + row_number() over (), s.id, 'user', 'message ' || n
         from unnest($1::text[], $2::bigint[]) s (id, messages) cross join lateral generate_series(1, s.messages) n",
    )
    .bind(text(|session| Some(&session.id)))
    .bind(
        sessions
            .iter()
            .map(|session| i64::try_from(session.messages).unwrap_or(0))
            .collect::<Vec<_>>(),
    )
    .execute(pool)
    .await?;
    Ok(())
}
