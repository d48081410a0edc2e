//! The worlds of the table's rows: their tables, with a ledger on each, and the shipped plans on them.

use super::rows::Place;
use crate::house::House;

/// The databases, with the tables in which a change is a change of state: their keys, and what names the target.
pub(super) type World = (
    Place,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str, [&'static str; 2])],
);
pub(super) const WORLDS: &[World] = &[
    (
        Place::Platform,
        "platform",
        crate::worlds::platform::SCHEMA,
        &[
            ("computers", "id", ["id", "id"]),
            ("api_keys", "id", ["computer_id", "id"]),
            ("sessions", "id", ["computer_id", "id"]),
            ("messages", "id", ["session_id", "id"]),
        ],
    ),
    (
        Place::Powerdrill,
        "powerdrill",
        crate::worlds::powerdrill::SCHEMA,
        &[
            ("sessions", "id", ["id", "id"]),
            ("jobs", "id", ["session_id", "id"]),
        ],
    ),
    (
        Place::Pave,
        "pave",
        crate::worlds::pave::SCHEMA,
        &[("sessions", "session_key", ["session_key", "session_key"])],
    ),
    (
        Place::Agno,
        "agno-main",
        include_str!("../../../deploy/demo/agno.sql"),
        &[
            ("ai.agno_sessions", "session_id", ["session_id", "session_id"]),
            ("ai.agno_runs", "run_id", ["session_id", "session_id"]),
            (
                "ai.agno_transcripts",
                "session_id",
                ["agno_session_id", "agno_session_id"],
            ),
            (
                "ai.agno_compactions",
                "compaction_id",
                ["session_id", "session_id"],
            ),
            ("ai.agno_tool_results", "result_id", ["session_id", "session_id"]),
        ],
    ),
];

/// Steps must be over before a lease is, and a lease must be short enough to be waited for.
const TIMEOUT: (&str, &str) = ("timeout = \"20s\"", "timeout = \"1s\"");

pub(super) fn plans(house: &House) {
    house.shipped(
        "factory.computer",
        &[
            TIMEOUT,
            (
                "base = \"500ms\", max = \"1m\"",
                "base = \"20ms\", max = \"100ms\"",
            ),
        ],
    );
    house.shipped("factory.session", &[]);
    house.shipped("powerdrill.session", &[("size = 5000", "size = 5")]);
    house.shipped("pave.session", &[]);
    house.shipped("agno.session", &[("size = 1000", "size = 5")]);
    house.shipped_as("factory.session", "factory.purged", &[]);
}
