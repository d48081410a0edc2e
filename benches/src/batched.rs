//! The bare program without its broker: deletions that are admitted already get their five records and their ends, in the same
//! set-based statements, so many at a time on so many connections. Nobody publishes; the outbox fills.

use futures::future::try_join_all;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::Fail;
use crate::bare;

pub(crate) const WORD: &str = "batched";

/// As many as Sexton has writers.
const CONNECTIONS: usize = 2;
const BATCH: usize = 500;

/// Until SIGTERM; nothing is open before it.
pub(crate) async fn run() -> Result<(), Fail> {
    let mut terminate = signal(SignalKind::terminate())?;
    try_join_all((0..CONNECTIONS).map(work)).await?;
    terminate.recv().await;
    Ok(())
}

async fn work(nth: usize) -> Result<(), Fail> {
    let mut database = bare::connect().await?;
    let open: Vec<Uuid> = sqlx::query_scalar("select id from bare.open_deletions order by id")
        .fetch_all(&mut database)
        .await?;
    for ids in open.chunks(BATCH).skip(nth).step_by(CONNECTIONS) {
        bare::record(&mut database, ids, bare::FIRST).await?;
        for _ in 0..bare::MIDDLE_RECORDS {
            bare::record(&mut database, ids, bare::MIDDLE).await?;
        }
        let events: Vec<Uuid> = ids.iter().map(|_| Uuid::now_v7()).collect();
        bare::end(&mut database, ids, &events).await?;
    }
    Ok(())
}
