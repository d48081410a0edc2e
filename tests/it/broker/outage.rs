//! Going away and coming back: said once, answered at once, and nothing lost that was confirmed.

use super::*;

#[tokio::test]
async fn a_missing_server_is_one_sentence_without_the_password() {
    let error = Broker::open(
        settings("amqp://guest:hunter2@127.0.0.1:1/%2f"),
        CancellationToken::new(),
    )
    .await
    .err()
    .expect("nobody is there");
    assert_eq!(error.to_string(), "cannot connect to the broker at 127.0.0.1:1");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let silent = BrokerSettings {
        connect_timeout: Duration::from_millis(100),
        ..settings(&format!("amqp://127.0.0.1:{port}/%2f"))
    };
    let opening = Broker::open(silent, CancellationToken::new());
    let error = in_time("an answer", opening).await.err().expect("nobody answers");
    assert_eq!(
        error.to_string(),
        format!("the broker at 127.0.0.1:{port} did not finish the handshake within 100 ms")
    );
}

#[tokio::test]
async fn a_cut_connection_is_said_once_and_everything_comes_back() {
    let said = Said::listen();
    let world = World::new().await;
    let wire = Wire::to(&world.amqp_url).await;
    let direct = broker(&world.amqp_url).await;
    send(&direct, &["1", "2"]).await;
    let broker = broker(&wire.url).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let outlet = broker.outlet();
    outlet.ready().await;
    let (batches, _) = gather(&mut inlet, 2).await;
    assert!(broker.reach().connected && broker.reach().consuming);

    wire.cut();
    in_time("the loss", async {
        while broker.tally().now().outages < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!broker.reach().connected);
    assert_eq!(
        in_time("an answer", outlet.publish(request("x"))).await,
        PublishOutcome::Lost
    );
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::NotSent);
    }
    wire.mend();

    assert!(in_time("the return", outlet.ready()).await);
    assert_eq!(outlet.publish(request("3")).await, PublishOutcome::Confirmed);
    let (again, mut ids) = gather(&mut inlet, 3).await;
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
    for batch in again {
        assert_eq!(batch.ack().await, Acked::Sent);
    }
    assert!(broker.reach().connected);
    assert_eq!(
        said.lines(),
        [
            "WARN lost the broker, reconnecting until it is back",
            "INFO the broker is back"
        ]
    );
}

#[tokio::test]
async fn a_broker_outage_loses_nothing_that_was_confirmed() {
    let said = Said::listen();
    // Only the broker is wanted; the other is given, and never asked.
    let options = Options {
        database_url: Some("postgres://nobody@127.0.0.1:1/none".into()),
        ..Options::private()
    };
    let mut services = Services::start(options).await.expect("a broker of one's own");
    let broker = broker(&services.urls.amqp_url).await;
    let outlet = broker.outlet();
    outlet.ready().await;
    let ids: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    send(&broker, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut inlet = broker.inlet(CancellationToken::new());
    let (batches, _) = gather(&mut inlet, 40).await;
    for batch in batches {
        assert_eq!(batch.ack().await, Acked::Sent);
    }

    services.stop_broker(Ending::Kill).await.expect("stopped");
    assert_eq!(
        in_time("an answer", outlet.publish(request("x"))).await,
        PublishOutcome::Lost
    );
    let back = tokio::spawn({
        let outlet = outlet.clone();
        async move { outlet.ready().await }
    });
    services.start_broker().await.expect("started");
    assert!(in_time("the return", back).await.expect("no panic"));
    // A quorum queue elects its leader after the listener is open.
    in_time("a confirm", async {
        while outlet.publish(request("last")).await != PublishOutcome::Confirmed {}
    })
    .await;

    // What was acknowledged in the last moment may come again; nothing else may be missing.
    let mut missing: std::collections::BTreeSet<String> =
        ids[40..].iter().cloned().chain(["last".into()]).collect();
    while !missing.is_empty() {
        let (batches, got) = gather(&mut inlet, 1).await;
        for id in got {
            missing.remove(&id);
        }
        for batch in batches {
            assert_eq!(batch.ack().await, Acked::Sent);
        }
    }
    let lines = said.lines();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("WARN lost the broker"))
            .count(),
        1,
        "{lines:?}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| *line == "INFO the broker is back")
            .count(),
        1,
        "{lines:?}"
    );
    services.stop().await.expect("stopped");
}

#[tokio::test]
async fn what_nobody_uses_any_more_closes_its_connection() {
    let said = Said::listen();
    let world = World::new().await;
    let wire = Wire::to(&world.amqp_url).await;
    let broker = broker(&wire.url).await;
    let outlet = broker.outlet();
    assert!(outlet.ready().await);
    let mut inlet = broker.inlet(CancellationToken::new());
    assert_eq!(outlet.publish(request("1")).await, PublishOutcome::Confirmed);
    let (mut batches, _) = gather(&mut inlet, 1).await;
    assert_eq!(batches.remove(0).ack().await, Acked::Sent);
    inlet.close().await;
    drop(outlet);
    in_time("the end of both connections", async {
        while wire.standing.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(broker.reach().connected, "nothing that is wanted is missing");
    assert_eq!(said.lines(), Vec::<String>::new());
}

/// What the broker folder says on the log of this thread, on which all of a test's tasks run.
struct Said {
    lines: Arc<Mutex<Vec<String>>>,
    _until_dropped: tracing::subscriber::DefaultGuard,
}

impl Said {
    fn listen() -> Said {
        use tracing_subscriber::layer::SubscriberExt;
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let subscriber = tracing_subscriber::registry().with(Ear(lines.clone()));
        Said {
            lines,
            _until_dropped: tracing::subscriber::set_default(subscriber),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

struct Ear(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Ear {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target().starts_with("sexton::broker") {
            let mut message = Sentence(String::new());
            event.record(&mut message);
            self.0
                .lock()
                .unwrap()
                .push(format!("{} {}", event.metadata().level(), message.0));
        }
    }
}

struct Sentence(String);

impl tracing::field::Visit for Sentence {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
