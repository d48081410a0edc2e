//! The run itself: publish, listen, kill the worker in the middle, start another, wait for every outcome.

use std::process::Stdio;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use sexton::broker::{Binding, Broker, BrokerSettings, EventStream, Message, PublishOutcome};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::fill;
use crate::ledger::Ledger;
use crate::others::Others;
use crate::progress::Progress;
use crate::requests::{self, Asked};
use crate::say::say;
use crate::stage::Stage;
use crate::worlds::estate::Estate;

/// Leaves the checks their part of the whole's time; what has no outcome by then has none, and the checks will say so.
const OUTCOMES_MAX: Duration = Duration::from_secs(150);
/// A table says nothing by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const FOREIGN_CLIENT: &str = "amqp-publish";

pub(crate) struct Played {
    pub(crate) ledger: Ledger,
    pub(crate) took: Duration,
    /// Deletions that were open when the worker was killed.
    pub(crate) open_at_kill: i64,
    /// Workers whose lease ran out while they were not asked to stop.
    pub(crate) taken_over: i64,
    /// Rows of the outbox that were still there when the time was up.
    pub(crate) unsaid: i64,
    /// Whether the foreign client was there.
    pub(crate) foreign: bool,
}

pub(crate) async fn play(
    stage: &mut Stage,
    estate: &Estate,
    others: &Others,
    platform: &PgPool,
    sexton: &PgPool,
) -> Result<Played, Fault> {
    let stop = CancellationToken::new();
    let broker = Broker::open(broker_settings(stage), stop.clone()).await?;
    // Bound before the first request goes out, so that no outcome can be missed.
    let desk = broker.desk().await?;
    let events = desk.listen(&[Binding::Topic("#".into())]).await?;
    stage.start_worker()?;

    let deletes = requests::deletes(estate);
    let oddities = requests::oddities(estate);
    let foreign = requests::foreign(estate).ok_or("an estate without computers")?;
    let mut ledger = Ledger::default();
    let began = Instant::now();
    publish(&broker, &mut ledger, deletes).await?;
    let by_foreigner = publish_foreign(stage, &broker, &mut ledger, foreign).await?;
    publish(&broker, &mut ledger, oddities).await?;
    publish(&broker, &mut ledger, others.deletes()).await?;
    let (keys, bulk) = others.bulk();
    ledger.expect_bulk(keys, &bulk);
    confirmed(&broker, vec![requests::without_id(bulk)]).await?;

    let mut progress = Progress::new(ledger.wanted());
    progress.say(&format!("{} messages are in the queue", ledger.published));
    let computers = estate.going().count();
    let mut run = Run {
        stage,
        ledger,
        events,
        progress: &mut progress,
        until: began + OUTCOMES_MAX,
    };
    run.progress.doing("worker 1");
    run.hear_until(|ledger| ledger.deleted() >= computers / 3).await?;
    run.stage.kill_worker().await?;
    let open_at_kill: i64 = sqlx::query_scalar("select count(*) from sexton.open_deletions")
        .fetch_one(sexton)
        .await?;
    run.progress.say(&format!(
        "worker 1 is killed with SIGKILL, {open_at_kill} deletions in its hands; worker 2 starts"
    ));
    run.stage.start_worker()?;
    run.progress.doing("worker 2");

    run.hear_until(|ledger| ledger.deleted() >= computers * 2 / 3)
        .await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let revealed = fill::reveal(platform, &client, &run.stage.cloud_url, estate).await?;
    run.progress.say(&format!(
        "{revealed} computers that were still being provisioned have their machines now"
    ));
    publish(&broker, &mut run.ledger, others.soft_deletes()).await?;
    run.hear_until(Ledger::has_soft_deletions).await?;
    publish(&broker, &mut run.ledger, others.restores()).await?;
    run.progress.say("some of what was softly deleted is taken back");
    run.hear_until(|ledger| ledger.heard() >= ledger.wanted()).await?;
    let took = began.elapsed();
    run.progress
        .doing("restore windows end, and what was not taken back is erased");
    let purges = others.purges();
    run.hear_until(|ledger| ledger.purged.len() >= purges && !ledger.batches.is_empty())
        .await?;
    let unsaid = run.outbox_empty(sexton).await?;
    let taken_over: i64 = sqlx::query_scalar("select count(*) from sexton.workers where lost_at is not null")
        .fetch_one(sexton)
        .await?;
    let ledger = run.ledger;
    progress.end();
    desk.close().await;
    stop.cancel();
    Ok(Played {
        ledger,
        took,
        open_at_kill,
        taken_over,
        unsaid,
        foreign: by_foreigner,
    })
}

