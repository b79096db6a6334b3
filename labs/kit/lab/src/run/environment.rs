//! Prepares what a chapter's services need around them, and prints where each of them is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anstream::println;
use anyhow::{Context, Result};
use broker::Broker;
use broker::access::Access;
use course::chapter::Variant;
use course::manifest::{ServiceEntry, fill};

use crate::overview;
use crate::run::Run;
use crate::shared_broker::{self, Shared};
use process::{Launch, port};
use terminal::DIM;

/// In the folder of a run: the passwords of the services' own users.
const LOGINS: &str = "logins.json";

/// What `run` prepares once; it stays when the services are started again.
pub struct Prepared {
    pub environment: Environment,
    pub launches: Vec<Launch>,
    _shared: Option<Shared>,
}

/// What services find around them.
pub struct Environment {
    program: PathBuf,
    pub broker: Option<Broker>,
    /// The services' own users, where the chapter has such.
    access: Option<Access>,
    pub vhost: String,
    folder: PathBuf,
}

impl Environment {
    /// How `service` is started here, as its manifest says.
    pub fn launch(&self, service: &ServiceEntry, ports: &BTreeMap<String, u16>) -> Result<Launch> {
        let database = self.folder.join(format!("{}.sqlite", service.database));
        let log = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        // Many shells set it to 1, and an open hole would fill the screen.
        let backtrace = std::env::var("RUST_BACKTRACE").ok();
        let backtrace = backtrace.filter(|how| how == "full");
        let backtrace = backtrace.unwrap_or_else(|| "0".to_owned());
        let mut environment = BTreeMap::from([
            ("DATABASE".to_owned(), database.display().to_string()),
            ("RUST_LOG".to_owned(), log),
            ("RUST_BACKTRACE".to_owned(), backtrace),
        ]);
        if service.port.is_some() {
            environment.insert("PORT".to_owned(), ports[&service.name].to_string());
        }
        if let Some(broker) = &self.broker {
            let address = &broker.address;
            match (&self.access, &service.login) {
                (Some(access), Some(login)) => {
                    environment.extend(access.environment(login, &address.host, address.port)?);
                }
                _ => drop(environment.insert("AMQP_URL".to_owned(), address.url(&self.vhost))),
            }
        }
        for (name, value) in &service.env {
            environment.insert(name.clone(), fill(value, ports)?);
        }
        let mut arguments = vec![OsString::from(&service.role)];
        for arg in &service.args {
            arguments.push(fill(arg, ports)?.into());
        }
        Ok(Launch {
            program: self.program.clone(),
            name: service.name.clone(),
            arguments,
            environment,
            log: None,
        })
    }

    /// Keeps a node of ours from stopping for want of use.
    pub fn touch_broker(&self) {
        if let Some(broker) = &self.broker {
            broker.touch();
        }
    }
}

