//! Says which chapter the lecture shows on two machines, and what the lecture must know of it:
//! `[package.metadata.lab.lecture]`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{ServiceManifest, packages};
use crate::chapter::Chapter;

/// What the lecture must know of a chapter. The chapter's program has the roles `producer`, which
/// takes `--rate` and runs on VM A beside the broker, and `consumer`, which takes `--work-ms`
/// and runs on VM B. They log their counts as `sent 2, confirmed 1` and
/// `received 3, duplicates 1, effects 2`. Paths begin at the workspace's root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lecture {
    /// The queue between them, which also names its exchange and the consumer's table.
    pub queue: String,
    /// The queue of dead letters.
    pub dead_letters: String,
    /// The vhost on the broker of VM A.
    pub vhost: String,
    /// The volume of the consumer's database on VM B, and the stem of the SQLite file in it.
    pub database: String,
    /// The compose file of VM A. Its project is called `lab-` and the file's stem.
    pub vm_a: PathBuf,
    /// The compose file of VM B, named likewise.
    pub vm_b: PathBuf,
    /// The page that tells how to do it with two real machines.
    pub page: PathBuf,
    /// The chapter's `topology`.
    #[serde(skip)]
    pub topology: PathBuf,
}

impl Lecture {
    /// The chapter whose manifest has the table, and the table.
    ///
    /// # Errors
    /// When the manifests cannot be read, or none has the table.
    pub fn find(root: &Path) -> Result<(Chapter, Self)> {
        for package in packages(root)? {
            let Some(number) = package.name.strip_prefix("lab-") else {
                continue;
            };
            let section = ServiceManifest::read(&package)
                .with_context(|| format!("[package.metadata.lab] of {}", package.name))?;
            if let Some(mut lecture) = section.lecture {
                let topology = section.topology.context("the lecture needs a `topology`")?;
                lecture.topology = topology;
                return Ok((Chapter::resolve(root, number)?, lecture));
            }
        }
        anyhow::bail!("no lab's Cargo.toml has a [package.metadata.lab.lecture]")
    }
}
