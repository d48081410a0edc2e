//! SECURITY.md says where each bound is; it is there, under that name.

use std::path::Path;

#[test]
fn every_bound_that_is_told_of_is_where_it_is_said_to_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = std::fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let table = told
        .split("## Bounds on what a stranger sends")
        .nth(1)
        .expect("the table");
    let mut looked_at = 0;
    for line in table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("` in `"))
    {
        let place = line.rsplit_once('|').and_then(|(rest, _)| rest.rsplit_once('|'));
        let words: Vec<&str> = place.expect("a last cell").1.split('`').collect();
        let [_, name, " in ", file, _] = words[..] else {
            panic!("`NAME` in `FILE`: {line}")
        };
        let source =
            std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let declared = [format!("const {name}: "), format!("pub {name}: ")];
        assert!(
            declared.iter().any(|declared| source.contains(declared)),
            "{file} has no {name}"
        );
        looked_at += 1;
    }
    assert!(looked_at > 25, "only {looked_at}: looked in the wrong place");
}
