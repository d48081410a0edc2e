//! Three RabbitMQ nodes that are one broker: real nodes of this machine, each with its own name, ports and database, under
//! one cookie and one epmd. Quorum queues that are declared once all of them run have a copy on each.
//!
//! Each node is behind a lock of its own, so that one can start, which takes seconds, while another is stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use super::lair::Lair;
use super::rabbitmq::{Bonds, RabbitMq};
use super::server::{Ending, LOOK_AGAIN_MS};
use super::{ServicesError, urls};

/// An odd number, and the least of which one can be away.
pub const NODES: usize = 3;

/// Under which the watchdog knows them.
const NAMES: [&str; NODES] = ["rabbitmq-1", "rabbitmq-2", "rabbitmq-3"];

/// Nodes that run find each other within a second; one that has been waiting for its lock, within some more.
const JOINED_MAX_S: u64 = 60;

pub struct Cluster {
    nodes: Vec<Mutex<RabbitMq>>,
    lair: Lair,
}

impl Cluster {
    /// Returns once every node takes connections and knows of all others.
    pub async fn start() -> Result<Self, ServicesError> {
        let lair = Lair::open()?;
        let bonds = Arc::new(Bonds::tie(&lair).await?);
        let mut nodes = Vec::with_capacity(NODES);
        for name in NAMES {
            nodes.push(RabbitMq::place(&lair, bonds.clone(), name, None)?);
        }
        let members: Vec<String> = nodes.iter().map(RabbitMq::node).collect();
        for node in &nodes {
            node.settle(&lair, &members)?;
        }
        futures::future::try_join_all(nodes.iter_mut().map(|node| node.start(&lair))).await?;
        let nodes = nodes.into_iter().map(Mutex::new).collect();
        let this = Self { nodes, lair };
        this.until_all_know_each_other().await?;
        Ok(this)
    }

    /// One for each node; all of them lead to the same queues.
    pub async fn amqp_urls(&self) -> Vec<String> {
        let mut all = Vec::with_capacity(NODES);
        for node in &self.nodes {
            all.push(node.lock().await.amqp_url());
        }
        all
    }

    /// The management API of one node, with user and password in it.
    pub async fn management_url(&self, place: usize) -> String {
        self.nodes[place].lock().await.management_url()
    }

    pub async fn stop_node(&self, place: usize, ending: Ending) -> Result<(), ServicesError> {
        self.nodes[place].lock().await.stop(ending).await
    }

    /// Returns once it takes connections again. It waits for others only if it was not the last one to be stopped.
    pub async fn start_node(&self, place: usize) -> Result<(), ServicesError> {
        self.nodes[place].lock().await.start(&self.lair).await
    }

    /// The names of the nodes that run, as this one sees it.
    pub async fn running(&self, place: usize) -> Result<Vec<String>, ServicesError> {
        let failed = |source: reqwest::Error| ServicesError::Management {
            action: "list the nodes of",
            name: "the cluster".into(),
            source: source.without_url(),
        };
        let url = self.management_url(place).await + "api/nodes";
        let answer = urls::client().map_err(failed)?.get(url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let nodes: Vec<Value> = answer.map_err(failed)?.json().await.map_err(failed)?;
        let running = nodes.iter().filter(|node| node["running"] == true);
        let mut names: Vec<String> = running
            .filter_map(|node| Some(node["name"].as_str()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Ends all of them and removes their folder.
    pub async fn stop(self) {
        // Dropping waits for the watchdog, so it happens where waiting is allowed.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    pub fn folder(&self) -> &Path {
        self.lair.path()
    }

    async fn until_all_know_each_other(&self) -> Result<(), ServicesError> {
        let deadline = Instant::now() + Duration::from_secs(JOINED_MAX_S);
        loop {
            let mut seen = Vec::with_capacity(NODES);
            for place in 0..NODES {
                seen.push(self.running(place).await.unwrap_or_default());
            }
            if seen.iter().all(|names| names.len() == NODES) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(ServicesError::NotReady {
                    name: "the cluster",
                    waited_s: JOINED_MAX_S,
                    log: format!("each node sees: {seen:?}"),
                });
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
    }
}
