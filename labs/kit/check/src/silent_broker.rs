//! A broker that accepts every connection and never answers, as a frozen broker does.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Lab, Outcome, Seen, Service};

/// The name of the thread that lapin starts for each connection.
const IO_LOOP: &str = "lapin-io-loop";

/// A loopback port that accepts every connection and never answers, until it is dropped.
#[derive(Debug)]
pub struct SilentBroker {
    port: u16,
    connections: Rc<Connections>,
    _listening: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Connections {
    accepted: Cell<usize>,
    open: Cell<usize>,
}

impl SilentBroker {
    /// Starts to listen.
    ///
    /// # Errors
    /// Unknown when no port is free.
    pub async fn listen() -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a port for a silent broker")?;
        let port = listener.local_addr().context("its own address")?.port();
        let connections = Rc::new(Connections::default());
        let mut listening = JoinSet::new();
        listening.spawn_local(accept_all(listener, Rc::clone(&connections)));
        Ok(Self {
            port,
            connections,
            _listening: listening,
        })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, for `AMQP_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Waits until `service` has given up `tries` connection attempts, at most `each` for one of them, and
    /// leaked none: only the current attempt may have a connection and a thread of lapin's.
    ///
    /// # Errors
    /// A failure when it keeps an abandoned attempt open, or stops trying.
    pub async fn leaves_nothing(
        &self,
        lab: &Lab,
        service: &Service,
        (tries, each): (usize, Duration),
    ) -> Outcome {
        for times in 1..=tries + 1 {
            self.connects(lab, service, (times, each)).await?;
        }
        let name = service.name();
        let expected = format!(
            "{name} gives up {tries} connection attempt(s) to a silent broker and tries again: it \
             has one open connection and one thread"
        );
        let why = "an abandoned attempt that keeps its thread and its socket is a leak: after an \
                   hour none is left, and the service cannot reconnect";
        lab.eventually(&expected, why, async || {
            let (open, threads) = (self.connections.open.get(), service.threads(IO_LOOP)?);
            Ok(Seen::when(open <= 1 && threads <= 1, || {
                format!("{open} connections, {threads} threads `{IO_LOOP}`")
            }))
        })
        .await
    }

    /// Waits until `service` has connected `times` times; `within` is the limit.
    ///
    /// # Errors
    /// A failure when it has not.
    pub async fn connects(
        &self,
        lab: &Lab,
        service: &Service,
        (times, within): (usize, Duration),
    ) -> Outcome {
        let name = service.name();
        let expected = format!("{name} connects to a silent broker {times} time(s)");
        let why = "a frozen broker may recover or be replaced: then a later attempt succeeds";
        lab.eventually_within(within, &expected, why, async || {
            let seen = self.connections.accepted.get();
            Ok(Seen::when(seen >= times, || format!("{seen} time(s)")))
        })
        .await
    }
}

async fn accept_all(listener: TcpListener, connections: Rc<Connections>) {
    let mut taken = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.accepted.set(connections.accepted.get() + 1);
        connections.open.set(connections.open.get() + 1);
        taken.spawn_local(hold(client, Rc::clone(&connections)));
    }
}

/// Reads until the client closes the connection.
async fn hold(mut client: TcpStream, connections: Rc<Connections>) {
    let _ = io::copy(&mut client, &mut io::sink()).await;
    connections.open.set(connections.open.get() - 1);
}
