//! The table: which plans there are, how a target of each is made, and what their steps are.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One course of one plan.
pub(super) struct Row {
    /// The first part of its targets' ids.
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) tenant: &'static str,
    pub(super) course: Course,
    pub(super) params: fn(&str) -> Value,
    /// `$1` are ids.
    pub(super) fill: &'static [(Place, &'static str)],
    pub(super) steps: &'static [Step],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Delete,
    Restore,
    Purge,
}

/// Where a row's targets live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Shop,
    Platform,
    Powerdrill,
    Pave,
    Agno,
    /// The statement is not one: the ids are machines.
    Cloud,
}

pub(super) struct Step {
    pub(super) name: &'static str,
    /// A cancel before its intent wins.
    pub(super) until_the_pivot: bool,
    /// It has an undo that does something.
    pub(super) undone: bool,
    pub(super) chunked: bool,
}

const fn step(name: &'static str) -> Step {
    Step {
        name,
        until_the_pivot: false,
        undone: false,
        chunked: false,
    }
}

const fn before(step: Step) -> Step {
    Step {
        until_the_pivot: true,
        ..step
    }
}

const fn undone(step: Step) -> Step {
    Step {
        until_the_pivot: true,
        undone: true,
        ..step
    }
}

const fn chunked(step: Step) -> Step {
    Step {
        chunked: true,
        ..step
    }
}

fn none(_: &str) -> Value {
    json!({})
}

fn token(id: &str) -> Value {
    let digest = Sha256::digest(format!("tok_{id}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"token_sha256": hex})
}

const SESSION: (Place, &str) = (
    Place::Platform,
    "with one as (insert into sessions (id, organization_id, title) select id, 'org_1', 't' from unnest($1::text[]) id)
     insert into messages (session_id, role, body) select id, 'user', 'text' from unnest($1::text[]) id, generate_series(1, 3)",
);

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "thing",
        kind: "shop.thing",
        tenant: "t",
        course: Course::Delete,
        params: none,
        fill: &[(Place::Shop, "insert into shop.things (id) select unnest($1::text[])")],
        steps: &[
            undone(step("fence")),
            before(step("wait")),
            before(step("mark")),
            step("finish"),
        ],
    },
    Row {
        name: "computer",
        kind: "factory.computer",
        tenant: "org_1",
        course: Course::Delete,
        params: none,
        fill: &[
            (
                Place::Platform,
                "with one as (
                     insert into computers (id, organization_id, provider_type, provider_id, status)
                     select id, 'org_1', 'e2b', id, 'active' from unnest($1::text[]) id
                 ), two as (
                     insert into api_keys (id, computer_id) select 'key_' || n || id, id
                     from unnest($1::text[]) id, generate_series(1, 2) n
                 ), three as (
                     insert into sessions (id, organization_id, computer_id, title) select 'ses_' || n || id, 'org_1', id, 't'
                     from unnest($1::text[]) id, generate_series(1, 2) n
                 )
                 insert into messages (session_id, role, body) select 'ses_' || n || id, 'user', 'text'
                 from unnest($1::text[]) id, generate_series(1, 2) n, generate_series(1, 3)",
            ),
            (Place::Cloud, ""),
        ],
        steps: &[
            undone(step("fence")),
            before(step("revoke-key")),
            step("archive-sessions"),
            step("mark-archived"),
            step("tear-down"),
            step("set-deleted-at"),
        ],
    },
    Row {
        name: "session",
        kind: "factory.session",
        tenant: "org_1",
        course: Course::Delete,
        params: none,
        fill: &[SESSION],
        steps: &[before(step("feature")), before(step("hide"))],
    },
    Row {
        name: "restored",
        kind: "factory.session",
        tenant: "org_1",
        course: Course::Restore,
        params: none,
        fill: &[SESSION],
        steps: &[before(step("restore"))],
    },
    Row {
        name: "purged",
        kind: "factory.purged",
        tenant: "org_1",
        course: Course::Purge,
        params: none,
        fill: &[SESSION],
        steps: &[before(step("messages")), step("row")],
    },
    Row {
        name: "history",
        kind: "powerdrill.session",
        tenant: "team_blue",
        course: Course::Delete,
        params: |_| json!({"user_id": "u_ann"}),
        fill: &[
            (
                Place::Powerdrill,
                "insert into sessions (id, team, user_id, name) select id, 'team_blue', 'u_ann', 'n' from unnest($1::text[]) id",
            ),
            (
                Place::Powerdrill,
                "insert into jobs (session_id, question, answer)
                 select id, 'q', 'a' from unnest($1::text[]) id, generate_series(1, 12)",
            ),
        ],
        steps: &[
            undone(step("fence")),
            chunked(before(step("job-history"))),
            step("session"),
        ],
    },
    Row {
        name: "guarded",
        kind: "pave.session",
        tenant: "acc",
        course: Course::Delete,
        params: token,
        fill: &[(
            Place::Pave,
            "insert into sessions (session_key, account, status, token) select id, 'acc', 'IDLE', 'tok_' || id
             from unnest($1::text[]) id",
        )],
        steps: &[before(step("token")), before(step("remove"))],
    },
    Row {
        name: "runs",
        kind: "agno.session",
        tenant: "t",
        course: Course::Delete,
        params: none,
        fill: &[
            (
                Place::Agno,
                "with one as (
                     insert into ai.agno_sessions (session_id, session_type, created_at)
                     select id, 'agent', 1760000000 from unnest($1::text[]) id
                 ), two as (
                     insert into ai.agno_transcripts
                     select 'framework', 'project', id || '_external', '', 0, 'said', id, 1760000000 from unnest($1::text[]) id
                 ), three as (
                     insert into ai.agno_compactions select id || '_c', id, 'short', 1760000000 from unnest($1::text[]) id
                 )
                 insert into ai.agno_tool_results select id || '_x', id, 'n', id, 1760000000 from unnest($1::text[]) id",
            ),
            (
                Place::Agno,
                "insert into ai.agno_runs (run_id, session_id, run_type, run_index, run_data, created_at)
                 select id || '_' || n, id, 'agent', n, '{}', 1760000000 from unnest($1::text[]) id, generate_series(1, 12) n",
            ),
        ],
        steps: &[
            chunked(before(step("runs"))),
            step("transcripts"),
            step("compactions"),
            step("tool-results"),
            step("session"),
        ],
    },
];

impl Row {
    pub(super) fn request(&self, id: &str) -> Value {
        let action = match self.course {
            Course::Delete | Course::Purge => "delete",
            Course::Restore => "restore",
        };
        json!({"action": action, "target": {"type": self.kind, "id": id}, "tenant": self.tenant, "key": format!("k-{id}"),
               "params": (self.params)(id)})
    }

    /// What comes before this course: the soft deletion that it takes back, or ends.
    pub(super) fn prelude(&self, id: &str) -> Option<Value> {
        (self.course != Course::Delete).then(|| {
            json!({"target": {"type": self.kind, "id": id}, "tenant": self.tenant, "key": format!("before-{id}")})
        })
    }

    /// How it ends if nothing goes wrong: the course's letter, and its result.
    pub(super) fn end(&self) -> (&'static str, &'static str) {
        match self.course {
            Course::Delete if self.kind == "factory.session" => ("d", "soft_deleted"),
            Course::Delete => ("d", "deleted"),
            Course::Restore => ("r", "restored"),
            Course::Purge => ("p", "deleted"),
        }
    }
}
