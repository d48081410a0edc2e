//! Puts the parts together and takes them apart again; nothing else knows them all.
//!
//! The order of the start: what can be wrong without any server first, then the servers, then the work. The order of
//! the stop: the door in, the work, the door out; so that nothing taken in is left without its outcome.

mod error;
mod plans;
mod watched;
pub use error::AppError;
pub use plans::{PlansSettings, plan, plans};

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::connectors::Systems;
use crate::decide::access::Speakers;
use crate::engine::{Engine, Parts, PlanBook, fits};
use crate::gateway::access::Access;
use crate::gateway::{self, Gateway};
use crate::intake::{Intake, Reception};
use crate::relay::Relay;
use crate::retention::Retention;
use crate::settings::Settings;
use crate::stopper::Stopper;
use crate::store::{Hints, Outgoing, Store, Wake};
use crate::telemetry::{self, Endpoint, Instruments, Readiness};

/// Events that wait in memory for the relay; what does not fit is found by its sweep.
const TAP_MAX: usize = 20_000;

/// What one process does. `run` without a choice has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes requests in from RabbitMQ.
    Intake,
    /// Carries deletions out.
    Engine,
    /// Publishes outcomes.
    Relay,
    /// Ends restore windows, and looks again at what was deleted.
    Retention,
    /// Serves HTTP, if the settings say where.
    Gateway,
}

impl Role {
    pub const ALL: [Role; 5] = [
        Role::Intake,
        Role::Engine,
        Role::Relay,
        Role::Retention,
        Role::Gateway,
    ];
}

/// The systems of the settings, whose paths know by now where they start.
pub fn systems(settings: &Settings) -> Result<Systems, AppError> {
    Systems::build(&settings.systems, Path::new(".")).map_err(|source| AppError::System { source })
}

/// The store, looked at once: a missing server or missing migrations end here with one sentence.
pub async fn store(settings: &Settings) -> Result<Store, AppError> {
    let store = Store::new(&settings.store).map_err(|source| AppError::Store { source })?;
    store
        .check_migrated()
        .await
        .map_err(|source| AppError::Store { source })?;
    Ok(store)
}

/// Runs the roles until it is told to stop.
pub async fn run(
    settings: Settings,
    roles: &[Role],
    instruments: Instruments,
    stopper: Stopper,
) -> Result<(), AppError> {
    if roles == [Role::Gateway] && settings.gateway.listen.is_none() {
        return Err(AppError::NoGateway);
    }
    let systems = Arc::new(systems(&settings)?);
    settings
        .access
        .check_keys()
        .map_err(|why| AppError::Access { why })?;
    settings
        .broker
        .authorities()
        .map_err(|why| AppError::Certificate { why })?;
    let tls = settings
        .gateway
        .tls()
        .map_err(|why| AppError::Certificate { why })?;
    let plans = plans(&settings.plans.folder, Some(&systems))?;
    plans
        .iter()
        .try_for_each(|plan| fits(plan, settings.store.lease))
        .map_err(|why| AppError::Lease { why })?;
    let store = store(&settings).await?;
    let failed = |source| AppError::Store { source };
    store.ensure_partitions().await.map_err(failed)?;
    let book = PlanBook::default();
    book.introduce(&store, &plans, &systems, settings.store.lease)
        .await
        .map_err(failed)?;
    let broker_stop = CancellationToken::new();
    let broker = Broker::open(settings.broker.clone(), broker_stop.clone())
        .await
        .map_err(|source| AppError::Broker { source })?;
    watched::broker(&instruments, &broker.tally());
    tracing::info!(
        plans = plans.len(),
        systems = systems.kinds().len(),
        "ready to begin"
    );

    instruments.expect(
        systems.kinds().keys().map(|name| name.0.as_str()),
        &watched::TRANSACTIONS,
    );
    let readiness = Readiness::default();
    let (tap, memory) = mpsc::channel(TAP_MAX);
    let (hints, outbox_wake) = (Hints::default(), Wake::default());
    let has = |role| roles.contains(&role);
    let mut engine_settings = settings.engine.clone();
    if !has(Role::Engine) {
        // Admission still needs lanes for its fence; it keeps nothing and claims nothing.
        engine_settings.in_flight_max = 0;
    }
    let parts = Parts {
        store: store.clone(),
        systems: systems.clone(),
        book: book.clone(),
        instruments: instruments.clone(),
        tap: tap.clone(),
        announce_accepted: settings.intake.announce_accepted,
        wake: hints.work.clone(),
        outbox_wake: outbox_wake.clone(),
    };
    let engine = Engine::new(
        parts,
        engine_settings,
        settings.store.lanes,
        settings.store.lease,
        stopper.clone(),
    );
    let at_work = engine.at_work();
    readiness.add("engine", move || {
        if at_work() {
            Ok(())
        } else {
            Err("no lane is open".into())
        }
    });
    let outage = store.outage().clone();
    readiness.add("postgres", move || match outage.lasts() {
        false => Ok(()),
        true => Err("in trouble".into()),
    });
    let admissions = engine.admissions();

    let endpoint = endpoint(&settings, &instruments, &readiness, &stopper).await?;
    let mut serving = match has(Role::Gateway) {
        true => gateway(&settings, tls, &store, tap, &hints, &instruments, &stopper).await?,
        // The relay goes on for as long as somebody may hand it something.
        false => {
            drop(tap);
            None
        }
    };
    let listening = tokio::spawn(listen(store.clone(), hints.clone(), stopper.clone()));
    let mut relaying = tokio::spawn(
        Relay {
            outlet: broker.outlet(),
            store: store.clone(),
            instruments: instruments.clone(),
            stopper: stopper.clone(),
            wake: outbox_wake.clone(),
            answered: hints.calls.clone(),
            sweeps: has(Role::Relay),
        }
        .run(memory),
    );
    let mut retaining = has(Role::Retention).then(|| {
        let retention = Retention {
            settings: settings.retention.clone(),
            store: store.clone(),
            systems,
            stopper: stopper.clone(),
            outbox_wake: outbox_wake.clone(),
            instruments: instruments.clone(),
        };
        tokio::spawn(retention.run())
    });
    let mut working = tokio::spawn(engine.run());
    let mut taking_in = has(Role::Intake).then(|| {
        let intake = Intake {
            inlet: broker.inlet(stopper.drain_token()),
            stopper: stopper.clone(),
            reception: Reception {
                settings: settings.intake.clone(),
                outlet: broker.outlet(),
                store: store.clone(),
                book,
                speakers: Arc::new(Speakers::new(settings.intake.users.clone(), broker.user())),
                admissions,
                instruments,
                outbox_wake,
            },
        };
        tokio::spawn(intake.run())
    });
    let takes_in = taking_in.is_some();
    let reach = Arc::new(broker);
    let asked = reach.clone();
    readiness.add("broker", move || {
        let reach = asked.reach();
        match (reach.connected, reach.consuming || !takes_in) {
            (true, true) => Ok(()),
            (true, false) => Err("connected, but taking no requests in".into()),
            (false, _) => Err("not connected".into()),
        }
    });

    // A part that ends by itself has failed; without it the others would only seem to be well.
    let ended = tokio::select! {
        () = stopper.draining() => None,
        done = &mut working => Some(("engine", done)),
        done = &mut relaying => Some(("relay", done)),
        Some(done) = async { Some(taking_in.as_mut()?.await) } => Some(("intake", done)),
        Some(done) = async { Some(retaining.as_mut()?.await) } => Some(("retention", done)),
        Some(done) = async { Some(serving.as_mut()?.await) } => Some(("gateway", done)),
    };
    // Whoever ends while a stop is under way does as it was told, even if it was seen before the stop was.
    let told_to = stopper.is_draining();
    stopper.drain();
    tracing::info!("stopping: finishing what runs, taking nothing new");
    let ended = ended.map(|(part, done)| {
        joined(part, done);
        part
    });
    let has_ended = |part| ended == Some(part);
    // Callers first: what they asked for is published before the relay ends.
    if let Some(serving) = serving.filter(|_| !has_ended("gateway")) {
        joined("gateway", serving.await);
    }
    if let Some(taking_in) = taking_in.filter(|_| !has_ended("intake")) {
        joined("intake", taking_in.await);
    }
    if let Some(retaining) = retaining.filter(|_| !has_ended("retention")) {
        joined("retention", retaining.await);
    }
    if !has_ended("engine") {
        joined("engine", working.await);
    }
    if !has_ended("relay") {
        joined("relay", relaying.await);
    }
    stopper.halt();
    listening.abort();
    broker_stop.cancel();
    joined("endpoint", endpoint.await);
    store.close().await;
    match ended {
        Some(part) if !told_to => Err(AppError::Ended { part }),
        _ => Ok(()),
    }
}

