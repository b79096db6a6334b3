//! Prints where the services in containers are, and what to try.

use course::manifest::{ServiceEntry, fill};

use super::Containers;
use super::ports::{AMQP, CONSOLE, Ports};
use crate::overview;
use command::credentials::BROKER_PASSWORD;

impl Containers<'_> {
    /// Prints what is where, and what to try.
    pub fn print_overview(&self, ports: &Ports) {
        overview::print_heading(&self.chapter, self.variant, ", in containers");
        let services = self.manifest.services.iter();
        let services = services.map(|service| match service.port {
            Some(first) => overview::address(first, ports.given[&service.name]),
            None => command_line(service),
        });
        let mut others = Vec::new();
        if self.manifest.broker {
            let (amqp, vhost) = (ports.given[AMQP.0], &self.project.name);
            let console = overview::address(CONSOLE.1, ports.given[CONSOLE.0]);
            let login = format!("user lab, password in compose/.env ({BROKER_PASSWORD})");
            others.push(("broker", format!("AMQP on 127.0.0.1:{amqp}, vhost {vhost}")));
            others.extend([("", console), ("", login)]);
        }
        let services: Vec<_> = services.collect();
        overview::print_places(&self.manifest, &services, &others);
        let (number, flag) = (&self.chapter.number, self.variant.flag());
        let tries = self.manifest.tries.iter().map(|line| {
            // `ServiceManifest::of` has filled them all in once.
            let line = fill(line, &ports.given).unwrap_or_else(|_| line.clone());
            in_containers(&line, number, flag)
        });
        overview::print_lines_to_try("Try:", &tries.collect::<Vec<_>>());
    }
}

/// The role and its arguments, as a person can type them but for quotes.
fn command_line(service: &ServiceEntry) -> String {
    let words = std::iter::once(&service.role).chain(&service.args);
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
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