pub(crate) fn broker_settings(stage: &Stage) -> BrokerSettings {
    BrokerSettings {
        url: SecretString::from(stage.amqp_url.as_str()),
        name: "sexton demonstration".to_owned(),
        ..BrokerSettings::default()
    }
}

struct Run<'a> {
    stage: &'a mut Stage,
    ledger: Ledger,
    events: EventStream,
    progress: &'a mut Progress,
    until: Instant,
}

impl Run<'_> {
    /// Or until the time is up: then the checks say what is missing.
    async fn hear_until(&mut self, enough: impl Fn(&Ledger) -> bool) -> Result<(), Fault> {
        while !enough(&self.ledger) {
            tokio::select! {
                event = self.events.next() => self.ledger.hear(&event?),
                fault = self.stage.worker_gone() => return Err(fault),
                () = tokio::time::sleep_until(self.until.into()) => return Ok(()),
            }
            self.progress.reached(self.ledger.heard());
        }
        Ok(())
    }

    /// What the killed worker had taken to publish and not crossed off is somebody else's after half a minute; most of
    /// it is told again then, as the same events.
    async fn outbox_empty(&mut self, sexton: &PgPool) -> Result<i64, Fault> {
        self.progress
            .doing("what the killed worker may not have said is said again");
        let mut look = tokio::time::interval(LOOK_AGAIN);
        loop {
            tokio::select! {
                event = self.events.next() => self.ledger.hear(&event?),
                fault = self.stage.worker_gone() => return Err(fault),
                _ = look.tick() => {
                    let left: i64 = sqlx::query_scalar("select count(*) from sexton.outbox")
                        .fetch_one(sexton)
                        .await?;
                    if left == 0 || Instant::now() > self.until {
                        return Ok(left);
                    }
                }
            }
        }
    }
}

async fn publish(broker: &Broker, ledger: &mut Ledger, all: Vec<Asked>) -> Result<(), Fault> {
    for asked in &all {
        ledger.expect(asked);
    }
    confirmed(broker, all.into_iter().map(|asked| asked.message).collect()).await
}

async fn confirmed(broker: &Broker, messages: Vec<Message>) -> Result<(), Fault> {
    let outlet = broker.outlet();
    // The way opens in the background; without it every message would be answered `Lost` at once.
    outlet.ready().await;
    let unconfirmed = outlet
        .publish_all(messages)
        .await
        .into_iter()
        .filter(|outcome| *outcome != PublishOutcome::Confirmed)
        .count();
    match unconfirmed {
        0 => Ok(()),
        some => Err(format!("the broker did not confirm {some} of the requests").into()),
    }
}

/// One delete with a client that shares no line with Sexton; if it is not installed, with ours, so that the rest can be
/// seen: the check of it fails.
async fn publish_foreign(
    stage: &Stage,
    broker: &Broker,
    ledger: &mut Ledger,
    asked: Asked,
) -> Result<bool, Fault> {
    let message = &asked.message;
    let mut command = tokio::process::Command::new(FOREIGN_CLIENT);
    command
        .arg(format!("--url={}", stage.amqp_url))
        .arg(format!("--exchange={}", message.exchange))
        .arg(format!("--routing-key={}", message.routing_key))
        .arg("--content-type=application/json")
        .arg("--persistent")
        .arg("--body")
        .arg(String::from_utf8_lossy(&message.body).as_ref())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    ledger.expect(&asked);
    match command.status().await {
        Ok(ended) if ended.success() => Ok(true),
        Ok(ended) => Err(format!("{FOREIGN_CLIENT}: {ended}").into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            say!("  {FOREIGN_CLIENT} is not installed: its request goes out by Sexton's own client");
            ledger.published -= 1;
            publish(broker, ledger, vec![asked]).await.map(|()| false)
        }
        Err(error) => Err(error.into()),
    }
}
