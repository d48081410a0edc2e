//! What a plan may not say although it can be read: each rule keeps a first deletion from doing what nobody meant.

use std::collections::BTreeMap;

use sexton::plan::{SystemKind, SystemName, Systems, parse_plan, parse_plan_for};

use crate::plan_errors::{step, tells, top};

#[test]
fn a_statement_uses_known_names_and_touches_only_its_target() {
    let table: &[(String, &[&str])] = &[
        (
            step(r#"chunks = { sql = "delete from t where id = :id", size = 0 }"#),
            &[
                r#"p.toml:5: step "x": chunks.size is 0; wanted 1 to 10000"#,
                r#"p.toml:5: step "x": chunks.sql has no :chunk; wanted `… limit :chunk`, so that one transaction stays small"#,
            ],
        ),
        (
            step(r#"sql = "delete from t where id = :id limit :chunk""#),
            &[r#"p.toml:5: step "x": sql uses chunk, which stands only in chunks.sql"#],
        ),
        (
            step(r#"sql = "delete from t where id = :idd and k = :kind""#),
            &[
                r#"p.toml:5: step "x": sql uses idd, which is not known here; wanted one of: id, tenant, type, deletion_id, generation"#,
                r#"p.toml:5: step "x": sql uses kind, which is not known here; wanted one of: id, tenant, type, deletion_id, generation"#,
            ],
        ),
        (
            step(r#"sql = "delete from t""#),
            &[
                r#"p.toml:5: step "x": sql names nothing of the target, so it would touch every row; wanted :id in it"#,
            ],
        ),
        (
            step(r#"sql = "delete from t where tenant = :tenant""#),
            &[
                r#"p.toml:5: step "x": sql names nothing of the target, so it would touch every row; wanted :id in it"#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where k in (select k from t where id = :id for update skip locked)"
[[step]]
name = "y"
chunks = { sql = "delete from t where k in (select k from t where id = :id limit :chunk for update SKIP LOCKED)" }"#,
            ),
            &[
                r#"p.toml:5: step "x": sql has `skip locked`, so what somebody else holds for a moment is passed over, and the step ends without it; wanted the statement without, which waits"#,
                r#"p.toml:8: step "y": chunks.sql has `skip locked`, so what somebody else holds for a moment is passed over, and the step ends without it; wanted the statement without, which waits"#,
            ],
        ),
        (
            step(r#"sql = "truncate t""#),
            &[
                r#"p.toml:5: step "x": sql begins with "truncate"; wanted one of: delete, update, insert, merge, select, with"#,
                r#"p.toml:5: step "x": sql names nothing of the target, so it would touch every row; wanted :id in it"#,
            ],
        ),
        (
            step(r#"sql = "vacuum t""#),
            &[
                r#"p.toml:5: step "x": sql begins with "vacuum"; wanted one of: delete, update, insert, merge, select, with"#,
                r#"p.toml:5: step "x": sql names nothing of the target, so it would touch every row; wanted :id in it"#,
            ],
        ),
    ];
    for (text, wanted) in table {
        tells(text, parse_plan(text, "p.toml"), wanted);
    }
}

#[test]
fn undo_stands_before_the_pivot_and_asks_for_a_generation() {
    let table: &[(String, &[&str])] = &[
        (
            step(
                r#"sql = "delete from t where id = :id"
undo = "update t set g = :generation where id = :id and g < :generation""#,
            ),
            &[
                r#"p.toml:5: step "x": sql does not compare :generation, and the step has an undo; wanted `set generation = :generation … and generation < :generation`, else a frozen worker that wakes late repeats what was reversed"#,
            ],
        ),
        (
            step(
                r#"sql = "update t set g = :generation where id = :id and g < :generation"
undo = "update t set d = null where id = :id""#,
            ),
            &[
                r#"p.toml:6: step "x": undo does not compare :generation, and the step has an undo; wanted `set generation = :generation … and generation < :generation`, else a frozen worker that wakes late repeats what was reversed"#,
            ],
        ),
        (
            step(
                r#"sql = "update t set g = :generation where id = :id and g < :generation"
undo = "update t set g = :generation where id = :id""#,
            ),
            &[
                r#"p.toml:6: step "x": undo does not compare :generation, and the step has an undo; wanted `set generation = :generation … and generation < :generation`, else a frozen worker that wakes late repeats what was reversed"#,
            ],
        ),
        (
            step(
                r#"sql = "update t set g = :generation where id = :id and g <> :generation and at < now()"
undo = "update t set g = :generation where id = :id and data->>'g' = :generation""#,
            ),
            &[
                r#"p.toml:5: step "x": sql does not compare :generation, and the step has an undo; wanted `set generation = :generation … and generation < :generation`, else a frozen worker that wakes late repeats what was reversed"#,
                r#"p.toml:6: step "x": undo does not compare :generation, and the step has an undo; wanted `set generation = :generation … and generation < :generation`, else a frozen worker that wakes late repeats what was reversed"#,
            ],
        ),
        (
            step(
                r#"sql = "update t set g = :generation where id = :id and g < :generation"
undo = { call = "cloud.x" }"#,
            ),
            &[r#"p.toml:6: step "x": undo.call is at system "cloud"; wanted the step's own, "db""#],
        ),
        (
            step(
                r#"call = "cloud.do"
undo = "update t set g = :generation where id = :id and g < :generation""#,
            ),
            &[
                r#"p.toml:6: step "x": undo is a statement and the step is a call; wanted undo = { call = "system.call" }"#,
            ],
        ),
        (
            step(
                r#"call = "cloud.do"
undo = { call = "sky.undo" }"#,
            ),
            &[r#"p.toml:6: step "x": undo.call is at system "sky"; wanted the step's own, "cloud""#],
        ),
        (
            step(
                r#"sql = "update t set g = :generation where id = :id and g < :generation"
undo = "update t set g = :generation where id = :id and g < :generation"
if_failed = "orphan""#,
            ),
            &[
                r#"p.toml:7: step "x": if_failed = "orphan" stands only from the pivot on; wanted "park" or "undo""#,
            ],
        ),
        (
            step(
                r#"sql = "update t set g = :generation where id = :id and g < :generation"
undo = "update t set g = :generation where id = :id and g < :generation"
pivot = true"#,
            ),
            &[r#"p.toml:6: step "x": has an undo and is the pivot; wanted one or the other"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
[[step]]
name = "y"
sql = "update t set g = :generation where id = :id and g < :generation"
undo = "update t set g = :generation where id = :id and g < :generation""#,
            ),
            &[
                r#"p.toml:9: step "y": has an undo after the point of no return, "x"; wanted it before that, or without undo"#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
[[step]]
name = "y"
pivot = true
sql = "delete from t where id = :id"
[[step]]
name = "z"
pivot = true
none = "refused"
sql = "delete from t where id = :id""#,
            ),
            &[
                r#"p.toml:3: step "x": has no undo and stands before the pivot "y"; wanted an undo, or undo = { nothing = true } if nothing is to be taken back, or its place after the pivot"#,
                r#"p.toml:12: step "z": is a second pivot; wanted only one, and "y" is it"#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
[[step]]
name = "y"
none = "refused"
sql = "delete from t where id = :id"
[[step]]
name = "Y z"
sql = "delete from t where id = :id""#,
            ),
            &[
                r#"p.toml:8: step "y": none = "refused" stands only up to the pivot; wanted "already_gone" or "again""#,
                r#"p.toml:11: step "Y z": name wants 1 to 48 of a-z, 0-9, `-` and `_`"#,
            ],
        ),
    ];
    for (text, wanted) in table {
        tells(text, parse_plan(text, "p.toml"), wanted);
    }
}

#[test]
fn systems_exist_and_are_of_the_right_kind() {
    let systems: Systems = BTreeMap::from([
        (SystemName("db".into()), SystemKind::Postgres),
        (SystemName("cloud".into()), SystemKind::Http),
    ]);
    let table: &[(String, &[&str])] = &[
        (
            step(
                r#"on = "cloud"
sql = "delete from t where id = :id""#,
            ),
            &[r#"p.toml:5: step "x": system "cloud" is an http system; wanted a postgres system"#],
        ),
        (
            step(
                r#"call = "db.x"
verify = { on = "dbb", sql = "select true from t where id = :id" }"#,
            ),
            &[
                r#"p.toml:5: step "x": system "db" is a postgres system; wanted an http system"#,
                r#"p.toml:6: step "x": system "dbb" is not in the settings; wanted one of: cloud, db"#,
            ],
        ),
        (
            step(r#"archive = { rows = "select a from t where id = :id", to = "{tenant}/{id}" }"#),
            &[r#"p.toml:5: step "x": system "archive" is not in the settings; wanted one of: cloud, db"#],
        ),
        (
            step(
                r#"archive = { rows = "select a from t where id = :id", to = "{tenant}/{id}", store = "cloud" }"#,
            ),
            &[r#"p.toml:5: step "x": system "cloud" is an http system; wanted an archive system"#],
        ),
    ];
    for (text, wanted) in table {
        tells(text, parse_plan_for(text, "p.toml", &systems), wanted);
    }
}

#[test]
fn params_deadline_and_lookup_are_checked() {
    let table: &[(String, &[&str])] = &[
        (
            top(r#"sql = "delete from t where id = :id"
params = { id = "text", "a-b" = "text", n = "number", m = 3 }"#),
            &[
                r#"p.toml:4: params: "a-b" cannot be written as :name; wanted a-z, 0-9 and _"#,
                r#"p.toml:4: params: m is 3; wanted one of: "text", "text?", "integer", "integer?", "boolean", "boolean?" (a `?` may be left out)"#,
                r#"p.toml:4: params: n is "number"; wanted one of: "text", "text?", "integer", "integer?", "boolean", "boolean?" (a `?` may be left out)"#,
            ],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
params = { id = "text" }"#),
            &[r#"p.toml:4: params: "id" is a built-in name; wanted another"#],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
params = 3"#),
            &["p.toml:4: params: found 3; wanted a table"],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
deadline = { then = "panic" }"#),
            &[
                r#"p.toml:4: deadline.after is missing; wanted a time like "1h""#,
                r#"p.toml:4: deadline.then is "panic"; wanted one of: "alert", "park""#,
            ],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
deadline = { after = "10years" }"#),
            &["p.toml:4: deadline.after is 10years; wanted 1s to 1year"],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
deadline = "1h""#),
            &[r#"p.toml:4: deadline is "1h"; wanted { after = "1h", then = "alert" }"#],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
lookup = { none = "again" }"#),
            &[
                "p.toml:4: lookup: sql is missing; wanted a query for the one row that is the target",
                r#"p.toml:4: lookup: none is "again"; wanted one of: "absent", "already_gone", "refused""#,
            ],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
lookup = { sql = "select id, tenant as x from t where id = :kind", timeout = "25s" }"#),
            &[
                "p.toml:4: lookup: timeout is 25s; wanted 100ms to 20s",
                "p.toml:4: lookup: sql uses kind, which is not known here; wanted one of: id, tenant, type, deletion_id, generation",
                "p.toml:4: lookup: sql gives a column id, which is a built-in name; wanted another name (`id as …`)",
            ],
        ),
        (
            top(r#"params = { p = "text?" }
[lookup]
sql = "select kind from t where id = :id"
[[step]]
name = "x"
when = { p = "a", kind = "b", kin = "c" }
read = "select p from t where id = :id"
sql = "delete from t where a = :p and b = :kind and c = :kid""#),
            &[
                r#"p.toml:8: step "x": when asks for kin, which is not known before the step; wanted one of: id, tenant, type, p, kind"#,
                r#"p.toml:8: step "x": when compares p, which a request may leave out; wanted present = true or false beside it"#,
                r#"p.toml:9: step "x": read gives a column p, which is a param; wanted another name (`p as …`)"#,
                r#"p.toml:10: step "x": sql uses kid, which is not known here; wanted one of: id, tenant, type, deletion_id, generation, p, kind"#,
            ],
        ),
    ];
    for (text, wanted) in table {
        tells(text, parse_plan(text, "p.toml"), wanted);
    }
}

#[test]
fn a_guard_locks_the_row_of_its_target_and_stands_up_to_the_pivot() {
    const GUARDED: &str = r#"
target = "a.b"
on = "db"
[[step]]
name = "x"
sql = "delete from t where id = :id"
[step.guard]
sql = "select idle from t where id = :id for update"
otherwise = "it is in use"
"#;
    let errors = |from: &str, to: &str| {
        let text = GUARDED.replace(from, to);
        parse_plan(&text, "p.toml").map_or_else(|errors| errors.to_string(), |_| String::new())
    };
    assert_eq!(errors("", ""), "");
    for lock in ["for share", "for no key update", "for update of t nowait"] {
        assert_eq!(errors("for update", lock), "", "{lock}");
    }
    for (from, to, wanted) in [
        (
            " for update",
            "",
            "step \"x\": guard.sql does not lock the row it looks at",
        ),
        (
            "where id = :id for",
            "where 'for update' <> '' for",
            "guard.sql names nothing of the target",
        ),
        (
            "select idle from t where id = :id",
            "update t set a = 1 where id = :id returning a",
            "wanted a query",
        ),
        (
            "for update",
            "for update skip locked",
            "guard.sql has `skip locked`, so what somebody else holds",
        ),
        (
            "select idle from",
            "select idle, size from",
            "guard.sql gives 2 columns; wanted one, a boolean",
        ),
        (
            "it is in use",
            "it is\\nin use",
            "guard.otherwise is no line that can be told",
        ),
        ("otherwise = \"it is in use\"", "", "guard.otherwise is missing"),
        (
            "it is in use",
            &"x".repeat(201),
            "guard.otherwise is longer than 200 characters",
        ),
        (
            "[[step]]\nname = \"x\"",
            "[[step]]\nname = \"w\"\nsql = \"delete from u where id = :id\"\n[[step]]\nname = \"x\"",
            "guard stands only up to the pivot",
        ),
        (
            "sql = \"delete from t where id = :id\"",
            "nothing = true",
            "guard stands in the statement's transaction; wanted it with sql only, found it with nothing",
        ),
    ] {
        let found = errors(from, to);
        assert!(found.contains(wanted), "{to}:\n{found}\nwanted {wanted}");
    }
}
