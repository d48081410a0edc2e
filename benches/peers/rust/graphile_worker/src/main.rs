//! A saga is a chain of four jobs: each adds the next before it is itself done. What the jobs that run at one time add
//! goes to Postgres together, as their completions do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext, WorkerOptions,
    WorkerUtils,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

const MANY: usize = 2000;

#[derive(Debug, Serialize, Deserialize)]
struct Step {
    saga: usize,
    step: u8,
}

#[derive(Clone, Debug)]
struct Shared {
    next: mpsc::UnboundedSender<(Step, oneshot::Sender<()>)>,
    /// Which sagas have come through their fourth step.
    sagas: Arc<Vec<AtomicBool>>,
    count: Arc<AtomicUsize>,
}

impl TaskHandler for Step {
    const IDENTIFIER: &'static str = "step";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let shared = ctx.get_ext::<Shared>().ok_or("nothing is shared")?;
        if self.step < 4 {
            let (added, is_added) = oneshot::channel();
            let next = Step {
                saga: self.saga,
                step: self.step + 1,
            };
            shared.next.send((next, added)).map_err(|_| "nobody adds jobs")?;
            is_added.await.map_err(|_| "the next step was not added")?;
        } else if !shared.sagas[self.saga].swap(true, Ordering::Relaxed) {
            shared.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), &'static str>(())
    }
}

async fn add_steps(utils: WorkerUtils, mut steps: mpsc::UnboundedReceiver<(Step, oneshot::Sender<()>)>) {
    let mut some = Vec::new();
    while steps.recv_many(&mut some, MANY).await > 0 {
        let (jobs, waiting): (Vec<Step>, Vec<_>) = some.drain(..).unzip();
        // Where it fails, those who wait learn it as their channels close.
        if add(&utils, jobs).await.is_ok() {
            for one in waiting {
                let _ = one.send(());
            }
        }
    }
}

async fn add(utils: &WorkerUtils, steps: Vec<Step>) -> Result<(), Box<dyn std::error::Error>> {
    let mut jobs = Vec::with_capacity(steps.len());
    for step in steps {
        let payload = serde_json::to_value(step)?;
        jobs.push(RawJobSpec {
            identifier: Step::IDENTIFIER.into(),
            payload,
            spec: JobSpec::default(),
        });
    }
    utils.add_raw_jobs(&jobs).await?;
    Ok(())
}

#[tokio::main]
async fn main() {
    if let Err(why) = measure().await {
        eprintln!("graphile_worker: {why}");
        std::process::exit(1);
    }
}

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let sagas: usize = std::env::args().nth(1).ok_or("wanted: how many sagas")?.parse()?;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(32)
        .connect(&std::env::var("DATABASE_URL")?)
        .await?;
    let (next, steps) = mpsc::unbounded_channel();
    let shared = Shared {
        next,
        sagas: Arc::new((0..sagas).map(|_| AtomicBool::new(false)).collect()),
        count: Arc::default(),
    };
    let worker = WorkerOptions::default()
        .pg_pool(pool.clone())
        .concurrency(1000)
        .poll_interval(Duration::from_millis(5))
        .complete_job_batch_delay(Duration::from_millis(5))
        .local_queue(LocalQueueConfig::default().with_size(MANY))
        .add_extension(shared.clone())
        .define_job::<Step>()
        .init()
        .await?;
    for from in (0..sagas).step_by(MANY) {
        let first = (from..sagas.min(from + MANY)).map(|saga| Step { saga, step: 1 });
        add(&worker.create_utils(), first.collect()).await?;
    }
    tokio::spawn(add_steps(worker.create_utils(), steps));

    let worker = Arc::new(worker);
    let started = Instant::now();
    let running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await.map_err(|error| error.to_string()) }
    });
    // A job that is done is a row that is gone.
    let rows = "select count(*) from graphile_worker._private_jobs";
    while shared.count.load(Ordering::Relaxed) < sagas || count(&pool, rows).await? > 0 {
        if running.is_finished() {
            return Err("the worker ended early".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    worker.request_shutdown();
    running.await??;

    let made = count(
        &pool,
        "select pg_sequence_last_value(pg_get_serial_sequence('graphile_worker._private_jobs', 'id')::regclass)",
    ).await?;
    let done = shared.count.load(Ordering::Relaxed);
    if done != sagas || made != 4 * sagas as i64 {
        return Err(format!("{done} sagas finished, of {made} jobs; wanted {sagas}").into());
    }
    println!(
        r#"{{"peer": "graphile_worker", "version": "0.14.1", "sagas": {sagas}, "seconds": {seconds:.3}, "preloaded": true}}"#
    );
    Ok(())
}

async fn count(pool: &sqlx::PgPool, query: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(query).fetch_one(pool).await
}
