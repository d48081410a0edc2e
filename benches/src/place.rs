//! Where a program is measured: a database and a vhost of its own, and a folder with its settings and plans.

use std::path::PathBuf;

use sexton::services::Services;
use tokio::process::Command;

use crate::Fail;

/// What stands in the folder of a place.
pub(crate) struct Stage {
    /// By their paths in the folder.
    files: Vec<(String, String)>,
    settings: String,
}

impl Stage {
    /// A plan of four steps that do nothing. Everything else as it comes, but for the limit of the system that the plan has
    /// to name: nothing is ever called there.
    pub(crate) fn noop() -> Stage {
        let steps: String = ["one", "two", "three", "four"]
            .map(|name| format!("\n[[step]]\nname = \"{name}\"\nnothing = true\n"))
            .concat();
        Stage::of("[systems.nowhere]\nkind = \"archive\"\nfolder = \".\"\nlimit = 1000\n")
            .plan(KIND, &format!("target = \"{KIND}\"\non = \"nowhere\"\n{steps}"))
    }

    /// With these systems, and no plan yet.
    pub(crate) fn of(systems: &str) -> Stage {
        Stage {
            files: Vec::new(),
            settings: format!(
                "[plans]\nfolder = \"plans\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\nlog = \"warn\"\n{systems}"
            ),
        }
    }

    /// For a run in which something is amiss on purpose: nobody is to be warned of it.
    pub(crate) fn quiet(mut self) -> Stage {
        self.settings = self.settings.replace("log = \"warn\"", "log = \"error\"");
        self
    }

    pub(crate) fn plan(self, name: &str, text: &str) -> Stage {
        self.file(&format!("plans/{name}.toml"), text)
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Stage {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }
}

/// The type of the targets that nothing is done with.
pub(crate) const KIND: &str = "bench.noop";

pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) database_url: String,
    pub(crate) amqp_url: String,
    pub(crate) settings: PathBuf,
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) async fn make(services: &Services, name: &str, stage: &Stage) -> Result<Place, Fail> {
        let name = format!("bench_{name}");
        let (database_url, amqp_url) = tokio::try_join!(
            services.urls.create_database(&name),
            services.urls.create_vhost(&name)
        )?;
        let folder = tempfile::tempdir()?;
        let settings = folder.path().join("bench.toml");
        std::fs::create_dir(folder.path().join("plans"))?;
        for (path, text) in &stage.files {
            std::fs::write(folder.path().join(path), text)?;
        }
        std::fs::write(&settings, &stage.settings)?;
        Ok(Place {
            name,
            database_url,
            amqp_url,
            settings,
            folder,
        })
    }

    /// What a program of this place must know.
    pub(crate) fn furnish(&self, command: &mut Command) {
        command
            .env("DATABASE_URL", &self.database_url)
            .env("AMQP_URL", &self.amqp_url)
            .current_dir(self.folder.path())
            .kill_on_drop(true);
    }

    /// Of a file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn clear(self, services: &Services) -> Result<(), Fail> {
        services.urls.drop_database(&self.name).await?;
        services.urls.drop_vhost(&self.name).await?;
        Ok(())
    }
}
