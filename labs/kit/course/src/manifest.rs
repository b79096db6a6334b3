//! Reads which services a chapter has, from `[package.metadata.lab]` in its Cargo.toml.
//!
//! ```toml
//! [package.metadata.lab]
//! try = [
//!     "curl -sS -w '\\n' http://127.0.0.1:{history}/history",
//!     "just run 03 producer --burst --count 20",
//! ]
//! topology = "compose/07-topology.json"   # made at the broker first
//! part-a = 4                              # the last hole of part A: see `parts`
//! minutes = [50, 70]                      # how long a student takes for part A, for part B
//!
//! [[package.metadata.lab.services]]
//! role = "history"                 # the program's first argument
//! port = 4001                      # tried first; without it, no PORT
//! env = { OTHER_URL = "http://127.0.0.1:{other}" }
//!
//! [[package.metadata.lab.services]]
//! role = "worker"
//! name = "worker-ada"              # by default the role; unique
//! args = ["ada"]                   # after the role
//! database = "jobs"                # stem of its DATABASE, by default the name
//! login = "producer"               # a user of its own: BROKER_… instead of AMQP_URL
//!
//! [[package.metadata.lab.predict]]  # a question before a run: see `Prediction`
//!
//! [package.metadata.lab.lecture]   # in one chapter only: see `Lecture`
//! ```
//!
//! `{name}` stands for the port that the service of that name got, in `try`, `env` and
//! `args`. Braces around anything that cannot be a name, as in `{"a": 1}`, stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::chapter::Chapter;

pub use lecture::Lecture;
pub use packages::{Package, Target, packages};
pub use predict::Prediction;

mod lecture;
mod packages;
mod predict;

/// The services of a chapter, and the lines to try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceManifest {
    /// The lines to type once it runs, with `{name}` for ports.
    #[serde(default, rename = "try")]
    pub tries: Vec<String>,
    /// The services, in the order in which they are started.
    #[serde(default)]
    pub services: Vec<ServiceEntry>,
    /// The file, from the workspace's root, with the exchanges and queues that an administrator
    /// makes before the services start; they then log in as users of their own.
    pub topology: Option<PathBuf>,
    /// The last hole of part A.
    #[serde(rename = "part-a")]
    pub part_a: Option<u32>,
    /// How many minutes a student takes for part A and for part B.
    pub minutes: Option<[u32; 2]>,
    /// What the lecture must know, in the chapter that it shows.
    pub lecture: Option<Lecture>,
    /// The questions to answer before a run, in their order.
    #[serde(default)]
    pub predict: Vec<Prediction>,
    /// Whether the chapter talks to a broker: its package depends on lapin.
    #[serde(skip)]
    pub broker: bool,
}

/// One service of a chapter: an instance of a role. Roles may have several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEntry {
    /// The program's first argument.
    pub role: String,
    /// The unique name of this instance; by default its role.
    #[serde(default)]
    pub name: String,
    /// The program's arguments after the role, with `{name}` for ports.
    #[serde(default)]
    pub args: Vec<String>,
    /// The TCP port tried first, on loopback; none for a program that listens on none.
    pub port: Option<u16>,
    /// The stem of its SQLite file, which instances may share; by default its name.
    #[serde(default)]
    pub database: String,
    /// The user as whom it logs in, one of those whose rights the program lists. With a login,
    /// it gets `BROKER_HOST` and so on instead of `AMQP_URL`. Needs a topology.
    pub login: Option<String>,
    /// Its environment, beyond what every service gets, with `{name}` for ports.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl ServiceEntry {
    /// The entry of a manifest that says nothing but the role.
    #[must_use]
    pub fn of_role(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            ..Self::default()
        }
        .with_defaults()
    }

    fn with_defaults(mut self) -> Self {
        if self.name.is_empty() {
            self.name.clone_from(&self.role);
        }
        if self.database.is_empty() {
            self.database.clone_from(&self.name);
        }
        self
    }
}

impl ServiceManifest {
    /// Reads the manifest of a chapter's lab, which counts for the solution, too.
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
        let mut manifest: Self = match lab {
            Some(lab) => Self::deserialize(lab)?,
            None => Self::default(),
        };
        manifest.broker = package.dependencies.iter().any(|on| on.name == "lapin");
        let services = manifest.services.into_iter();
        manifest.services = services.map(ServiceEntry::with_defaults).collect();
        manifest.check()?;
        Ok(manifest)
    }

    /// Refuses slips that would show late: in a file's name, in a curl line.
    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for service in &self.services {
            for word in [&service.name, &service.database] {
                ensure!(
                    is_name(word),
                    "`{word}` is not a name: write a small letter, then small letters, digits and hyphens"
                );
            }
            let name = &service.name;
            ensure!(
                service.login.is_none() || self.topology.is_some(),
                "`{name}` has a login, but no topology says what is at the broker"
            );
            ensure!(
                names.insert(name),
                "two services are called `{name}`: give each a `name`"
            );
        }
        let ports = self.ports();
        let env = self
            .services
            .iter()
            .flat_map(|service| service.env.values());
        let args = self.services.iter().flat_map(|service| &service.args);
        for text in env.chain(args).chain(&self.tries) {
            fill(text, &ports)?;
        }
        for asked in &self.predict {
            let ask = &asked.ask;
            asked.check().with_context(|| format!("predict, `{ask}`"))?;
        }
        Ok(())
    }

    /// The services that have a port, in their order, with the port that is tried first.
    #[must_use]
    pub fn wished_ports(&self) -> Vec<(String, u16)> {
        let services = self.services.iter();
        let wished = services.filter_map(|one| Some((one.name.clone(), one.port?)));
        wished.collect()
    }

    /// The ports tried first, by the names of the services that have one.
    #[must_use]
    pub fn ports(&self) -> BTreeMap<String, u16> {
        self.wished_ports().into_iter().collect()
    }

    /// Finds the service that a person means by `role` and `args`: the one started with
    /// exactly these; else the one of that name; else a further instance of that role, with
    /// the database that the role's first instance shares, or with one of its own.
    #[must_use]
    pub fn find(&self, role: &str, args: &[OsString]) -> Option<ServiceEntry> {
        let args_of = |service: &ServiceEntry| service.args.iter().map(OsStr::new).eq(args);
        let same = |service: &&ServiceEntry| service.role == role && args_of(service);
        let named = |service: &&ServiceEntry| service.name == role;
        let services = || self.services.iter();
        if let Some(found) = services().find(same).or_else(|| services().find(named)) {
            return Some(found.clone());
        }
        let mut further = services().find(|service| service.role == role)?.clone();
        if further.database == further.name {
            let name = args.first().and_then(|arg| arg.to_str());
            let name = name.filter(|name| is_name(name));
            further.database = name.unwrap_or(role).to_owned();
        }
        Some(further)
    }
}

