//! What the platform holds before anything is deleted: organizations, computers, keys, sessions, machines.
//!
//! All of it follows from one seed and from nothing else, so the checks at the end know byte for byte what must be in
//! an archive without having read it from the database that was deleted from.

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::draw::Draw;

/// For each ten computers that go there is one that must stay as it is.
const DELETED_FOR_EACH_SURVIVOR: usize = 10;
const SINCE: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);
const ORGANIZATIONS: [&str; 4] = ["org_acme", "org_globex", "org_initech", "org_café"];
/// A body of this size is more than one buffer anywhere on its way.
const LARGE_BODY_BYTES: usize = 96 * 1024;

/// What has gone wrong in archives before: quotes, control characters, right to left, signs outside the first plane,
/// combining signs, line breaks of three kinds, and what looks like the end of the line's JSON.
const BODIES: [&str; 8] = [
    "run the tests again, please",
    "naïve façade — größer als 5 €",
    "日本語のメッセージ 🦀👩‍👩‍👧‍👦",
    "שלום \u{202e}abc\u{202c} مرحبا",
    "a\"quote\" a \\backslash\\ a /slash/ and \\u0041",
    "tab\tnewline\nreturn\r\nbell\u{7}escape\u{1b}delete\u{7f}",
    "line\u{2028}paragraph\u{2029}e\u{301}",
    "\"}]}\n{\"id\":\"forged\"}",
];

pub(crate) struct Estate {
    pub(crate) organizations: Vec<String>,
    pub(crate) computers: Vec<Computer>,
}

pub(crate) struct Computer {
    pub(crate) id: String,
    pub(crate) organization: String,
    pub(crate) provider: Provider,
    pub(crate) keys: Vec<ApiKey>,
    pub(crate) sessions: Vec<Session>,
    /// Whether its deletion is asked for, by its own organization.
    pub(crate) goes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Byom,
    Managed(String),
    /// The provider's id comes to light only after the request.
    Provisioning(String),
}

pub(crate) struct ApiKey {
    pub(crate) id: String,
    /// Some were revoked long before.
    pub(crate) revoked_at: Option<OffsetDateTime>,
}

pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) messages: Vec<Message>,
}

pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) role: &'static str,
    pub(crate) body: String,
    pub(crate) created_at: OffsetDateTime,
}

impl Computer {
    pub(crate) fn machine(&self) -> Option<&str> {
        match &self.provider {
            Provider::Byom => None,
            Provider::Managed(machine) | Provider::Provisioning(machine) => Some(machine),
        }
    }
}

impl Estate {
    /// `deleted` computers that go, and some more that stay.
    pub(crate) fn from_seed(seed: u64, deleted: usize) -> Self {
        let mut maker = Maker {
            draw: Draw::new(seed),
            sessions: 0,
            messages: 0,
        };
        let survivors = deleted.div_ceil(DELETED_FOR_EACH_SURVIVOR).max(8);
        let computers = (0..deleted + survivors)
            .map(|number| maker.computer(number, number < deleted))
            .collect();
        Estate {
            organizations: ORGANIZATIONS.map(str::to_owned).into(),
            computers,
        }
    }

    pub(crate) fn going(&self) -> impl Iterator<Item = &Computer> + Clone {
        self.computers.iter().filter(|computer| computer.goes)
    }

    pub(crate) fn staying(&self) -> impl Iterator<Item = &Computer> {
        self.computers.iter().filter(|computer| !computer.goes)
    }

    pub(crate) fn provisioning(&self) -> impl Iterator<Item = (&Computer, &str)> {
        self.computers
            .iter()
            .filter_map(|computer| match &computer.provider {
                Provider::Provisioning(machine) => Some((computer, machine.as_str())),
                _ => None,
            })
    }
}

struct Maker {
    draw: Draw,
    sessions: usize,
    messages: i64,
}

impl Maker {
    fn computer(&mut self, number: usize, goes: bool) -> Computer {
        let id = format!("cmp_{number:05}");
        let machine = format!("i-{number:05}-{:06x}", self.draw.below(1 << 24));
        let provider = match number % 10 {
            3 | 7 => Provider::Byom,
            5 if goes => Provider::Provisioning(machine),
            _ => Provider::Managed(machine),
        };
        let keys = (0..1 + self.draw.below(3))
            .map(|key| ApiKey {
                id: format!("key_{number:05}_{key}"),
                revoked_at: (key > 0 && self.draw.below(3) == 0).then(|| self.moment()),
            })
            .collect();
        let sessions = (0..self.draw.below(5)).map(|_| self.session()).collect();
        Computer {
            // Neighbours are of different organizations.
            organization: ORGANIZATIONS[number % ORGANIZATIONS.len()].to_owned(),
            id,
            provider,
            keys,
            sessions,
            goes,
        }
    }

    fn session(&mut self) -> Session {
        self.sessions += 1;
        // Every tenth is empty.
        let messages = if self.draw.below(10) == 0 {
            0
        } else {
            1 + self.draw.below(12)
        };
        Session {
            id: format!("ses_{:06}", self.sessions),
            title: self.draw.one_of(&BODIES).to_string(),
            created_at: self.moment(),
            messages: (0..messages).map(|turn| self.message(turn)).collect(),
        }
    }

    fn message(&mut self, turn: usize) -> Message {
        self.messages += 1;
        let text = *self.draw.one_of(&BODIES);
        let body = match self.draw.below(100) {
            0 => text.repeat(LARGE_BODY_BYTES / text.len()),
            1..=4 => String::new(),
            _ => text.to_owned(),
        };
        Message {
            id: self.messages,
            role: ["user", "assistant"][turn % 2],
            body,
            created_at: self.moment(),
        }
    }

    /// In Postgres' own resolution, and now and then without a fraction.
    fn moment(&mut self) -> OffsetDateTime {
        let seconds = i64::try_from(self.draw.below(20_000_000)).unwrap_or(0);
        let micros = [0, 500_000, 123_456, 70][self.draw.below(4)];
        SINCE + Duration::seconds(seconds) + Duration::microseconds(micros)
    }
}
