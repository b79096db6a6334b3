//! What `run` sets up around a chapter's services, and tells of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anstream::{print, println};
use anyhow::{Context, Result};
use broker::Broker;
use broker::access::Access;
use course::chapter::Variant;
use course::manifest::{Role, fill};

use crate::broker::login;
use crate::run::joined::{self, Left};
use crate::run::{Play, colour};
use process::cast::{self, Part};
use terminal::{BOLD, DIM, NOTE, TYPE};

/// In the folder of a run: the passwords of the services' own users.
const LOGINS: &str = "logins.json";

/// What the services need around them; it stays when they are started again.
pub struct Stage {
    pub broker: Option<Broker>,
    pub parts: Vec<Part>,
    /// Lets others join while it is held.
    _left: Option<Left>,
}

/// Where services run: what they find around them.
pub struct Place {
    pub broker: Option<Broker>,
    /// The services' own users, where they have such.
    access: Option<Access>,
    pub vhost: String,
    folder: PathBuf,
}

impl Place {
    /// How `service` is started here, with what the manifest says of it.
    pub fn part(&self, service: &Role, ports: &BTreeMap<String, u16>) -> Result<Part> {
        let database = self.folder.join(format!("{}.sqlite", service.database));
        let log = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        // Many shells have it at 1, and an open hole would fill the screen.
        let backtrace = std::env::var("RUST_BACKTRACE").ok();
        let backtrace = backtrace.filter(|how| how == "full");
        let mut env = BTreeMap::from([
            ("DATABASE".to_owned(), database.display().to_string()),
            ("RUST_LOG".to_owned(), log),
            (
                "RUST_BACKTRACE".to_owned(),
                backtrace.unwrap_or_else(|| "0".to_owned()),
            ),
        ]);
        if service.port.is_some() {
            env.insert("PORT".to_owned(), ports[&service.name].to_string());
        }
        if let Some(broker) = &self.broker {
            let address = &broker.address;
            match (&self.access, &service.login) {
                (Some(access), Some(login)) => {
                    env.extend(access.environment(login, &address.host, address.port)?);
                }
                _ => drop(env.insert("AMQP_URL".to_owned(), address.url(&self.vhost))),
            }
        }
        for (name, value) in &service.env {
            env.insert(name.clone(), fill(value, ports)?);
        }
        let mut arguments = vec![OsString::from(&service.role)];
        for arg in &service.args {
            arguments.push(fill(arg, ports)?.into());
        }
        Ok(Part { arguments, env })
    }
}

