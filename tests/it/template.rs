//! One migrated database a run, and copies of it: Postgres copies files faster than it carries out migrations.
//!
//! It is named after the migrations, so that a server which is kept never gives the tables of another release; and it
//! gets its name only when it is whole, so that a test which died half-way leaves nothing that is taken for it.

use std::path::Path;

use sexton::services::Urls;
use sexton::store::{Settings, Store};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Any number, the same in every test process: who makes the template lets the others wait.
const TEMPLATE_LOCK: i64 = 0x5e87_0e01;

/// Creates a database with Sexton's tables and returns its URL.
pub(crate) async fn database_like_it(urls: &Urls, name: &str) -> String {
    let template = template_name();
    let mut admin = PgConnection::connect(&urls.database_url).await.expect("Postgres");
    if !exists(&mut admin, &template).await {
        make(urls, &mut admin, &template).await;
    }
    run(
        &mut admin,
        format!("create database \"{name}\" template \"{template}\""),
    )
    .await;
    admin.close().await.expect("a clean end");
    url_of(urls, name)
}

async fn make(urls: &Urls, admin: &mut PgConnection, template: &str) {
    run(admin, format!("select pg_advisory_lock({TEMPLATE_LOCK})")).await;
    // Whoever waited for the lock finds that it was made meanwhile.
    if !exists(admin, template).await {
        let unfinished = format!("{template}_unfinished");
        urls.drop_database(&unfinished).await.expect("no leftover");
        let url = urls.create_database(&unfinished).await.expect("a database");
        let settings = Settings {
            url: url.into(),
            ..Settings::default()
        };
        let store = Store::new(&settings).expect("a usable URL");
        store.migrate().await.expect("migrations");
        store.ensure_partitions().await.expect("partitions");
        store.close().await;
        run(
            admin,
            format!("alter database \"{unfinished}\" rename to \"{template}\""),
        )
        .await;
    }
    run(admin, format!("select pg_advisory_unlock({TEMPLATE_LOCK})")).await;
}

async fn exists(admin: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(admin)
        .await
        .expect("an answer")
}

async fn run(admin: &mut PgConnection, sql: String) {
    sqlx::query(AssertSqlSafe(sql))
        .execute(admin)
        .await
        .expect("a template or its copy");
}

fn template_name() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the migrations")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(file).expect("a migration"));
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("sexton_template_{hex}")
}

fn url_of(urls: &Urls, name: &str) -> String {
    let mut url = reqwest::Url::parse(&urls.database_url).expect("a URL");
    url.set_path(name);
    url.into()
}
