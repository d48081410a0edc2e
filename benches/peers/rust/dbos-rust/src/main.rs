//! A saga is one workflow with four steps, taken from a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dbos::{Client, ClientConfig, Config, DBOS, QueueConflict, QueueOptions, WorkflowHandle, step};

const STEPS: [&str; 4] = ["step1", "step2", "step3", "step4"];

#[tokio::main]
async fn main() {
    if let Err(why) = measure().await {
        eprintln!("dbos-rust: {why}");
        std::process::exit(1);
    }
}

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let sagas: usize = std::env::args().nth(1).ok_or("wanted: how many sagas")?.parse()?;
    let url = std::env::var("DATABASE_URL")?;
    let config = Config {
        app_version: Some("1".into()),
        max_connections: 20,
        ..Config::new("peer", &url)
    };
    // The first start makes the tables and the queue, and takes nothing from it.
    let first = DBOS::new(Config {
        listen_queues: Some(Vec::new()),
        ..config.clone()
    });
    first.launch().await?;
    let options = QueueOptions {
        worker_concurrency: Some(1000),
        polling_interval: Duration::from_millis(100),
        ..QueueOptions::default()
    };
    first
        .register_queue("sagas", options, QueueConflict::AlwaysUpdate)
        .await?;
    first.shutdown().await;
    preload(&url, sagas).await?;

    let left = Arc::new(AtomicUsize::new(sagas));
    let dbos = DBOS::new(config);
    dbos.register_workflow("saga", {
        let left = left.clone();
        move |()| {
            let left = left.clone();
            async move {
                for name in STEPS {
                    step(name, || async { Ok::<(), dbos::Error>(()) }).await?;
                }
                left.fetch_sub(1, Ordering::Relaxed);
                Ok::<(), dbos::Error>(())
            }
        }
    })?;
    let pool = sqlx::PgPool::connect(&url).await?;
    let started = Instant::now();
    dbos.launch().await?;
    // The last handlers return before it is on disk that their workflows succeeded.
    let succeeded = "select count(*) from dbos.workflow_status where name = 'saga' and status = 'SUCCESS'";
    while left.load(Ordering::Relaxed) > 0 || count(&pool, succeeded).await? < sagas as i64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    dbos.shutdown().await;

    let finished = count(&pool, succeeded).await?;
    let steps = count(
        &pool,
        "select count(distinct (workflow_uuid, function_name)) from dbos.operation_outputs where function_name like 'step_'",
    )
    .await?;
    if finished != sagas as i64 || steps != 4 * sagas as i64 {
        return Err(format!("{finished} sagas finished, with {steps} steps; wanted {sagas}").into());
    }
    println!(
        r#"{{"peer": "dbos-rust", "version": "0.5.0", "sagas": {sagas}, "seconds": {seconds:.3}, "preloaded": true}}"#
    );
    Ok(())
}

async fn preload(url: &str, sagas: usize) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect(ClientConfig {
        max_connections: 20,
        ..ClientConfig::new(url)
    })
    .await?;
    let mut at_once = tokio::task::JoinSet::new();
    for one in 0..20 {
        let client = client.clone();
        at_once.spawn(async move {
            for _ in (one..sagas).step_by(20) {
                let _: WorkflowHandle<()> = client.enqueue("saga", "sagas", ()).await?;
            }
            Ok::<(), dbos::Error>(())
        });
    }
    while let Some(one) = at_once.join_next().await {
        one??;
    }
    client.close().await;
    Ok(())
}

async fn count(pool: &sqlx::PgPool, query: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(query).fetch_one(pool).await
}
