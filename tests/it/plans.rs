//! The plans that come with Sexton: what is written under `deploy/plans` is what a person can rely on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sexton::plan::{SystemKind, SystemName, Systems, canonical, from_canonical, parse_plan_for, show};

fn plan_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/plans");
    let entries = std::fs::read_dir(folder).expect("the folder of plans");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    files
}

fn systems() -> Systems {
    BTreeMap::from([
        (SystemName("platform".into()), SystemKind::Postgres),
        (SystemName("shop".into()), SystemKind::Postgres),
        (SystemName("powerdrill".into()), SystemKind::Postgres),
        (SystemName("pave".into()), SystemKind::Postgres),
        (SystemName("agno-main".into()), SystemKind::Postgres),
        (SystemName("cloud".into()), SystemKind::Http),
        (SystemName("archive".into()), SystemKind::Archive),
    ])
}

/// Those that ask a vendor's API: one for each document, with the calls that its service profile has.
#[test]
fn every_plan_for_a_vendor_is_right_and_has_its_call() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(deploy.join("plans/vendor")).expect("the vendors' plans") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let vendor = name.split('.').next().expect("a vendor").to_owned();
        let systems = Systems::from([(SystemName(vendor.clone()), SystemKind::Http)]);
        let text = std::fs::read_to_string(&path).expect("a plan");
        let plan = parse_plan_for(&text, &name, &systems).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(format!("{}.toml", plan.target), name);
        let profile =
            std::fs::read_to_string(deploy.join(format!("services/{vendor}.toml"))).expect("a profile");
        for (line, call) in text
            .lines()
            .filter_map(|line| Some((line, line.strip_prefix("call = ")?)))
        {
            let call = call.trim_matches('"').split('.').nth(1).expect("a call");
            assert!(profile.contains(&format!("[call.{call}]")), "{name}: {line}");
        }
        seen.push(name);
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}

#[test]
fn every_plan_under_deploy_is_right_and_named_after_its_target() {
    let files = plan_files();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a plan");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let plan = parse_plan_for(&text, &name, &systems()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(format!("{}.toml", plan.target), name);
        let (stored, _) = canonical(&plan);
        assert_eq!(from_canonical(&stored).expect("what was stored"), plan);
    }
}

/// What is shown is what is shipped: the demonstration's plan may be less patient, and nothing else.
#[test]
fn the_plans_of_the_demonstration_are_those_that_are_shipped() {
    let steps = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter(|line| {
                !["timeout =", "retry =", "window ="]
                    .iter()
                    .any(|key| line.starts_with(key))
            })
            .collect()
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.join("demo/plans")).expect("the demonstration's plans") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let shown = std::fs::read_to_string(&path).expect("a plan");
        parse_plan_for(&shown, &name, &systems()).unwrap_or_else(|errors| panic!("{errors}"));
        let shipped = std::fs::read_to_string(folder.join("plans").join(&name)).expect("the shipped plan");
        assert_eq!(steps(&shown), steps(&shipped), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 5, "one for each of the five systems");
}

#[test]
fn the_plan_of_a_computer_reads_like_a_list() {
    let text = include_str!("../../deploy/plans/factory.computer.toml");
    let plan = parse_plan_for(text, "factory.computer.toml", &systems()).expect("a plan");
    let (_, hash) = canonical(&plan);
    let shown = show(&plan, &hash);
    let expected = format!("{LISTED}Version {hash}\n");
    assert_eq!(shown, expected);
}

const LISTED: &str = r#"How a factory.computer is deleted, in 6 steps:

0. Look it up at platform: select provider_type from computers where id = :id and organization_id = :tenant and deleted_at is null
   If there is no such row, there is nothing to delete; it ends as absent.
1. fence: at platform, update computers set deletion_requested_at = now(), generation = :generation where id = :id and organization_id = :tenant and generation < :generation
   Believed only if, at platform: select deletion_requested_at is not null from computers where id = :id and organization_id = :tenant
   To take it back: at platform, update computers set deletion_requested_at = null, generation = :generation where id = :id and organization_id = :tenant and generation < :generation
--- The point of no return: up to here all can be taken back. ---
2. revoke-key: at platform, update api_keys set revoked_at = now() where computer_id = :id and revoked_at is null
   Believed only if, at platform: select not exists (select from api_keys where computer_id = :id and revoked_at is null)
3. archive-sessions: keep in archive as {tenant}/{id}/sessions what platform gives for: select s.id, s.computer_id, s.title, s.created_at, (select coalesce(json_agg(json_build_object('id', m.id, 'role', m.role, 'body', m.body, 'created_at', m.created_at) order by m.id), '[]') from messages m where m.session_id = s.id) as messages from sessions s where s.computer_id = :id order by s.id
   Cut off after 20s.
4. mark-archived: at platform, update sessions set archived_at = now() where computer_id = :id and archived_at is null
   Believed only if, at platform: select not exists (select from sessions where computer_id = :id and archived_at is null)
5. tear-down: call terminate of cloud.
   Skipped unless provider_type is not "byom".
   Reads before each attempt, at platform: select provider_id from computers where id = :id and organization_id = :tenant
   If there is no row or a null, it is tried again.
   Tried up to 100 times, 500ms apart at first and 1m at most.
6. set-deleted-at: at platform, update computers set deleted_at = now() where id = :id and organization_id = :tenant and deleted_at is null and not exists (select from api_keys where computer_id = :id and revoked_at is null) and not exists (select from sessions where computer_id = :id and archived_at is null)
   Believed only if, at platform: select deleted_at is not null from computers where id = :id and organization_id = :tenant

If it takes longer than 1h, people are alerted and it goes on.
"#;