impl Run<'_> {
    /// Prepares broker, vhost, folder and ports for all services, and prints what is where.
    pub async fn prepare(&self, program: &Path) -> Result<Prepared> {
        let broker = match self.manifest.broker {
            true => Some(command::acquire(self.paths).await?),
            false => None,
        };
        let environment = self.environment(program, broker).await?;
        let ports = port::choose(&self.manifest.wished_ports())?;
        let services = self.manifest.services.iter();
        let launches = services.map(|service| environment.launch(service, &ports));
        let launches = launches.collect::<Result<Vec<_>>>()?;
        self.print_overview(&environment, &launches, &ports)?;
        let shared = environment.broker.as_ref();
        let shared = shared.map(|broker| shared_broker::share(&environment.folder, broker));
        Ok(Prepared {
            _shared: shared.transpose()?.flatten(),
            environment,
            launches,
        })
    }

    /// Makes vhost and folder where they are missing, and users with the rights that `program`
    /// lists, where it has such.
    pub async fn environment(&self, program: &Path, broker: Option<Broker>) -> Result<Environment> {
        let vhost = self.chapter.package(self.variant);
        if let Some(broker) = &broker {
            broker
                .create_vhost(&vhost)
                .await
                .with_context(|| format!("cannot make the vhost {vhost}"))?;
        }
        let folder = shared_broker::run_folder(self.paths, &self.chapter, self.variant);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", self.paths.short(&folder)))?;
        let access = match (&broker, &self.manifest.topology) {
            (Some(broker), Some(topology)) => {
                let topology = self.paths.root.join(topology);
                let kept = folder.join(LOGINS);
                let access = Access::open(broker, &vhost, &topology, program, &kept).await;
                Some(access.context("cannot make the users of the broker")?)
            }
            _ => None,
        };
        Ok(Environment {
            program: program.to_owned(),
            broker,
            access,
            vhost,
            folder,
        })
    }

    fn print_overview(
        &self,
        environment: &Environment,
        launches: &[Launch],
        ports: &BTreeMap<String, u16>,
    ) -> Result<()> {
        overview::print_heading(&self.chapter, self.variant, "");
        let services = self.manifest.services.iter().zip(launches);
        let services = services.map(|(service, launch)| match service.port {
            Some(first) => overview::address(first, ports[&service.name]),
            None => self.command_line(launch),
        });
        let mut others = Vec::new();
        if let Some(broker) = &environment.broker {
            let (label, vhost) = (broker.label(), &environment.vhost);
            others.push(("broker", format!("{label}, vhost {vhost}")));
            others.push(("", broker.management.clone()));
            others.push(("", command::describe_login(self.paths, broker)));
        }
        if let Some(access) = &environment.access {
            let users = access.logins().values().map(|login| &*login.user);
            others.push(("users", users.collect::<Vec<_>>().join(", ")));
            let kept = self.paths.short(&environment.folder.join(LOGINS));
            others.push(("", format!("passwords in {kept}")));
        }
        others.push(("files", self.paths.short(&environment.folder)));
        let services: Vec<_> = services.collect();
        overview::print_places(&self.manifest, &services, &others);
        let tries = self.manifest.tries.iter().map(|line| {
            let line = fill(line, ports)?;
            Ok(for_variant(&line, &self.chapter.number, self.variant))
        });
        let tries = tries.collect::<Result<Vec<_>>>()?;
        overview::print_lines_to_try("Try, in another terminal:", &tries);
        println!("{DIM}Ctrl-C stops all.{DIM:#}");
        Ok(())
    }

    /// The program and its arguments, as a person can type them.
    fn command_line(&self, launch: &Launch) -> String {
        let program = self.chapter.package(self.variant);
        let arguments = launch.arguments.iter().map(|word| word.to_string_lossy());
        let words = arguments.map(|word| quoted(&word));
        std::iter::once(program)
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// `line`, in which `just run NN ROLE` joins the services of this variant.
fn for_variant(line: &str, number: &str, variant: Variant) -> String {
    let joins_in = format!("just run {number} ");
    match line.strip_prefix(&joins_in) {
        Some(rest) => format!("just run {number}{} {rest}", variant.flag()),
        None => line.to_owned(),
    }
}

/// `word`, quoted where a shell would read more into it.
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
    fn a_service_gets_what_the_manifest_says() {
        let environment = Environment {
            program: "lab-03".into(),
            broker: None,
            access: None,
            vhost: "lab-03".to_owned(),
            folder: "/run".into(),
        };
        let mut worker = ServiceEntry::of_role("worker");
        worker.args = vec!["ada".to_owned(), "{history}#".to_owned()];
        worker.database = "jobs".to_owned();
        let ports = BTreeMap::from([("history".to_owned(), 4001)]);
        let launch = environment.launch(&worker, &ports).unwrap();
        assert_eq!(launch.arguments, ["worker", "ada", "4001#"]);
        assert_eq!(launch.environment["DATABASE"], "/run/jobs.sqlite");
        assert!(!launch.environment.contains_key("PORT"));
        let mut history = ServiceEntry::of_role("history");
        history.port = Some(4000);
        let launch = environment.launch(&history, &ports).unwrap();
        assert_eq!(launch.environment["PORT"], "4001");
        assert_eq!(launch.environment["DATABASE"], "/run/history.sqlite");
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
    fn lines_to_try_join_the_running_services() {
        let line = "just run 03 producer --burst";
        assert_eq!(for_variant(line, "03", Variant::Lab), line);
        assert_eq!(
            for_variant(line, "03", Variant::Solution),
            "just run 03 --solution producer --burst"
        );
        assert_eq!(for_variant("curl x", "03", Variant::Solution), "curl x");
    }
}
