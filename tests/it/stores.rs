//! The shipped plans on stores of their systems' shapes: databases of their own, filled by the generator of the
//! demonstration.

use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::heard::Event;
use crate::house::House;

impl House {
    /// Another database, which the settings know by this name.
    pub(crate) async fn store(&mut self, name: &str) -> PgPool {
        let url = self.world.another_database(name).await;
        self.also_settings(&format!(
            "[systems.{name}]\nkind = \"postgres\"\nurl = {url:?}\nmax_connections = 4\nbreaker_failures = 1000\n\
             breaker_pause = \"100ms\"\n"
        ));
        PgPoolOptions::new()
            .max_connections(4)
            .connect(&url)
            .await
            .expect("the store")
    }

    /// Where such a store is, for programs that are not ours.
    pub(crate) fn store_url(&self, name: &str) -> String {
        self.world.url_of_database(name)
    }

    /// A plan as it is shipped, but for its patience, and for what a test cannot wait for.
    pub(crate) fn shipped(&self, target: &str, changes: &[(&str, &str)]) {
        self.shipped_as(target, target, changes);
    }

    /// The same for targets of another type.
    pub(crate) fn shipped_as(&self, target: &str, name: &str, changes: &[(&str, &str)]) {
        let file = format!("{}/deploy/plans/{target}.toml", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(&file).expect("a shipped plan");
        for (from, to) in changes {
            assert!(text.contains(from), "{from} in {file}");
            text = text.replace(from, to);
        }
        let on = text
            .lines()
            .find(|line| line.starts_with("on "))
            .expect("its system")
            .to_owned();
        let quick = "timeout = \"1s\"\nretry = { attempts = 100, base = \"20ms\", max = \"1s\" }";
        let text = text.replacen(&on, &format!("{on}\n{quick}"), 1);
        self.plan(
            name,
            &text.replacen(&format!("{target:?}"), &format!("{name:?}"), 1),
        );
    }

    /// Asks for a delete and waits for its outcome.
    pub(crate) async fn deleted(
        &self,
        target: &str,
        tenant: &str,
        id: &str,
        key: &str,
        params: Value,
    ) -> Event {
        self.ended(json!({
            "target": {"type": target, "id": id}, "tenant": tenant, "key": key, "params": params,
        }))
        .await
    }
}
