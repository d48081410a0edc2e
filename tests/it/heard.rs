//! What Sexton says to the world, collected from the first moment on, and waited for.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use sexton::broker::{Binding, Delivery, Desk};
use tokio::sync::watch;

use crate::house::patience;

/// One event as its readers get it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) delivery: Delivery,
    pub(crate) body: Value,
}

impl Event {
    pub(crate) fn id(&self) -> &str {
        self.body["id"].as_str().expect("an id")
    }

    pub(crate) fn kind(&self) -> &str {
        self.body["data"]["event"].as_str().expect("an event")
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.body["data"]["key"].as_str()
    }

    pub(crate) fn request(&self) -> &str {
        self.body["data"]["request_id"].as_str().expect("a request")
    }

    pub(crate) fn detail(&self, name: &str) -> Option<&str> {
        self.body["data"]["detail"][name].as_str()
    }

    /// Nothing more will be said of its request.
    pub(crate) fn is_end(&self) -> bool {
        [
            "completed",
            "completed_with_orphans",
            "soft_deleted",
            "restored",
            "cancelled",
            "refused",
            "rejected",
        ]
        .contains(&self.kind())
    }
}

pub(crate) struct Heard {
    events: Arc<Mutex<Vec<Event>>>,
    more: watch::Receiver<usize>,
}

impl Heard {
    pub(crate) async fn listen(desk: &Desk) -> Self {
        let mut stream = desk
            .listen(&[Binding::Topic("#".into())])
            .await
            .expect("a queue of events");
        let events = Arc::new(Mutex::new(Vec::new()));
        let (tell, more) = watch::channel(0);
        let kept = events.clone();
        tokio::spawn(async move {
            while let Ok(delivery) = stream.next().await {
                let body = serde_json::from_slice(&delivery.body).expect("an event is JSON");
                kept.lock().expect("no panic").push(Event { delivery, body });
                tell.send_modify(|count| *count += 1);
            }
        });
        Self { events, more }
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.events.lock().expect("no panic").clone()
    }

    /// Waits until `found` finds what it looks for in all that was heard.
    pub(crate) async fn until<T>(&self, what: &str, found: impl Fn(&[Event]) -> Option<T>) -> T {
        let mut more = self.more.clone();
        let waited = tokio::time::timeout(patience(), async {
            loop {
                if let Some(found) = found(&self.all()) {
                    return found;
                }
                more.changed().await.expect("the listener goes on");
            }
        });
        match waited.await {
            Ok(found) => found,
            Err(_) => panic!("{what}: not heard in time; heard {:#?}", self.all()),
        }
    }

    /// The first event of this kind about the request with this key.
    pub(crate) async fn kind(&self, kind: &str, key: &str) -> Event {
        let is = |event: &&Event| event.kind() == kind && event.key() == Some(key);
        self.until(&format!("{kind} for {key}"), |all| all.iter().find(is).cloned())
            .await
    }

    /// How the request with this key ended.
    pub(crate) async fn end(&self, key: &str) -> Event {
        let is = |event: &&Event| event.is_end() && event.key() == Some(key);
        self.until(&format!("an end for {key}"), |all| all.iter().find(is).cloned())
            .await
    }

    /// The ids of the ends that a key has had, each once.
    pub(crate) fn ends(&self, key: &str) -> Vec<String> {
        let all = self.all();
        let ends = all
            .iter()
            .filter(|event| event.is_end() && event.key() == Some(key));
        let mut ids: Vec<String> = ends.map(|event| event.id().to_owned()).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}
