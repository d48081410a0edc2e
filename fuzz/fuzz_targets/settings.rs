//! A settings file, in a folder in which there is one for plans.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: OnceLock<TempDir> = OnceLock::new();

fuzz_target!(|text: &[u8]| {
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("plans")).expect("a folder for plans");
        folder
    });
    let _judged = sexton_fuzz::settings(text, &folder.path().join("sexton.toml"));
});
