//! What is there before anything is asked for: the worlds of the demonstration at the storm's size, and in each of their
//! databases a trigger that writes down every change of state. A statement that changes nothing leaves no row there.

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::Fault;
use crate::worlds::estate::{Estate, Provider};
use crate::worlds::{agno, pave, platform, powerdrill, sessions};

/// Of a hundred deletions, so many are of each kind; what is left are Agno's.
const COMPUTERS: usize = 30;
const POWERDRILL: usize = 15;
const PAVE: usize = 12;
const SESSIONS: usize = 6;
/// One job history of many chunks.
const JOBS: usize = 30_000;

/// In each of a world's databases: what changed, of which row, to what.
const LEDGER: &str = "
    create table storm_changes (at timestamptz not null default clock_timestamp(), what text not null, id text not null,
                                change text not null);
    create function storm_note() returns trigger language plpgsql as $$
    declare
        was text; is_now text; id text;
    begin
        if tg_op = 'DELETE' then
            execute format('select ($1).%I::text', tg_argv[0]) into id using old;
            insert into storm_changes (what, id, change) values (tg_table_name, id, 'removed');
            return old;
        end if;
        execute format('select ($1).%I::text', tg_argv[0]) into id using new;
        for n in 1 .. tg_nargs - 1 loop
            execute format('select ($1).%I::text, ($2).%I::text', tg_argv[n], tg_argv[n]) into was, is_now using old, new;
            if was is distinct from is_now then
                insert into storm_changes (what, id, change) values (
                    tg_table_name || '.' || tg_argv[n], id, case when is_now is null then 'unset' else 'set' end);
            end if;
        end loop;
        return new;
    end $$;";

pub(crate) struct World {
    pub(crate) estate: Estate,
    pub(crate) agno: Vec<agno::Session>,
    pub(crate) powerdrill: Vec<powerdrill::Session>,
    pub(crate) pave: Vec<pave::Session>,
    pub(crate) sessions: Vec<sessions::Session>,
}

/// The databases of the worlds, reached without a proxy.
pub(crate) struct Stores {
    pub(crate) platform: PgPool,
    pub(crate) powerdrill: PgPool,
    pub(crate) pave: PgPool,
    pub(crate) agno: PgPool,
}

impl World {
    pub(crate) fn from_seed(seed: u64, deletions: usize) -> World {
        let share = |of: usize| (deletions * of / 100).max(4);
        let others = share(COMPUTERS) + share(POWERDRILL) + share(PAVE) + share(SESSIONS);
        World {
            estate: Estate::from_seed(seed, share(COMPUTERS)),
            agno: agno::from_seed(seed, deletions.saturating_sub(others).max(10)),
            powerdrill: powerdrill::from_seed(seed, share(POWERDRILL), JOBS),
            pave: pave::from_seed(seed, share(PAVE)),
            sessions: sessions::from_seed(seed, share(SESSIONS)),
        }
    }

    /// Those that somebody asks for whose they are not.
    pub(crate) fn powerdrill_stays(number: usize) -> bool {
        number % 20 == 19
    }

    pub(crate) async fn fill(&self, stores: &Stores) -> Result<(), Fault> {
        platform::fill(&stores.platform, &self.estate).await?;
        sessions::fill(&stores.platform, &self.sessions).await?;
        powerdrill::fill(&stores.powerdrill, &self.powerdrill).await?;
        pave::fill(&stores.pave, &self.pave).await?;
        agno::fill(&stores.agno, agno::Release::Three, &self.agno).await?;
        let notes: [(&PgPool, &str, &str, &[&str]); 6] = [
            (
                &stores.platform,
                "computers",
                "id",
                &["deletion_requested_at", "deleted_at"],
            ),
            (&stores.platform, "api_keys", "id", &["revoked_at"]),
            (&stores.platform, "sessions", "id", &["archived_at", "deleted_at"]),
            (&stores.powerdrill, "sessions", "id", &["deleting_at"]),
            (&stores.pave, "sessions", "session_key", &["status"]),
            (&stores.agno, "ai.agno_sessions", "session_id", &["user_id"]),
        ];
        for pool in [&stores.platform, &stores.powerdrill, &stores.pave, &stores.agno] {
            pool.execute(LEDGER).await?;
        }
        for (pool, table, id, columns) in notes {
            let columns: String = columns.iter().map(|column| format!(", '{column}'")).collect();
            let sql = format!(
                "create trigger storm_note after update or delete on {table} for each row
                 execute function storm_note('{id}'{columns}); analyze {table}"
            );
            pool.execute(AssertSqlSafe(sql)).await?;
        }
        Ok(())
    }

    /// The machines of computers that have one already; the others' come to light during the storm.
    pub(crate) async fn fill_cloud(&self, client: &reqwest::Client, url: &str) -> Result<(), Fault> {
        let known = self
            .estate
            .computers
            .iter()
            .filter_map(|computer| match &computer.provider {
                Provider::Managed(machine) => Some(machine.as_str()),
                _ => None,
            });
        create(client, url, &known.collect::<Vec<_>>()).await
    }

    /// What was still being provisioned has its machine now, and the platform learns its id. Repeating it changes nothing.
    pub(crate) async fn reveal(
        &self,
        stores: &Stores,
        client: &reqwest::Client,
        url: &str,
    ) -> Result<(), Fault> {
        let (ids, machines): (Vec<&str>, Vec<&str>) = self
            .estate
            .provisioning()
            .map(|(computer, machine)| (computer.id.as_str(), machine))
            .unzip();
        create(client, url, &machines).await?;
        sqlx::query(
            "update computers c set provider_id = i.machine, status = 'active'
             from unnest($1::text[], $2::text[]) as i (id, machine) where c.id = i.id and c.provider_id is null",
        )
        .bind(&ids)
        .bind(&machines)
        .execute(&stores.platform)
        .await?;
        Ok(())
    }
}

async fn create(client: &reqwest::Client, url: &str, ids: &[&str]) -> Result<(), Fault> {
    client
        .post(format!("{url}/machines"))
        .bearer_auth("demo-token")
        .json(&json!({ "ids": ids }))
        .send()
        .await?
        .error_for_status()?;
    Ok(())
}
