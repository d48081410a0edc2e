//! A saga is a chain of four jobs: each adds the next before it is itself done. What the jobs that run at one time add
//! goes to Postgres together, as their completions do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use awa::{Client, InsertOpts, JobArgs, JobError, JobResult, QueueConfig};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

const MANY: usize = 2000;
const QUEUE: &str = "sagas";

#[derive(Debug, Serialize, Deserialize, JobArgs)]
struct Step {
    saga: usize,
    step: u8,
}

#[tokio::main]
async fn main() {
    if let Err(why) = measure().await {
        eprintln!("awa: {why}");
        std::process::exit(1);
    }
}

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let sagas: usize = std::env::args().nth(1).ok_or("wanted: how many sagas")?.parse()?;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(32)
        .connect(&std::env::var("DATABASE_URL")?)
        .await?;
    awa::migrations::run(&pool).await?;
    let (next, steps) = mpsc::unbounded_channel::<(Step, oneshot::Sender<()>)>();
    let left = Arc::new(AtomicUsize::new(sagas));
    let config = QueueConfig {
        max_workers: 1000,
        poll_interval: Duration::from_millis(5),
        claim_batch_size: 1000,
        ..QueueConfig::default()
    };
    let client = Client::builder(pool.clone())
        .queue(QUEUE, config)
        .register::<Step, _, _>({
            let left = left.clone();
            move |args: Step, _| {
                let (next, left) = (next.clone(), left.clone());
                async move {
                    if args.step < 4 {
                        let (added, is_added) = oneshot::channel();
                        let step = Step {
                            saga: args.saga,
                            step: args.step + 1,
                        };
                        next.send((step, added))
                            .map_err(|_| JobError::Terminal("nobody adds jobs".into()))?;
                        is_added.await.map_err(JobError::retryable)?;
                    } else {
                        left.fetch_sub(1, Ordering::Relaxed);
                    }
                    Ok(JobResult::Completed)
                }
            }
        })
        .build()?;
    for from in (0..sagas).step_by(MANY) {
        let first: Vec<_> = (from..sagas.min(from + MANY))
            .map(|saga| Step { saga, step: 1 })
            .collect();
        add(&pool, &first).await?;
    }
    tokio::spawn(add_steps(pool.clone(), steps));

    let started = Instant::now();
    client.start().await?;
    let completed = "select count(*) from awa.jobs where state = 'completed'";
    while left.load(Ordering::Relaxed) > 0 || count(&pool, completed).await? < 4 * sagas as i64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    client.shutdown(Duration::from_secs(10)).await;

    let done = "select count(distinct args->>'saga') from awa.jobs where state = 'completed' and args->>'step' = '4'";
    let (done, steps) = (
        count(&pool, done).await?,
        count(&pool, "select count(*) from awa.jobs").await?,
    );
    if done != sagas as i64 || steps != 4 * sagas as i64 {
        return Err(format!("{done} sagas finished, of {steps} jobs; wanted {sagas}").into());
    }
    println!(
        r#"{{"peer": "awa", "version": "0.6.9", "sagas": {sagas}, "seconds": {seconds:.3}, "preloaded": true}}"#
    );
    Ok(())
}

async fn add_steps(pool: PgPool, mut steps: mpsc::UnboundedReceiver<(Step, oneshot::Sender<()>)>) {
    let mut some = Vec::new();
    while steps.recv_many(&mut some, MANY).await > 0 {
        let (jobs, waiting): (Vec<Step>, Vec<_>) = some.drain(..).unzip();
        // Where it fails, those who wait learn it as their channels close.
        if add(&pool, &jobs).await.is_ok() {
            for one in waiting {
                let _ = one.send(());
            }
        }
    }
}

async fn add(pool: &PgPool, steps: &[Step]) -> Result<(), awa::AwaError> {
    let opts = || InsertOpts {
        queue: QUEUE.into(),
        ..InsertOpts::default()
    };
    let jobs: Result<Vec<_>, _> = steps
        .iter()
        .map(|step| awa::insert::params_with(step, opts()))
        .collect();
    awa::insert_many_copy_from_pool(pool, &jobs?).await?;
    Ok(())
}

async fn count(pool: &PgPool, query: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(query).fetch_one(pool).await
}