impl Play<'_> {
    /// Sets the stage: broker, vhost, folder and ports; and says what is where.
    pub async fn set(&self, program: &Path) -> Result<Stage> {
        let broker = match self.scene.broker {
            true => Some(command::acquire(self.paths).await?),
            false => None,
        };
        let place = self.place(program, broker).await?;
        let ports = cast::ports(&self.wished())?;
        let services = self.scene.services.iter();
        let parts: Result<Vec<_>> = services
            .map(|service| place.part(service, &ports))
            .collect();
        let parts = parts?;
        self.announce(&place, &parts, &ports)?;
        let left = place.broker.as_ref();
        let left = left.map(|broker| joined::leave(&place.folder, broker));
        Ok(Stage {
            _left: left.transpose()?.flatten(),
            broker: place.broker,
            parts,
        })
    }

    fn folder(&self) -> PathBuf {
        joined::folder(self.paths, &self.chapter, self.variant)
    }

    /// For a program that joins in.
    pub async fn broker(&self) -> Result<Broker> {
        joined::acquire(self.paths, &self.chapter, self.variant).await
    }

    /// Vhost and folder, made where they are not there yet; and users with the rights that
    /// `program` says they need, where it has such.
    pub async fn place(&self, program: &Path, broker: Option<Broker>) -> Result<Place> {
        let vhost = self.chapter.package(self.variant);
        if let Some(broker) = &broker {
            broker
                .create_vhost(&vhost)
                .await
                .with_context(|| format!("cannot make the vhost {vhost}"))?;
        }
        let folder = self.folder();
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", self.paths.short(&folder)))?;
        let access = match (&broker, &self.scene.topology) {
            (Some(broker), Some(topology)) => {
                let topology = self.paths.root.join(topology);
                let kept = folder.join(LOGINS);
                let access = Access::open(broker, &vhost, &topology, program, &kept).await;
                Some(access.context("cannot make the users of the broker")?)
            }
            _ => None,
        };
        Ok(Place {
            broker,
            access,
            vhost,
            folder,
        })
    }

    /// The ports tried first, in the order of the services that have one.
    pub fn wished(&self) -> Vec<(String, u16)> {
        let services = self.scene.services.iter();
        services
            .filter_map(|service| Some((service.name.clone(), service.port?)))
            .collect()
    }

    fn announce(&self, place: &Place, parts: &[Part], ports: &BTreeMap<String, u16>) -> Result<()> {
        let kind = match self.variant {
            Variant::Lab => "Lab",
            Variant::Solution => "Solution",
        };
        println!("{BOLD}{kind} {}{BOLD:#}", self.chapter.heading());
        let width = self.width();
        for (index, (service, part)) in self.scene.services.iter().zip(parts).enumerate() {
            let (name, colour) = (&service.name, colour(index));
            print!("  {colour}{name:width$}{colour:#}  ");
            match (service.port, ports.get(name)) {
                (Some(first), Some(port)) if port != &first => {
                    println!("http://127.0.0.1:{port}  {NOTE}({first} is taken){NOTE:#}");
                }
                (_, Some(port)) => println!("http://127.0.0.1:{port}"),
                (_, None) => println!("{}", self.typed(part)),
            }
        }
        if let Some(broker) = &place.broker {
            let vhost = &place.vhost;
            println!("  {:width$}  {}, vhost {vhost}", "broker", broker.label());
            println!("  {:width$}  {}", "", broker.management);
            println!("  {:width$}  {}", "", login(self.paths, broker));
        }
        if let Some(access) = &place.access {
            let users = access.logins().values().map(|login| &*login.user);
            let users = users.collect::<Vec<_>>().join(", ");
            let kept = self.paths.short(&place.folder.join(LOGINS));
            println!("  {:width$}  {users}", "users");
            println!("  {:width$}  passwords in {kept}", "");
        }
        println!("  {:width$}  {}", "files", self.paths.short(&place.folder));
        if !self.scene.tries.is_empty() {
            println!("Try, in another terminal:");
        }
        for line in &self.scene.tries {
            let line = for_variant(&fill(line, ports)?, &self.chapter.number, self.variant);
            println!("  {TYPE}{line}{TYPE:#}");
        }
        println!("{DIM}Ctrl-C stops all.{DIM:#}");
        Ok(())
    }

    /// The program and its arguments, as one would type them.
    fn typed(&self, part: &Part) -> String {
        let program = self.chapter.package(self.variant);
        let arguments = part.arguments.iter().map(|word| word.to_string_lossy());
        let words = arguments.map(|word| quoted(&word));
        std::iter::once(program)
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// `line`, in which `just run NN ROLE` joins in with the services of this variant.
fn for_variant(line: &str, number: &str, variant: Variant) -> String {
    let joins_in = format!("just run {number} ");
    match (variant, line.strip_prefix(&joins_in)) {
        (Variant::Solution, Some(rest)) => format!("{joins_in}--solution {rest}"),
        _ => line.to_owned(),
    }
}

/// `word` as a shell takes it for one word with no meaning of its own.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_service_finds_what_the_manifest_says() {
        let place = Place {
            broker: None,
            access: None,
            vhost: "lab-03".to_owned(),
            folder: "/run".into(),
        };
        let mut worker = Role::plain("worker");
        worker.args = vec!["ada".to_owned(), "{history}#".to_owned()];
        worker.database = "jobs".to_owned();
        let ports = BTreeMap::from([("history".to_owned(), 4001)]);
        let part = place.part(&worker, &ports).unwrap();
        assert_eq!(part.arguments, ["worker", "ada", "4001#"]);
        assert_eq!(part.env["DATABASE"], "/run/jobs.sqlite");
        assert!(!part.env.contains_key("PORT"));
        let mut history = Role::plain("history");
        history.port = Some(4000);
        let part = place.part(&history, &ports).unwrap();
        assert_eq!(part.env["PORT"], "4001");
        assert_eq!(part.env["DATABASE"], "/run/history.sqlite");
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more_into_them() {
        for (word, typed) in [
            ("ada", "ada"),
            ("log.#", "'log.#'"),
            ("*", "'*'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }

    #[test]
    fn lines_to_try_join_in_with_what_runs() {
        let line = "just run 03 producer --burst";
        assert_eq!(for_variant(line, "03", Variant::Lab), line);
        assert_eq!(
            for_variant(line, "03", Variant::Solution),
            "just run 03 --solution producer --burst"
        );
        assert_eq!(for_variant("curl x", "03", Variant::Solution), "curl x");
    }
}
