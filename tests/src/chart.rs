//! The Helm chart and what it becomes. A Go program renders it with Helm's own engine and knows Kubernetes' schemas.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::programs::must_run;
use crate::session::{cache_folder, lock, workspace};
use crate::tools::require;

/// What a chart becomes with one file of values.
#[derive(Debug, Deserialize)]
pub struct Rendered {
    /// All objects, as `helm template` prints them.
    pub text: String,
    /// The objects.
    pub objects: Vec<Value>,
    /// What is said after an installation.
    pub notes: String,
    /// Why the chart takes no such values; empty where it does.
    pub refused: String,
    /// Why Kubernetes would not take the objects.
    pub invalid: Vec<String>,
}

impl Rendered {
    /// The object of this kind, of which there is one at the most.
    pub fn object(&self, kind: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind)
    }
}

/// The chart.
pub fn folder() -> PathBuf {
    workspace().join("packaging/helm/profiler")
}

/// Files of values in a folder of `tests/kubernetes`.
pub fn values(folder: &str) -> Vec<PathBuf> {
    let folder = workspace().join("tests/kubernetes").join(folder);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    files.sort();
    files
}

/// Renders a chart with its own values, under the name "", and with those of each file, under its name.
pub fn render(chart: &Path, values: &[PathBuf]) -> BTreeMap<String, Rendered> {
    require("go", "golang");
    // Two that build at once would build the same.
    let _lock = lock("kubernetes");
    let program = cache_folder().join("kubernetes");
    // Not optimised: that takes a quarter less time, the first time.
    let mut build = Command::new("go");
    build
        .args(["build", "-buildvcs=false", "-gcflags=all=-N -l", "-ldflags=-s -w", "-o"])
        .arg(&program)
        .arg(".");
    must_run(build.current_dir(workspace().join("tests/kubernetes")));
    let told = must_run(Command::new(&program).arg(chart).args(values));
    serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e} in {told}"))
}