fn joined<T>(part: &str, ended: Result<T, tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(part, error = %error, "a part did not end by itself");
    }
}

/// Where HTTP is served, if it is.
async fn gateway(
    settings: &Settings,
    tls: Option<Arc<rustls::ServerConfig>>,
    store: &Store,
    tap: mpsc::Sender<Outgoing>,
    hints: &Hints,
    instruments: &Instruments,
    stopper: &Stopper,
) -> Result<Option<tokio::task::JoinHandle<()>>, AppError> {
    let Some(listen) = settings.gateway.listen else {
        return Ok(None);
    };
    let is_tls = tls.is_some();
    let parts = gateway::Parts {
        settings: settings.gateway.clone(),
        tls,
        access: Access::new(store.clone(), settings.access.clone())
            .map_err(|why| AppError::Access { why })?,
        store: store.clone(),
        tap,
        hints: hints.calls.clone(),
        instruments: instruments.clone(),
        stopper: stopper.clone(),
    };
    let gateway = Gateway::bind(listen, parts)
        .await
        .map_err(|source| AppError::Gateway {
            address: listen.to_string(),
            source,
        })?;
    tracing::info!(address = ?gateway.address().ok(), tls = is_tls, "serving HTTP");
    Ok(Some(tokio::spawn(gateway.run())))
}

async fn endpoint(
    settings: &Settings,
    instruments: &Instruments,
    readiness: &Readiness,
    stopper: &Stopper,
) -> Result<tokio::task::JoinHandle<()>, AppError> {
    let address = settings.telemetry.listen;
    let endpoint = Endpoint::bind(address)
        .await
        .map_err(|source| AppError::Endpoint {
            address: address.to_string(),
            source,
        })?;
    let (instruments, readiness, stop) = (instruments.clone(), readiness.clone(), stopper.halt_token());
    Ok(tokio::spawn(async move {
        if let Err(error) = endpoint.serve(instruments, readiness, stop).await {
            tracing::warn!(error = %error, "the pages of metrics and health are gone");
        }
    }))
}

/// Listens for hints; without them everything goes on by the clock.
async fn listen(store: Store, hints: Hints, stopper: Stopper) {
    while !stopper.is_draining() {
        let heard = match store.waker().await {
            Ok(waker) => waker.run(&hints, &stopper).await,
            Err(error) => Err(error),
        };
        if let Err(error) = heard {
            tracing::debug!(error = %telemetry::chain(&error), "hints are not heard for now");
            tokio::select! {
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                () = stopper.draining() => {}
            }
        }
    }
}
