//! Loopback ports for services and relays.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context, Result};
use rand::RngExt;

/// Below the range from which the kernel takes the ports of outgoing connections, so that
/// a port stays free while its service is down.
const RANGE: std::ops::Range<u16> = 10_000..20_000;

/// A loopback TCP port that no other run of the lab on this machine will choose.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // The claim: TCP leaves this socket alone, every other run of the lab tries to bind it,
    // and the kernel lets go of it however this process ends.
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
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                Some(Self {
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
