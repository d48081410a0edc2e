//! What a program left in its tables is counted, so that nobody is fast by doing less.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::Fail;
use crate::place::Place;
use crate::rivals::Rival;

/// Rows of the tables that all rivals have, by the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: i64,
    pub(crate) keys: i64,
    pub(crate) records: i64,
    pub(crate) ends: i64,
    pub(crate) open: i64,
    pub(crate) unsent: i64,
    /// Of all tables, and of no account.
    pub(crate) dead: i64,
}

/// Intents, verdicts and the end of four steps. Waiting in turn is worth a record of its own, so there may be more.
pub(crate) const RECORDS: i64 = 5;

/// Sexton's stand in the rows of their deletions, which say how many there are.
fn records_of(rival: Rival) -> String {
    match rival {
        Rival::Sexton => "(select coalesce(sum(seq), 0) from (select seq from sexton.deletions union all
                               select seq from sexton.open_deletions) of)::bigint"
            .to_owned(),
        _ => format!("(select count(*) from {}.journal)", rival.schema()),
    }
}

impl Tally {
    pub(crate) async fn read(place: &Place, rival: Rival) -> Result<Tally, Fail> {
        let mut connection = PgConnection::connect(&place.database_url).await?;
        let of = |table: &str| format!("(select count(*) from {}.{table})", rival.schema());
        let sql = format!(
            "select {}, {}, {}, {}, {}, {}, (select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables)",
            of("requests"),
            of("keys"),
            records_of(rival),
            of("deletions"),
            of("open_deletions"),
            of("outbox")
        );
        let (requests, keys, records, ends, open, unsent, dead) = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(Tally {
            requests,
            keys,
            records,
            ends,
            open,
            unsent,
            dead,
        })
    }

    /// After so many requests that came and have ended: a request, a key, an end and at least five records more for each,
    /// nothing more open, nothing more unsent.
    pub(crate) fn and(self, sagas: usize) -> Result<Tally, Fail> {
        let sagas = i64::try_from(sagas)?;
        Ok(Tally {
            requests: self.requests + sagas,
            keys: self.keys + sagas,
            ..self
        }
        .but_ended(sagas))
    }

    /// After so many of the open ones have ended, and nobody has published that.
    pub(crate) fn drained(self, sagas: usize) -> Result<Tally, Fail> {
        let sagas = i64::try_from(sagas)?;
        Ok(Tally {
            open: self.open - sagas,
            unsent: self.unsent + sagas,
            ..self
        }
        .but_ended(sagas))
    }

    fn but_ended(self, sagas: i64) -> Tally {
        Tally {
            records: self.records + RECORDS * sagas,
            ends: self.ends + sagas,
            ..self
        }
    }

    /// Fails unless the tables hold this by now. Gives what they hold.
    pub(crate) async fn found_at(self, place: &Place, rival: Rival) -> Result<Tally, Fail> {
        let found = Tally::read(place, rival).await?;
        let wanted = Tally {
            records: found.records.max(self.records),
            dead: found.dead,
            ..self
        };
        if found == wanted {
            return Ok(found);
        }
        Err(format!("{} left {found:?}; wanted {self:?}", rival.name()).into())
    }
}
