//! The other four worlds: Factory sessions, Powerdrill, Pave and Agno. What they hold, what is asked of it, and what must
//! become of each request.

use bytes::Bytes;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::Fault;
use crate::requests::{Asked, Expected, message};
use crate::stage::Stage;
use crate::worlds::{agno, pave, powerdrill, sessions};

const SESSIONS: usize = 60;
const POWERDRILL: usize = 20;
/// The longest job history: many chunks, and still a matter of seconds.
const JOBS: usize = 60_000;
const PAVE: usize = 80;
const AGNO: usize = 600;
/// Of Factory's softly deleted sessions, one in so many is restored within its window.
const RESTORED_EVERY: usize = 3;
/// Of every so many of Agno's sessions, one stays.
pub(crate) const AGNO_STAYS_EVERY: usize = 6;

pub(crate) struct Others {
    pub(crate) sessions: Vec<sessions::Session>,
    pub(crate) powerdrill: Vec<powerdrill::Session>,
    pub(crate) pave: Vec<pave::Session>,
    pub(crate) agno: Vec<agno::Session>,
    pub(crate) stores: Stores,
}

pub(crate) struct Stores {
    pub(crate) powerdrill: PgPool,
    pub(crate) pave: PgPool,
    pub(crate) agno: PgPool,
}

impl Others {
    /// Fills their stores; Factory's sessions are the platform's.
    pub(crate) async fn fill(stage: &Stage, platform: &PgPool, seed: u64) -> Result<Self, Fault> {
        let stores = Stores {
            powerdrill: PgPool::connect(stage.world_url("powerdrill")?).await?,
            pave: PgPool::connect(stage.world_url("pave")?).await?,
            agno: PgPool::connect(stage.world_url("agno")?).await?,
        };
        let others = Others {
            sessions: sessions::from_seed(seed, SESSIONS),
            powerdrill: powerdrill::from_seed(seed, POWERDRILL, JOBS),
            pave: pave::from_seed(seed, PAVE),
            agno: agno::from_seed(seed, AGNO),
            stores,
        };
        sessions::fill(platform, &others.sessions).await?;
        powerdrill::fill(&others.stores.powerdrill, &others.powerdrill).await?;
        pave::fill(&others.stores.pave, &others.pave).await?;
        agno::fill(&others.stores.agno, agno::Release::Three, &others.agno).await?;
        Ok(others)
    }

    pub(crate) async fn close(&self) {
        self.stores.powerdrill.close().await;
        self.stores.pave.close().await;
        self.stores.agno.close().await;
    }

    /// The sessions that are taken back, by their places.
    pub(crate) fn is_restored(&self, place: usize) -> bool {
        self.sessions[place].may_go() && place.is_multiple_of(RESTORED_EVERY)
    }

    /// Softly deleted, and not taken back.
    pub(crate) fn is_purged(&self, place: usize) -> bool {
        self.sessions[place].may_go() && !self.is_restored(place)
    }

    pub(crate) fn purges(&self) -> usize {
        (0..self.sessions.len())
            .filter(|place| self.is_purged(*place))
            .count()
    }

    pub(crate) fn agno_going(&self) -> impl Iterator<Item = &agno::Session> {
        let all = self.agno.iter().enumerate();
        all.filter(|(place, _)| !place.is_multiple_of(AGNO_STAYS_EVERY))
            .map(|(_, session)| session)
    }

    /// The deletes of Factory's sessions, each with what must become of it. They come late, so that their windows, which
    /// are short here, are open when some are taken back.
    pub(crate) fn soft_deletes(&self) -> Vec<Asked> {
        let mut all = Vec::new();
        for (place, session) in self.sessions.iter().enumerate() {
            let expected = match session.may_go() {
                true => Expected::Ended("soft_deleted"),
                false => Expected::Ended("refused"),
            };
            let target = (
                "factory.session",
                session.id.as_str(),
                session.organization.as_str(),
            );
            all.push(asked(
                &format!("session-{place:03}"),
                expected,
                "delete",
                target,
                json!({}),
            ));
        }
        all
    }

    /// Those of Powerdrill and Pave.
    pub(crate) fn deletes(&self) -> Vec<Asked> {
        let mut all = Vec::new();
        for (place, session) in self.powerdrill.iter().enumerate() {
            let target = ("powerdrill.session", session.id.as_str(), session.team.as_str());
            let name = format!("powerdrill-{place:03}");
            all.push(match stays(place) {
                // Asked for by another user: it is not theirs, and stays.
                true => asked(
                    &name,
                    Expected::Completed("absent"),
                    "delete",
                    target,
                    json!({"user_id": "u_mallory"}),
                ),
                false => asked(
                    &name,
                    Expected::Completed("deleted"),
                    "delete",
                    target,
                    json!({"user_id": session.user}),
                ),
            });
        }
        for (place, session) in self.pave.iter().enumerate() {
            let expected = match session.may_go() {
                true => Expected::Completed("deleted"),
                false => Expected::Ended("refused"),
            };
            let target = ("pave.session", session.key.as_str(), session.account.as_str());
            all.push(asked(
                &format!("pave-{place:03}"),
                expected,
                "delete",
                target,
                json!({}),
            ));
        }
        all
    }

    /// All of Agno's that go, in one message.
    pub(crate) fn bulk(&self) -> (Vec<String>, Bytes) {
        let targets: Vec<Value> = self
            .agno_going()
            .map(|session| json!({"type": "agno.session", "id": session.id}))
            .collect();
        let keys = (0..targets.len()).map(|nth| format!("agno#{nth}")).collect();
        let body = json!({"targets": targets, "tenant": "agno-os", "key": "agno"});
        (keys, Bytes::from(body.to_string()))
    }

    pub(crate) fn restores(&self) -> Vec<Asked> {
        let places = (0..self.sessions.len()).filter(|place| self.is_restored(*place));
        places
            .map(|place| {
                let session = &self.sessions[place];
                let target = (
                    "factory.session",
                    session.id.as_str(),
                    session.organization.as_str(),
                );
                asked(
                    &format!("restore-{place:03}"),
                    Expected::Ended("restored"),
                    "restore",
                    target,
                    json!({}),
                )
            })
            .collect()
    }
}

/// Of Powerdrill's, those that another user asks for.
pub(crate) fn stays(place: usize) -> bool {
    place % 5 == 4
}

fn asked(name: &str, expected: Expected, action: &str, target: (&str, &str, &str), params: Value) -> Asked {
    let (kind, id, tenant) = target;
    let body = json!({"action": action, "target": {"type": kind, "id": id}, "tenant": tenant, "key": name, "params": params});
    Asked {
        name: name.to_owned(),
        expected,
        message: message(name, body.to_string().into_bytes(), None),
    }
}