/// Whether `word` can name a service.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Fills the ports of the services into `text`. Other braces, as in JSON, stay.
///
/// # Errors
/// When braces hold a word that names no service with a port.
pub fn fill(text: &str, ports: &BTreeMap<String, u16>) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled += before;
        let word = after.split_once('}').filter(|(word, _)| is_name(word));
        match word {
            Some((word, behind)) => {
                let port = ports.get(word);
                filled += &port
                    .with_context(|| format!("`{{{word}}}`: no service of that name has a port"))?
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
    fn a_manifest_lists_services_and_lines_to_try() {
        let manifest = ServiceManifest::read(&package(
            r#"{"name":"lab-02","targets":[],"dependencies":[{"name":"lapin"}],
                "metadata":{"lab":{"try":["curl :{history}"],"services":[
                {"role":"history","port":4001,"env":{"A":"{history}"}}]}}}"#,
        ))
        .unwrap();
        assert!(manifest.broker);
        let history = &manifest.services[0];
        assert_eq!(history.port, Some(4001));
        assert_eq!((&*history.name, &*history.database), ("history", "history"));
        let without = package(r#"{"name":"x","targets":[],"dependencies":[],"metadata":null}"#);
        assert_eq!(
            ServiceManifest::read(&without).unwrap(),
            ServiceManifest::default()
        );
    }

    /// What the manifest's section, here as JSON, says.
    fn read(lab: &str) -> Result<ServiceManifest> {
        let json =
            format!(r#"{{"name":"x","targets":[],"dependencies":[],"metadata":{{"lab":{lab}}}}}"#);
        ServiceManifest::read(&package(&json))
    }

    #[test]
    fn a_role_has_many_instances_and_they_can_share_a_database() {
        let manifest = read(
            r##"{"services":[{"role":"producer"},
            {"role":"worker","name":"worker-1","args":["ada","#.{x"],"database":"jobs"},
            {"role":"worker","name":"worker-2","args":["bob"],"port":4001}]}"##,
        )
        .unwrap();
        let of = |role: &str, args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let found = manifest.find(role, &args);
            found.unwrap_or_default().name
        };
        assert_eq!(manifest.services[1].args, ["ada", "#.{x"]);
        assert_eq!(manifest.services[1].database, "jobs");
        assert_eq!(manifest.services[2].database, "worker-2");
        assert_eq!(
            manifest.ports(),
            BTreeMap::from([("worker-2".to_owned(), 4001)])
        );
        assert_eq!(of("worker", &["bob"]), "worker-2");
        assert_eq!(of("worker", &["carol"]), "worker-1");
        assert_eq!(of("worker-2", &[]), "worker-2");
        assert_eq!(of("wroker", &["bob"]), "");
        assert_eq!(ServiceEntry::of_role("x").database, "x");
    }

    #[test]
    fn a_further_instance_shares_only_a_shared_database() {
        let manifest = read(
            r#"{"services":[{"role":"worker","name":"ada","args":["ada"],"database":"jobs"},
            {"role":"consumer","name":"ops","args":["ops"]}]}"#,
        )
        .unwrap();
        let of = |role: &str, args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            manifest.find(role, &args).unwrap().database
        };
        assert_eq!(of("worker", &["bob"]), "jobs");
        assert_eq!(of("consumer", &["bob", "log.#"]), "bob");
        assert_eq!(of("consumer", &["../bob"]), "consumer");
    }

    #[test]
    fn slips_are_errors() {
        for lab in [
            r#"{"services":[{"role":"history","prot":1}]}"#,
            r#"{"try":["curl :{histroy}"],"services":[{"role":"history","port":1}]}"#,
            r#"{"try":["curl :{worker}"],"services":[{"role":"worker"}]}"#,
            r#"{"services":[{"role":"worker","args":["{histroy}"]}]}"#,
            r#"{"services":[{"role":"worker"},{"role":"worker"}]}"#,
            r#"{"services":[{"role":"worker","name":"a/b"}]}"#,
            r#"{"services":[{"role":"worker","database":"../x"}]}"#,
            r#"{"services":[{"role":"worker","login":"worker"}]}"#,
        ] {
            assert!(read(lab).is_err(), "{lab}");
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
