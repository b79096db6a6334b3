//! What `up` tells of the services, and how it finds out that they are there.

use std::time::{Duration, Instant};

use anstream::{print, println};
use anyhow::Result;
use course::chapter::Variant;
use course::manifest::{Role, fill};

use super::Boxes;
use super::ports::{AMQP, CONSOLE, Ports};
use crate::run::colour;
use command::credentials::BROKER_PASSWORD;
use terminal::{BOLD, NOTE, TYPE};

/// How long services may take until they listen, the broker being there.
const PATIENCE: Duration = Duration::from_secs(30);
/// A service that cannot start is gone by then.
const AT_LEAST: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Boxes<'_> {
    /// Says what is where, and what to try.
    pub fn announce(&self, ports: &Ports) {
        let kind = match self.variant {
            Variant::Lab => "Lab",
            Variant::Solution => "Solution",
        };
        println!(
            "{BOLD}{kind} {}, in containers{BOLD:#}",
            self.chapter.heading()
        );
        let names = self.scene.services.iter().map(|service| service.name.len());
        let width = names.max().unwrap_or(0).max("broker".len());
        for (index, service) in self.scene.services.iter().enumerate() {
            let (name, colour) = (&service.name, colour(index));
            print!("  {colour}{name:width$}{colour:#}  ");
            match service.port {
                Some(first) => println!("{}", http(first, ports.given[name])),
                None => println!("{}", typed(service)),
            }
        }
        if self.scene.broker {
            let amqp = ports.given[AMQP.0];
            println!(
                "  {:width$}  AMQP on 127.0.0.1:{amqp}, vhost {}",
                "broker", self.project.name
            );
            let console = http(CONSOLE.1, ports.given[CONSOLE.0]);
            println!("  {:width$}  {console}", "");
            println!(
                "  {:width$}  user lab, password in compose/.env ({BROKER_PASSWORD})",
                ""
            );
        }
        if !self.scene.tries.is_empty() {
            println!("Try:");
        }
        for line in &self.scene.tries {
            // `Scene::of` has filled them all in once.
            let line = fill(line, &ports.given).unwrap_or_else(|_| line.clone());
            let line = in_containers(&line, &self.chapter.number, self.flag());
            println!("  {TYPE}{line}{TYPE:#}");
        }
    }

    /// Waits until those with a port answer and the others run: then nothing is given back,
    /// else the name of the service that does not stay up.
    pub async fn settled(&self, ports: &Ports) -> Result<Option<String>> {
        let since = Instant::now();
        loop {
            let containers = self.project.containers().await?;
            let mut missing = None;
            for service in &self.scene.services {
                let state = containers.iter().find(|one| one.service == service.name);
                let state = state.map_or("absent", |one| &one.state);
                if matches!(state, "restarting" | "exited" | "dead") {
                    return Ok(Some(service.name.clone()));
                }
                let port = ports.given.get(&service.name);
                if state != "running" || !healthy(port).await {
                    missing = Some(service.name.clone());
                }
            }
            if missing.is_none() && since.elapsed() > AT_LEAST || since.elapsed() > PATIENCE {
                return Ok(missing);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whether the service on this port answers that it is well; one without a port is.
async fn healthy(port: Option<&u16>) -> bool {
    let Some(port) = port else { return true };
    let ask = awc::Client::default().get(format!("http://127.0.0.1:{port}/health"));
    let answer = ask.timeout(Duration::from_secs(1)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// The role and its arguments, as one would type them but for quotes.
fn typed(service: &Role) -> String {
    let words = std::iter::once(&service.role).chain(&service.args);
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// An address, with a word where it is not the usual one.
fn http(first: u16, port: u16) -> String {
    match port == first {
        true => format!("http://127.0.0.1:{port}"),
        false => format!("http://127.0.0.1:{port}  {NOTE}({first} is taken){NOTE:#}"),
    }
}

/// `line`, in which `just run NN ROLE` is `just up NN ROLE`, with `flag`.
fn in_containers(line: &str, number: &str, flag: &str) -> String {
    match line.strip_prefix(&format!("just run {number} ")) {
        Some(rest) => format!("just up {number}{flag} {rest}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_to_try_stay_within_the_containers() {
        let line = "just run 03 producer --burst";
        assert_eq!(in_containers(line, "03", ""), "just up 03 producer --burst");
        let solution = in_containers(line, "03", " --solution");
        assert_eq!(solution, "just up 03 --solution producer --burst");
        assert_eq!(in_containers("curl x", "03", " --solution"), "curl x");
    }
}
