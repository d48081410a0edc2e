//! Terms: what only one process may do at a time.
//!
//! A term is taken by compare-and-set once the one before has run out, by this database's clock. Whoever writes under it
//! locks its row first and compares: a leader that was asleep while another took over finds another number and writes
//! nothing, and a taker waits for a write that is under way. So no leader outlives its term, whatever its own clock says.

use std::time::Duration;

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError};

/// The right to do one thing, until it runs out or is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    role: &'static str,
    pub number: i64,
    holder: Uuid,
}

impl Store {
    /// Takes the role if nobody has it, and renews it for whoever does. `None`: somebody else leads.
    pub async fn lead(
        &self,
        role: &'static str,
        holder: Uuid,
        span: Duration,
    ) -> Result<Option<Term>, StoreError> {
        let number: Option<i64> = sqlx::query_scalar(
            "/* lead */ insert into sexton.terms as t (role, term, holder, until)
             values ($1, 1, $2, now() + make_interval(secs => $3))
             on conflict (role) do update
             set term = case when t.holder = excluded.holder then t.term else t.term + 1 end,
                 holder = excluded.holder, until = excluded.until
             where t.holder = excluded.holder or t.until < now()
             returning term",
        )
        .bind(role)
        .bind(holder)
        .bind(span.as_secs_f64())
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::doing("asking who leads"))?;
        Ok(number.map(|number| Term { role, number, holder }))
    }

    /// Lets others lead at once.
    pub async fn step_down(&self, term: &Term) -> Result<(), StoreError> {
        sqlx::query(
            "/* step_down */ update sexton.terms set until = now() - interval '1 microsecond'
             where role = $1 and term = $2 and holder = $3",
        )
        .bind(term.role)
        .bind(term.number)
        .bind(term.holder)
        .execute(&self.pool)
        .await
        .map_err(StoreError::doing("letting others lead"))?;
        Ok(())
    }

    /// A transaction that nobody else's term can overtake; `None` if this one has ended.
    pub(super) async fn under(&self, term: &Term) -> Result<Option<Transaction<'_, Postgres>>, StoreError> {
        let failed = StoreError::doing("locking the term");
        let mut tx = self.pool.begin().await.map_err(&failed)?;
        let ours: Option<i64> = sqlx::query_scalar(
            "/* term_fence */ select term from sexton.terms
             where role = $1 and term = $2 and holder = $3 and until > now() for no key update",
        )
        .bind(term.role)
        .bind(term.number)
        .bind(term.holder)
        .fetch_optional(&mut *tx)
        .await
        .map_err(&failed)?;
        Ok(ours.map(|_| tx))
    }
}
