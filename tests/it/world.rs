//! A world for one test: a database and a vhost of its own in the servers that all tests share. `make test` starts those
//! once, outside; a test that is run alone finds no URLs and starts its own. Both go when the world is dropped.

use std::future::Future;

use sexton::services::{Options, Services, ServicesError, Urls};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::template;

pub(crate) struct World {
    /// With Sexton's tables, and nothing in them.
    pub(crate) database_url: String,
    pub(crate) amqp_url: String,
    /// The servers as a whole, for more databases and vhosts (a platform's, say).
    pub(crate) urls: Urls,
    name: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::in_servers(shared_urls().await).await
    }

    /// In servers of the test's own, which it may stop and start.
    pub(crate) async fn in_servers(urls: Urls) -> Self {
        let name = format!("t_{}", Uuid::now_v7().simple());
        let (database_url, vhost) =
            tokio::join!(template::database_like_it(&urls, &name), urls.create_vhost(&name));
        Self {
            database_url,
            amqp_url: vhost.expect("a vhost of one's own"),
            urls,
            name,
        }
    }

    /// Its own among all that share the servers.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where such another database is.
    pub(crate) fn url_of_database(&self, suffix: &str) -> String {
        let (server, _) = self
            .database_url
            .rsplit_once('/')
            .expect("a database's URL has a path");
        format!("{server}/{}_{suffix}", self.name)
    }

    /// Another database beside Sexton's, as the systems have that it deletes from. Goes with this world.
    pub(crate) async fn another_database(&self, suffix: &str) -> String {
        self.urls
            .create_database(&format!("{}_{suffix}", self.name))
            .await
            .expect("another database")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (urls, name) = (self.urls.clone(), self.name.clone());
        // What cannot be removed goes with the servers; a second panic here would hide the first.
        let _ = apart(async move {
            let removed = tokio::join!(drop_databases(&urls, &name), urls.drop_vhost(&name));
            removed.0.and(removed.1)
        });
    }
}

/// Its own and those that begin with its name.
async fn drop_databases(urls: &Urls, name: &str) -> Result<(), ServicesError> {
    for name in databases(urls, name).await.unwrap_or_default() {
        urls.drop_database(&name).await?;
    }
    Ok(())
}

/// The names of the databases that begin so.
pub(crate) async fn databases(urls: &Urls, beginning: &str) -> Result<Vec<String>, sqlx::Error> {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(&urls.database_url).await?;
    sqlx::query_scalar(
        "select datname::text from pg_database where starts_with(datname::text, $1) order by 1",
    )
    .bind(beginning)
    .fetch_all(&mut connection)
    .await
}

/// The URLs given from outside, else servers of this test process, ended by their watchdog when the process ends.
async fn shared_urls() -> Urls {
    static SHARED: OnceCell<Services> = OnceCell::const_new();
    let started = SHARED.get_or_init(|| async {
        Services::start(Options {
            durable: false,
            ..Options::from_env()
        })
        .await
        .expect("Postgres and RabbitMQ")
    });
    started.await.urls.clone()
}

/// On a thread and a runtime of its own, for where waiting is not possible.
fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> std::thread::Result<T> {
    let run = move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(work)
    };
    std::thread::spawn(run).join()
}
