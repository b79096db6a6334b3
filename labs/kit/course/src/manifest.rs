//! What a chapter's Cargo.toml says of its services, under `[package.metadata.lab]`.
//!
//! ```toml
//! [package.metadata.lab]
//! try = [
//!     "curl -sS -w '\\n' http://127.0.0.1:{history}/history",
//!     "just run 03 producer --burst --count 20",
//! ]
//! topology = "compose/07-topology.json"   # made at the broker first
//!
//! [[package.metadata.lab.services]]
//! role = "history"                 # the program's first argument
//! port = 4001                      # tried first; without it, no PORT
//! env = { OTHER_URL = "http://127.0.0.1:{other}" }
//!
//! [[package.metadata.lab.services]]
//! role = "worker"
//! name = "worker-ada"              # by default the role; no two alike
//! args = ["ada"]                   # after the role
//! database = "jobs"                # stem of its DATABASE, by default the name
//! login = "producer"               # a user of its own: BROKER_… instead of AMQP_URL
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

mod lecture;
mod packages;

/// What there is to start of a chapter, and to try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// The lines to type once it runs, with `{name}` for ports.
    #[serde(default, rename = "try")]
    pub tries: Vec<String>,
    /// The services, in the order in which they are started.
    #[serde(default)]
    pub services: Vec<Role>,
    /// The file, from the workspace's root, with the exchanges and queues that an administrator
    /// makes before the services start; they then log in as users of their own.
    pub topology: Option<PathBuf>,
    /// What the lecture must know, in the chapter that it shows.
    pub lecture: Option<Lecture>,
    /// Whether the chapter talks to a broker: its package depends on lapin.
    #[serde(skip)]
    pub broker: bool,
}

/// One service of a chapter: an instance of a role. Roles may have several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The program's first argument.
    pub role: String,
    /// What this instance is called, unlike any other; by default as its role.
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
    /// The user as whom it logs in, one of those whose rights the program tells; with it, it
    /// gets `BROKER_HOST` and so on instead of `AMQP_URL`. Only where there is a topology.
    pub login: Option<String>,
    /// Its environment beyond what each service gets, with `{name}` for ports.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Role {
    /// The role as the manifest would have it with nothing else said.
    #[must_use]
    pub fn plain(role: &str) -> Self {
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
        let services = scene.services.into_iter();
        scene.services = services.map(Role::with_defaults).collect();
        scene.check()?;
        Ok(scene)
    }

    /// Finds slips here, which would come out late: at a file's name, at a curl line.
    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for service in &self.services {
            for word in [&service.name, &service.database] {
                ensure!(
                    is_name(word),
                    "`{word}` is no name: a letter, then letters, digits and hyphens, all small"
                );
            }
            let name = &service.name;
            ensure!(
                service.login.is_none() || self.topology.is_some(),
                "`{name}` has a login, and no topology says what is at the broker"
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
        Ok(())
    }

    /// The ports tried first, by the names of the services that have one.
    #[must_use]
    pub fn ports(&self) -> BTreeMap<String, u16> {
        let ports = self.services.iter();
        ports
            .filter_map(|service| Some((service.name.clone(), service.port?)))
            .collect()
    }

    /// The service that a person means who types `role` and `args`: the one started with
    /// just these, else the one of that name, else a further one of that role, with the
    /// database that its first one shares, or with one of its own.
    #[must_use]
    pub fn like(&self, role: &str, args: &[OsString]) -> Option<Role> {
        let args_of = |service: &Role| service.args.iter().map(OsStr::new).eq(args);
        let same = |service: &&Role| service.role == role && args_of(service);
        let named = |service: &&Role| service.name == role;
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

/// `text` with the ports of the services filled in. Other braces, as in JSON, stay.
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
    fn services_and_lines_to_try() {
        let scene = Scene::read(&package(
            r#"{"name":"lab-02","targets":[],"dependencies":[{"name":"lapin"}],
                "metadata":{"lab":{"try":["curl :{history}"],"services":[
                {"role":"history","port":4001,"env":{"A":"{history}"}}]}}}"#,
        ))
        .unwrap();
        assert!(scene.broker);
        let history = &scene.services[0];
        assert_eq!(history.port, Some(4001));
        assert_eq!((&*history.name, &*history.database), ("history", "history"));
        let without = package(r#"{"name":"x","targets":[],"dependencies":[],"metadata":null}"#);
        assert_eq!(Scene::read(&without).unwrap(), Scene::default());
    }

    /// What the manifest's section, here as JSON, says.
    fn read(lab: &str) -> Result<Scene> {
        let json =
            format!(r#"{{"name":"x","targets":[],"dependencies":[],"metadata":{{"lab":{lab}}}}}"#);
        Scene::read(&package(&json))
    }

    #[test]
    fn a_role_has_many_instances_and_they_can_share_a_database() {
        let scene = read(
            r##"{"services":[{"role":"producer"},
            {"role":"worker","name":"worker-1","args":["ada","#.{x"],"database":"jobs"},
            {"role":"worker","name":"worker-2","args":["bob"],"port":4001}]}"##,
        )
        .unwrap();
        let of = |role: &str, args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let found = scene.like(role, &args);
            found.unwrap_or_default().name
        };
        assert_eq!(scene.services[1].args, ["ada", "#.{x"]);
        assert_eq!(scene.services[1].database, "jobs");
        assert_eq!(scene.services[2].database, "worker-2");
        assert_eq!(
            scene.ports(),
            BTreeMap::from([("worker-2".to_owned(), 4001)])
        );
        assert_eq!(of("worker", &["bob"]), "worker-2");
        assert_eq!(of("worker", &["carol"]), "worker-1");
        assert_eq!(of("worker-2", &[]), "worker-2");
        assert_eq!(of("wroker", &["bob"]), "");
        assert_eq!(Role::plain("x").database, "x");
    }

    #[test]
    fn a_further_instance_shares_what_is_shared_and_nothing_else() {
        let scene = read(
            r#"{"services":[{"role":"worker","name":"ada","args":["ada"],"database":"jobs"},
            {"role":"consumer","name":"ops","args":["ops"]}]}"#,
        )
        .unwrap();
        let of = |role: &str, args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            scene.like(role, &args).unwrap().database
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
