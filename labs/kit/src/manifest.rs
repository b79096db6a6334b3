//! What a chapter's Cargo.toml says of its services, under `[package.metadata.lab]`.
//!
//! ```toml
//! [package.metadata.lab]
//! try = ["curl -s http://127.0.0.1:{history}/history"]
//!
//! [[package.metadata.lab.services]]
//! role = "history"
//! port = 4001
//! env = { OTHER_URL = "http://127.0.0.1:{other}" }
//! ```
//!
//! `{role}` stands for the port that the role got.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::chapter::Chapter;

/// What there is to start of a chapter, and to try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// The lines to type once it runs, with `{role}` for ports.
    #[serde(default, rename = "try")]
    pub tries: Vec<String>,
    /// The services, in the order in which they are started.
    #[serde(default)]
    pub services: Vec<Role>,
    /// Whether the chapter talks to a broker: its package depends on lapin.
    #[serde(skip)]
    pub broker: bool,
}

/// One service of a chapter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The program's first argument.
    pub role: String,
    /// The TCP port tried first, on loopback.
    pub port: u16,
    /// Its environment beyond what each service gets, with `{role}` for ports.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// One package of the workspace, as far as the lab asks.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name: `lab-02`.
    pub name: String,
    /// What it builds.
    pub targets: Vec<Target>,
    dependencies: Vec<Dependency>,
    metadata: Option<serde_json::Value>,
}

/// One thing that a package builds.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it is: `bin`, `test`, `lib`.
    pub kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
}

/// The packages of the workspace at `root`.
///
/// # Errors
/// When cargo cannot be asked, or a manifest does not parse.
pub fn packages(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("cargo cannot read the manifests: {}", words.trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata.packages)
}

impl Scene {
    /// What the manifest of a chapter's lab says. The solution is played the same way.
    ///
    /// # Errors
    /// When the manifests cannot be read, or the section is not as described above.
    pub fn of(root: &Path, chapter: &Chapter) -> Result<Self> {
        let name = chapter.package(crate::chapter::Variant::Lab);
        let package = packages(root)?
            .into_iter()
            .find(|package| package.name == name)
            .with_context(|| format!("no package {name} in the workspace"))?;
        Self::read(&package).with_context(|| format!("[package.metadata.lab] of {name}"))
    }

    fn read(package: &Package) -> Result<Self> {
        let lab = package.metadata.as_ref().and_then(|all| all.get("lab"));
        let mut scene: Self = match lab {
            Some(lab) => Self::deserialize(lab)?,
            None => Self::default(),
        };
        scene.broker = package.dependencies.iter().any(|on| on.name == "lapin");
        // Each placeholder must name a role; finding out at the curl line would be late.
        let ports = scene
            .services
            .iter()
            .map(|role| (role.role.clone(), role.port));
        let ports: BTreeMap<String, u16> = ports.collect();
        let env = scene.services.iter().flat_map(|role| role.env.values());
        for text in env.chain(&scene.tries) {
            fill(text, &ports)?;
        }
        Ok(scene)
    }
}

/// `text` with the ports of the roles filled in. Other braces, as in JSON, stay.
///
/// # Errors
/// When braces hold a word that is no role.
pub fn fill(text: &str, ports: &BTreeMap<String, u16>) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled += before;
        let word = after.split_once('}').filter(|(word, _)| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        });
        match word {
            Some((word, behind)) => {
                let port = ports.get(word);
                filled += &port
                    .with_context(|| format!("no role `{word}`"))?
                    .to_string();
                rest = behind;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    Ok(filled + rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn package(json: &str) -> Package {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn services_and_lines_to_try() {
        let scene = Scene::read(&package(
            r#"{"name":"lab-02","targets":[],"dependencies":[{"name":"lapin"}],
                "metadata":{"lab":{"try":["curl :{history}"],"services":[
                {"role":"history","port":4001,"env":{"A":"{history}"}}]}}}"#,
        ))
        .unwrap();
        assert!(scene.broker);
        assert_eq!(scene.services[0].port, 4001);
        let without = package(r#"{"name":"x","targets":[],"dependencies":[],"metadata":null}"#);
        assert_eq!(Scene::read(&without).unwrap(), Scene::default());
    }

    #[test]
    fn slips_are_errors() {
        for lab in [
            r#"{"services":[{"role":"history","prot":1}]}"#,
            r#"{"try":["curl :{histroy}"],"services":[{"role":"history","port":1}]}"#,
        ] {
            let json = format!(
                r#"{{"name":"x","targets":[],"dependencies":[],"metadata":{{"lab":{lab}}}}}"#
            );
            assert!(Scene::read(&package(&json)).is_err(), "{lab}");
        }
    }

    #[test]
    fn ports_are_filled_in_and_json_stays() {
        let ports = BTreeMap::from([("history".to_owned(), 4001)]);
        let filled = fill(r#"curl :{history}/x -d '{"a":{}}'"#, &ports).unwrap();
        assert_eq!(filled, r#"curl :4001/x -d '{"a":{}}'"#);
        assert!(fill("{nobody}", &ports).is_err());
    }
}
