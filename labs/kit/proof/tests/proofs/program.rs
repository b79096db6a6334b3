//! A test program of a chapter's solution: its checks, or its search. It looks at other programs, too.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use command::quiet_cargo::cargo;
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use serde_json::Value;

/// The program, not built yet or built.
pub struct Program {
    paths: Paths,
    package: String,
    test: &'static str,
    features: &'static [&'static str],
    built: OnceLock<PathBuf>,
}

impl Program {
    /// The test program of that name of `chapter`, not built yet, and how cargo is told its features.
    pub fn new(
        paths: &Paths,
        chapter: &Chapter,
        test: &'static str,
        features: &'static [&'static str],
    ) -> Self {
        Self {
            paths: paths.clone(),
            package: chapter.package(Variant::Solution),
            test,
            features,
            built: OnceLock::new(),
        }
    }

    /// Builds it, and the solution.
    pub fn build(&self) -> Result<()> {
        let (test, package) = (self.test, &self.package);
        let build = ["test", "--no-run", "--message-format=json"];
        let what = ["--test", test, "-p", package];
        let said = cargo(&self.paths, &[&build[..], &what, self.features].concat())?;
        let path = said.lines().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let ours = message["target"]["name"] == test;
            Some(PathBuf::from(
                message["executable"].as_str().filter(|_| ours)?,
            ))
        });
        let path = path.with_context(|| format!("cargo built no {test} of {package}"))?;
        // It is built once, so this is not set yet.
        let _ = self.built.set(path);
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> Result<&Path> {
        let path = self.built.get().map(PathBuf::as_path);
        path.with_context(|| format!("the {} are not built", self.test))
    }
}
