//! Chooses the ports of this machine that lead to the containers.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Containers;
use command::container::Container;
use process::port;

/// AMQP and the management page: the names that they have here, and their usual ports.
pub const AMQP: (&str, u16) = ("broker", 5672);
pub const CONSOLE: (&str, u16) = ("broker's page", 15672);

/// The ports on loopback.
pub struct Ports {
    /// By the names of the services; also [`AMQP`]'s and [`CONSOLE`]'s.
    pub given: BTreeMap<String, u16>,
    /// By the variables that the compose files ask for.
    pub variables: BTreeMap<String, String>,
}

impl Containers<'_> {
    /// For each port inside a container the one on this machine: the one that a running
    /// container has; else the same number; else the next free one.
    pub async fn ports(&self) -> Result<Ports> {
        let mut wished = self.manifest.wished_ports();
        if self.manifest.broker {
            wished.extend([AMQP, CONSOLE].map(|(name, port)| (name.to_owned(), port)));
        }
        choose(&wished, &self.project.containers().await?)
    }
}

fn choose(wished: &[(String, u16)], containers: &[Container]) -> Result<Ports> {
    let held = |name: &str, inside: u16| {
        let service = if name == CONSOLE.0 { AMQP.0 } else { name };
        let container = containers.iter().find(|one| one.service == service)?;
        container.ports.get(&inside).copied()
    };
    let mut given = BTreeMap::new();
    let mut open = Vec::new();
    for (name, inside) in wished {
        match held(name, *inside) {
            Some(port) => drop(given.insert(name.clone(), port)),
            None => open.push((name.clone(), *inside)),
        }
    }
    given.extend(port::choose(&open)?);
    let variables = given.iter();
    let variables = variables.map(|(name, port)| (variable(name), port.to_string()));
    Ok(Ports {
        variables: variables.collect(),
        given,
    })
}

/// The variable by which a compose file asks for the port of `name`.
fn variable(name: &str) -> String {
    match name {
        name if name == AMQP.0 => "LAB_BROKER_PORT".to_owned(),
        name if name == CONSOLE.0 => "LAB_BROKER_MANAGEMENT_PORT".to_owned(),
        name => format!("{}_PORT", name.to_uppercase().replace('-', "_")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_running_container_keeps_its_ports_and_a_taken_port_is_avoided() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let wished = [
            ("user-client".to_owned(), port),
            (AMQP.0.to_owned(), AMQP.1),
            (CONSOLE.0.to_owned(), CONSOLE.1),
        ];
        let broker = Container {
            service: "broker".to_owned(),
            state: "running".to_owned(),
            ports: BTreeMap::from([(5672, 5699), (15672, 15699)]),
        };
        let ports = choose(&wished, &[broker]).unwrap();
        assert!(ports.given["user-client"] > port);
        assert_eq!(ports.variables["LAB_BROKER_PORT"], "5699");
        assert_eq!(ports.variables["LAB_BROKER_MANAGEMENT_PORT"], "15699");
        assert!(ports.variables.contains_key("USER_CLIENT_PORT"));
    }
}
