//! Prepares what a chapter's services need around them, and prints where each of them is.

use std::collections::BTreeMap;
use std::path::Path;

use anstream::println;
use anyhow::Result;
use broker::Broker;
use command::environment::{Environment, LOGINS};
use course::chapter::Variant;
use course::manifest::fill;

use crate::overview;
use crate::run::Run;
use crate::shared_broker::{self, Shared};
use process::{Launch, port};
use terminal::DIM;

/// What `run` prepares once; it stays when the services are started again.
pub struct Prepared {
    pub environment: Environment,
    pub launches: Vec<Launch>,
    _shared: Option<Shared>,
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
        let address = environment.broker.as_ref().map(|broker| &broker.address);
        let services = self.manifest.services.iter();
        let launches = services.map(|service| environment.launch(service, &ports, address));
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

    /// The environment of this run: its vhost has the name of its package.
    pub async fn environment(&self, program: &Path, broker: Option<Broker>) -> Result<Environment> {
        let vhost = self.chapter.package(self.variant);
        let folder = shared_broker::run_folder(self.paths, &self.chapter, self.variant);
        let topology = self.manifest.topology.as_ref();
        let topology = topology.map(|file| self.paths.root.join(file));
        Environment::open(program, broker, vhost, folder, topology.as_deref()).await
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
mod tests {
    use super::*;

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
