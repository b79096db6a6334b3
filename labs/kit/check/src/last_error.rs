//! Adds what a service logged as an error to a failure that nothing else explains.

use super::{Failure, Lab, Service};

/// What stands for a secret.
const MASK: &str = "…";

impl Lab {
    /// This failure, and the last error of each service, unless what was seen explains it.
    pub(crate) fn with_last_errors(&self, mut failure: Failure) -> Failure {
        if failure.hole.is_some() || failure.observed.contains("printed last") {
            return failure;
        }
        for service in self.0.services.borrow().iter() {
            if let Some(error) = last_error(&service.output()) {
                let (name, error) = (service.name(), service.masked(error));
                failure.observed += &format!("\n{name} logged last: {error}");
            }
        }
        failure
    }
}

impl Service {
    /// The text, with a mask for each password that its services were given.
    pub(super) fn masked(&self, text: &str) -> String {
        let lab = &self.0.lab;
        let broker = lab.broker().map(|broker| broker.address.password.clone());
        let logins = lab.0.logins.borrow();
        let logins = logins.iter().map(|login| login.password.clone());
        let launch = self.0.launch.borrow();
        let given = launch.environment.iter();
        let given = given.filter(|(name, _)| name.contains("PASSWORD"));
        let given = given.map(|(_, value)| value.clone());
        let secrets = broker.into_iter().chain(logins).chain(given);
        let secrets = secrets.filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(&secret, MASK))
    }
}

/// The last line that a logger calls an error, from that word on.
fn last_error(output: &str) -> Option<&str> {
    let mut lines = output.lines().rev();
    lines.find_map(|line| line.find("ERROR").map(|at| &line[at..]))
}
