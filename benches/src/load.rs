//! A steady load, or as much as is taken, from a process of its own: it says `begun` when the first request goes out, and at
//! the end how many went.

use std::time::{Duration, Instant};

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::Fail;
use crate::messages::{body, look, publish_all};
use crate::place::Place;
use crate::program::Program;
use crate::report::tell;

pub(crate) const WORD: &str = "load";

/// What is due is published so often: finer than any batch forms.
const TICK: Duration = Duration::from_millis(10);
/// A publisher this far behind is no steady load.
const BEHIND_MAX: Duration = Duration::from_secs(2);
/// Saturated: more waits in the queue than two workers prefetch, and few enough that the queue stays what it is.
const WAITING_MIN: u32 = 5_000;
const SATURATING_BATCH: usize = 2_000;

/// How fast, and for how long.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// So many a second.
    Steady { rate: f64, lasts: Duration },
    /// There is always more in the queue than anybody takes.
    Saturating { lasts: Duration },
}

impl Load {
    pub(crate) async fn start(self, place: &Place) -> Result<(Program, Instant), Fail> {
        let (rate, lasts) = match self {
            Load::Steady { rate, lasts } => (rate, lasts),
            Load::Saturating { lasts } => (0.0, lasts),
        };
        let words = [WORD.to_owned(), rate.to_string(), lasts.as_secs_f64().to_string()];
        Program::again(place, &words).await
    }
}

/// In a process of its own: at this rate for so many seconds; at zero, as much as is taken.
pub(crate) async fn publish_as_told(rate: &str, seconds: &str) -> Result<(), Fail> {
    let (rate, lasts): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let lasts = Duration::from_secs_f64(lasts);
    let amqp_url = std::env::var("AMQP_URL")?;
    let connection = Connection::connect(&amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    tell("begun");
    let published = if rate > 0.0 {
        steady(&channel, rate, lasts).await?
    } else {
        saturate(&channel, lasts).await?
    };
    connection.close(200, "done".into()).await?;
    tell(&published.to_string());
    Ok(())
}

async fn steady(channel: &Channel, rate: f64, lasts: Duration) -> Result<usize, Fail> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    let mut published = 0;
    loop {
        ticks.tick().await;
        let now = began.elapsed().min(lasts);
        let due = (rate * now.as_secs_f64()) as usize;
        // Confirms are waited for, so a tick that takes longer is made up for by the next.
        let bodies: Vec<String> = (published..due).map(|_| body()).collect();
        publish_all(channel, &bodies).await?;
        published = due;
        if now == lasts {
            break;
        }
    }
    let behind = began.elapsed().saturating_sub(lasts);
    if behind > BEHIND_MAX {
        return Err(
            format!("the load of {rate:.0}/s is {behind:?} behind; wanted {BEHIND_MAX:?} at most").into(),
        );
    }
    Ok(published)
}

async fn saturate(channel: &Channel, lasts: Duration) -> Result<usize, Fail> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    let mut published = 0;
    while began.elapsed() < lasts {
        if look(channel).await?.message_count() > WAITING_MIN {
            ticks.tick().await;
            continue;
        }
        let bodies: Vec<String> = (0..SATURATING_BATCH).map(|_| body()).collect();
        publish_all(channel, &bodies).await?;
        published += bodies.len();
    }
    Ok(published)
}
