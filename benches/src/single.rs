//! The bare program for one request at a time: consume, five commits, publish. The same rows as [`crate::bare`] writes, without
//! any wait for company: what one who asks must wait for wherever four steps are durable.

use futures::StreamExt;
use lapin::options::BasicAckOptions;
use sqlx::Executor;
use tokio::signal::unix::{SignalKind, signal};

use crate::Fail;
use crate::bare::{self, Place};

pub(crate) const WORD: &str = "single";

/// Until SIGTERM; what it has begun it ends.
pub(crate) async fn run() -> Result<(), Fail> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut place = Place::open().await?;
    loop {
        let saga = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            next = place.requests.next() => next.ok_or("the consumer has ended")??,
        };
        let (ids, events, tag) = ([saga.deletion], [saga.event], saga.tag);
        let one = [saga];
        // The intent of the first step is durable with the admission.
        place.database.execute("begin").await?;
        bare::admit(&mut place.database, &one).await?;
        bare::record(&mut place.database, &ids, bare::FIRST).await?;
        place.database.execute("commit").await?;
        place.channel.basic_ack(tag, BasicAckOptions::default()).await?;
        for _ in 0..bare::MIDDLE_RECORDS {
            bare::record(&mut place.database, &ids, bare::MIDDLE).await?;
        }
        bare::end(&mut place.database, &ids, &events).await?;
        bare::publish(&place.events, &one[0]).await?;
        bare::cross_off(&mut place.database, &events).await?;
    }
}
