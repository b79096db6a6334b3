//! Chooses loopback ports: any free one for a check, the usual one or the next for a person.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context, Result};
use rand::RngExt;

/// Below the range from which the kernel takes the ports of outgoing connections, so that
/// a port stays free while its service is down.
const RANGE: std::ops::Range<u16> = 10_000..20_000;

/// A loopback TCP port that no other run of the lab on this machine chooses.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // The claim: TCP ignores this socket, every other run of the lab tries to bind it, and
    // the kernel releases it however this process ends.
    _claim: UdpSocket,
}

impl Port {
    /// Claims a free one.
    ///
    /// # Errors
    /// When a thousand tries have found none.
    pub fn claim() -> Result<Self> {
        let mut random = rand::rng();
        std::iter::repeat_with(|| random.random_range(RANGE))
            .take(1000)
            .find_map(|number| {
                let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                is_free(number).then_some(Self {
                    number,
                    _claim: claim,
                })
            })
            .context("no loopback port between 10000 and 20000 is free")
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// For each service, by its name, the port that it wishes for, or else the next free one.
///
/// # Errors
/// When all ports above the wished one are taken.
pub fn choose(wished: &[(String, u16)]) -> Result<BTreeMap<String, u16>> {
    let mut chosen = BTreeMap::new();
    for (name, first) in wished {
        // A port that another service wishes for is left to it.
        let others: Vec<u16> = wished
            .iter()
            .filter(|(other, port)| other != name && port != first)
            .map(|(_, port)| *port)
            .collect();
        let taken = |port: &u16| others.contains(port) || chosen.values().any(|p| p == port);
        let port = (*first..=u16::MAX)
            .find(|port| !taken(port) && is_free(*port))
            .with_context(|| format!("no port from {first} up is free for {name}"))?;
        chosen.insert(name.clone(), port);
    }
    Ok(chosen)
}

/// Whether no program listens on the loopback port.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_service_whose_port_is_taken_gets_the_next_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let wished = [("a".to_owned(), port), ("b".to_owned(), port + 1)];
        let chosen = choose(&wished).unwrap();
        assert!(chosen["a"] > port);
        assert_ne!(chosen["a"], chosen["b"]);
        assert_ne!(chosen["a"], port + 1, "b wishes for that one");
    }
}
