//! What a person is told who wrote a plan wrong: each message names the file, the line, what stands there and
//! what is wanted.

use sexton::plan::{Plan, PlanErrors, STEPS_MAX, parse_plan};

pub(crate) fn top(body: &str) -> String {
    format!("target = \"a.b\"\non = \"db\"\n{body}")
}

/// A plan of one step, whose body begins at line 5.
pub(crate) fn step(body: &str) -> String {
    top(&format!("[[step]]\nname = \"x\"\n{body}"))
}

#[track_caller]
pub(crate) fn tells(text: &str, result: Result<Plan, PlanErrors>, wanted: &[&str]) {
    let errors = result
        .map(|_| String::new())
        .unwrap_or_else(|errors| errors.to_string());
    assert_eq!(errors.lines().collect::<Vec<_>>(), wanted, "\n{text}");
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let table: &[(String, &[&str])] = &[
        (
            String::new(),
            &[
                r#"p.toml:1: target is missing; wanted a type like "factory.computer""#,
                "p.toml:1: says nothing to do; wanted sql, or [[step]] tables",
                "p.toml:1: on is missing; wanted the name of a system, here or once at the top of the plan",
            ],
        ),
        (
            r#"target = "a.b"
on = "#
                .to_owned(),
            &["p.toml:2: not TOML: string values must be quoted, expected literal string"],
        ),
        (
            r#"target = "a.b"
target = "c""#
                .to_owned(),
            &["p.toml:2: not TOML: duplicate key"],
        ),
        (
            r#"target = "A"
on = "Db"
sql = 3"#
                .to_owned(),
            &[
                r#"p.toml:1: target is "A"; wanted a type like `factory.computer`: lower-case words of a-z, 0-9, `_` or `-` joined by dots, at most 64 characters"#,
                r#"p.toml:2: on names "Db"; wanted a system's name: a-z, 0-9, `_` or `-`, at most 64 characters"#,
                "p.toml:3: sql is 3; wanted a statement",
            ],
        ),
        (
            r#"target = "a"
sql = "delete from t where id = :id""#
                .to_owned(),
            &["p.toml:1: on is missing; wanted the name of a system, here or once at the top of the plan"],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
nome = "again"
none = "gone""#),
            &[
                r#"p.toml:4: unknown key "nome"; wanted one of: target, on, params, choose, lookup, step, sql, none, timeout, retry, deadline, tombstone, watch, restore, purge"#,
                r#"p.toml:5: none is "gone"; wanted one of: "already_gone", "again", "refused""#,
            ],
        ),
        (
            top(r#"sql = "delete from t where id = :id"
[[step]]
name = "x""#),
            &["p.toml:3: found both sql and [[step]]; wanted sql alone for a plan of one step"],
        ),
        (
            top(r#"none = "again"
[[step]]
name = "x"
sql = "delete from t where id = :id""#),
            &["p.toml:3: none stands beside sql; wanted it in the step or the lookup that it is about"],
        ),
        (top("step = 3"), &["p.toml:3: step is 3; wanted [[step]] tables"]),
        (top("step = [3]"), &["p.toml:3: step 1: found 3; wanted a table"]),
        (
            top(r#"[[step]]
sqll = "delete""#),
            &[
                r#"p.toml:3: step 1: name is missing; wanted a short name, like "revoke-key""#,
                "p.toml:3: step 1: says nothing to do; wanted one of: sql, call, archive, chunks, nothing",
                r#"p.toml:4: step 1: unknown key "sqll"; wanted one of: name, on, sql, none, guard, call, archive, chunks, nothing, when, read, undo, pivot, verify, timeout, retry, if_failed"#,
            ],
        ),
        (
            step(r#"sqll = "delete from t where id = :id""#),
            &[
                r#"p.toml:4: step "x": says nothing to do; wanted one of: sql, call, archive, chunks, nothing"#,
                r#"p.toml:5: step "x": unknown key "sqll"; wanted one of: name, on, sql, none, guard, call, archive, chunks, nothing, when, read, undo, pivot, verify, timeout, retry, if_failed"#,
            ],
        ),
        (
            step(r#"sql = "delete from t where id = $1""#),
            &[r#"p.toml:5: step "x": sql: found $1 written by hand; wanted a name, like :id"#],
        ),
        (
            step(r#"sql = "delete from t where id = :id; delete from u""#),
            &[
                r#"p.toml:5: step "x": sql: found several statements; wanted one (a step is one statement: make it two steps)"#,
            ],
        ),
        (
            step(r#"sql = """#),
            &[r#"p.toml:5: step "x": sql is an empty text; wanted a statement"#],
        ),
        (
            step(r#"sql = "delete from t where id = ':id""#),
            &[r#"p.toml:5: step "x": sql: a text in quotes is never closed"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
call = "cloud.x""#,
            ),
            &[
                r#"p.toml:6: step "x": found both sql and call; wanted one of: sql, call, archive, chunks, nothing"#,
            ],
        ),
        (
            step(r#"call = "terminate""#),
            &[r#"p.toml:5: step "x": call is "terminate"; wanted SYSTEM.CALL, like "cloud.terminate""#],
        ),
        (
            step(
                r#"call = "cloud.x"
on = "cloud"
none = "again""#,
            ),
            &[
                r#"p.toml:6: step "x": found both on and call; wanted call alone, which names its system"#,
                r#"p.toml:7: step "x": none tells what 0 rows mean; wanted it with sql only, found it with call"#,
            ],
        ),
        (
            step("nothing = false"),
            &[r#"p.toml:5: step "x": nothing is false; wanted true, or something to do"#],
        ),
        (
            step(r#"archive = "x""#),
            &[
                r#"p.toml:5: step "x": archive is "x"; wanted { rows = "select …", to = "{tenant}/{id}/rows" }"#,
            ],
        ),
        (
            step(r#"archive = { rows = "select a from t where id = :id" }"#),
            &[r#"p.toml:5: step "x": archive.to is missing; wanted a path, like "{tenant}/{id}/sessions""#],
        ),
        (
            step(r#"archive = { rows = "delete from t where id = :id", to = "/{tenant}//{id" }"#),
            &[
                r#"p.toml:5: step "x": archive.to: found a `{` that is never closed; wanted {name}, or `{{` for the sign itself"#,
            ],
        ),
        (
            step(
                r#"archive = { rows = "delete from t where id = :id", to = "/{tenant}//{ident}", store = "arch ive" }"#,
            ),
            &[
                r#"p.toml:5: step "x": archive.store names "arch ive"; wanted a system's name: a-z, 0-9, `_` or `-`, at most 64 characters"#,
            ],
        ),
        (
            step("chunks = { size = 0 }"),
            &[
                r#"p.toml:5: step "x": chunks.sql is missing; wanted a statement that removes at most :chunk rows"#,
            ],
        ),
    ];
    for (text, wanted) in table {
        tells(text, parse_plan(text, "p.toml"), wanted);
    }
}

#[test]
fn bounds_choices_and_queries_are_checked() {
    let table: &[(String, &[&str])] = &[
        (
            step(
                r#"sql = "delete from t where id = :id"
timeout = "30s""#,
            ),
            &[r#"p.toml:6: step "x": timeout is 30s; wanted 100ms to 20s"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
timeout = "30""#,
            ),
            &[r#"p.toml:6: step "x": timeout is "30"; wanted a time like "500ms", "10s" or "1h""#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
timeout = 30"#,
            ),
            &[r#"p.toml:6: step "x": timeout is 30; wanted a time like "500ms", "10s" or "1h""#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
retry = { attempts = 0, base = "1s", max = "500ms", jitter = 1 }"#,
            ),
            &[r#"p.toml:6: step "x": unknown key "retry.jitter"; wanted one of: attempts, base, max"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
retry = { attempts = 101, base = "1s", max = "500ms" }"#,
            ),
            &[
                r#"p.toml:6: step "x": retry.attempts is 101; wanted 1 to 100"#,
                r#"p.toml:6: step "x": retry.max is 500ms; wanted 1s to 1day"#,
            ],
        ),
        (
            top(r#"timeout = "1m"
retry = { base = "1ms" }
[[step]]
name = "x"
sql = "delete from t where id = :id"
[[step]]
name = "x"
sql = "delete from t where id = :id""#),
            &[
                "p.toml:3: timeout is 1m; wanted 100ms to 20s",
                "p.toml:4: retry.base is 1ms; wanted 10ms to 1day",
                r#"p.toml:9: step "x": another step has this name; wanted one of its own"#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
if_failed = "undo""#,
            ),
            &[
                r#"p.toml:6: step "x": if_failed = "undo" stands only before the pivot; wanted "park" or "orphan""#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
if_failed = "retry""#,
            ),
            &[r#"p.toml:6: step "x": if_failed is "retry"; wanted one of: "park", "undo", "orphan""#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
pivot = "yes""#,
            ),
            &[r#"p.toml:6: step "x": pivot is "yes"; wanted true or false"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
when = {}"#,
            ),
            &[r#"p.toml:6: step "x": when has no test; wanted { fact = "value" }"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
when = { kind = 1.5 }"#,
            ),
            &[r#"p.toml:6: step "x": when.kind is 1.5; wanted a text, a whole number or a boolean"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
when = { kind = { is = 1 } }"#,
            ),
            &[r#"p.toml:6: step "x": unknown key "when.kind.is"; wanted one of: not, in, present"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
when = { kind = [] }"#,
            ),
            &[
                r#"p.toml:6: step "x": when.kind is a list; wanted a list of texts, whole numbers or booleans"#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
when = { kind = { not = "a" }, generation = 1 }"#,
            ),
            &[
                r#"p.toml:6: step "x": when asks for generation, which is not known before the step; wanted one of: id, tenant, type"#,
                r#"p.toml:6: step "x": when asks for kind, which is not known before the step; wanted one of: id, tenant, type"#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
read = 3"#,
            ),
            &[r#"p.toml:6: step "x": read is 3; wanted a query, or { on = "system", sql = "select …" }"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
read = { sql = "select a from t", of = 1 }"#,
            ),
            &[r#"p.toml:6: step "x": unknown key "read.of"; wanted one of: on, sql"#],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
verify = "delete from t where id = :id""#,
            ),
            &[
                r#"p.toml:6: step "x": verify begins with "delete"; wanted a query that begins with select or with"#,
            ],
        ),
        (
            step(
                r#"sql = "delete from t where id = :id"
undo = 3"#,
            ),
            &[
                r#"p.toml:6: step "x": undo is 3; wanted a statement, { call = "system.call" } or { nothing = true }"#,
            ],
        ),
    ];
    for (text, wanted) in table {
        tells(text, parse_plan(text, "p.toml"), wanted);
    }
}

#[test]
fn a_plan_is_bounded() {
    let long = step(&format!("sql = \"select '{}' where :id\"", "x".repeat(20_000)));
    let wanted = [r#"p.toml:5: step "x": sql: the statement has 20019 bytes; wanted at most 16384"#];
    tells("a long statement", parse_plan(&long, "p.toml"), &wanted);

    let steps: String = (0..=STEPS_MAX)
        .map(|number| format!("[[step]]\nname = \"s{number}\"\nnothing = true\n"))
        .collect();
    let wanted = ["p.toml:3: 33 steps; wanted 1 to 32"];
    tells("many steps", parse_plan(&top(&steps), "p.toml"), &wanted);

    let comment = top(&format!("# {}\n", "x".repeat(2_000_000)));
    let wanted = ["p.toml:1: 2000028 bytes; wanted at most 1048576"];
    tells("a large file", parse_plan(&comment, "p.toml"), &wanted);
}

/// However a plan is broken, it is either still a plan or something is said about it.
#[test]
fn no_broken_plan_is_refused_without_a_word() {
    let whole = include_str!("../../deploy/plans/factory.computer.toml");
    let mut broken: Vec<String> = Vec::new();
    let lines: Vec<&str> = whole.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let with = |new: &[&str]| {
            let mut all = lines.clone();
            all.splice(number..=number, new.iter().copied());
            all.join("\n")
        };
        broken.push(with(&[]));
        broken.push(with(&[line, line]));
        if let Some((key, _)) = line.split_once('=') {
            for value in ["3", "\"\"", "\"x\"", "[]", "{}", "{ a = 1 }", "true", "[{}]"] {
                broken.push(with(&[&format!("{key}= {value}")]));
            }
        }
    }
    let cuts = whole.char_indices().map(|(at, _)| whole[..at].to_owned());
    for text in broken.into_iter().chain(cuts) {
        if let Err(errors) = parse_plan(&text, "p.toml") {
            assert!(!errors.0.is_empty(), "{text}");
        }
    }
}
