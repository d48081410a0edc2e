//! The cloud's own count: what is left there, what was ended and how often, and who was never asked about.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::{Sheet, World};
use crate::Fault;
use crate::fill::FOREIGN_MACHINES;
use crate::worlds::estate::Provider;

#[derive(Deserialize)]
pub(crate) struct Machines {
    machines: BTreeMap<String, Machine>,
    /// Requests for machines that never were.
    strangers: u64,
}

#[derive(Deserialize)]
struct Machine {
    terminations: u64,
    terminated: bool,
    #[serde(with = "time::serde::rfc3339::option", default)]
    terminated_at: Option<OffsetDateTime>,
    asked: BTreeMap<String, u64>,
    keys: u64,
}

#[derive(Deserialize)]
struct Left {
    machines: Vec<String>,
}

impl Machines {
    pub(crate) fn terminated_at(&self, id: &str) -> Option<OffsetDateTime> {
        self.machines.get(id)?.terminated_at
    }
}

pub(crate) async fn ask(world: &World<'_>) -> Result<Machines, Fault> {
    get(world, "stats").await
}

pub(crate) async fn check(world: &World<'_>, cloud: &Machines, sheet: &mut Sheet) -> Result<(), Fault> {
    let going: Vec<&str> = world.estate.going().filter_map(|c| c.machine()).collect();
    let left: Left = get(world, "machines").await?;
    let standing: Vec<&&str> = going
        .iter()
        .filter(|id| left.machines.iter().any(|m| m == *id))
        .collect();
    sheet.check("no machine of a deleted computer is left", going.len(), &standing);

    let once = |machine: &Machine| machine.terminated && machine.terminations == 1;
    let not_once: Vec<String> = going
        .iter()
        .filter(|id| !cloud.machines.get(**id).is_some_and(once))
        .map(|id| match cloud.machines.get(*id) {
            Some(machine) => format!("{id}: {} times", machine.terminations),
            None => format!("{id}: never seen"),
        })
        .collect();
    sheet.check("each of them was terminated exactly once", going.len(), &not_once);

    let many_keys: Vec<String> = going
        .iter()
        .filter_map(|id| Some((id, cloud.machines.get(*id)?.keys)))
        .filter(|(_, keys)| *keys != 1)
        .map(|(id, keys)| format!("{id}: {keys} keys"))
        .collect();
    let what = "all attempts at one machine had one idempotency key";
    sheet.check(what, going.len(), &many_keys);

    let staying: Vec<&str> = world
        .estate
        .staying()
        .filter_map(|computer| computer.machine())
        .chain(FOREIGN_MACHINES)
        .collect();
    let untouched = |machine: &Machine| !machine.terminated && machine.asked.is_empty();
    let touched: Vec<&&str> = staying
        .iter()
        .filter(|id| !cloud.machines.get(**id).is_some_and(untouched))
        .collect();
    sheet.check(
        "no other machine was touched or asked for",
        staying.len(),
        &touched,
    );

    let own = world
        .estate
        .going()
        .filter(|c| c.provider == Provider::Byom)
        .count();
    let asked: Vec<String> = (cloud.strangers > 0)
        .then(|| format!("{} requests for machines that never were", cloud.strangers))
        .into_iter()
        .collect();
    sheet.check(
        "the cloud was never asked about a customer's own computer",
        own,
        &asked,
    );
    Ok(())
}

async fn get<T: DeserializeOwned>(world: &World<'_>, path: &str) -> Result<T, Fault> {
    Ok(world
        .client
        .get(format!("{}/{path}", world.stage.cloud_url))
        .bearer_auth("demo-token")
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?)
}
