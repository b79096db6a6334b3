//! A broker that takes each call and never says a word, as a frozen one does.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use anyhow::Context;
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Lab, Outcome, PATIENCE, Seen, Service};

/// What lapin calls the thread that it gives each connection.
const IO_LOOP: &str = "lapin-io-loop";

/// A port on loopback that takes every connection and never answers, until it is dropped.
#[derive(Debug)]
pub struct SilentBroker {
    port: u16,
    calls: Rc<Calls>,
    _listening: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Calls {
    so_far: Cell<usize>,
    open: Cell<usize>,
}

impl SilentBroker {
    /// Listens from now on.
    ///
    /// # Errors
    /// Unknown when no port is free.
    pub async fn listen() -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a port for a silent broker")?;
        let port = listener.local_addr().context("its own address")?.port();
        let calls = Rc::new(Calls::default());
        let mut listening = JoinSet::new();
        listening.spawn_local(take_all(listener, Rc::clone(&calls)));
        Ok(Self {
            port,
            calls,
            _listening: listening,
        })
    }

    /// The port to call.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// For `AMQP_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Waits until `service` has given up `tries` calls. Of these it must keep nothing: the one
    /// call that goes on has its only connection, and the only thread of lapin's.
    ///
    /// # Errors
    /// A failure when it keeps what it has given up, or calls no more.
    pub async fn leaves_nothing(&self, lab: &Lab, service: &Service, tries: usize) -> Outcome {
        self.called(lab, service, tries + 1).await?;
        let name = service.name();
        let expected = format!(
            "{name} has given up {tries} connection attempt(s) to a silent broker, and tries again: \
             it has one connection and one thread for it"
        );
        let why = "each attempt that a timeout ends keeps a thread and a socket; after an hour of \
                   silence none is left, and the service can neither reconnect nor record";
        lab.eventually(&expected, why, async || {
            let (open, threads) = (self.calls.open.get(), service.threads(IO_LOOP)?);
            Ok(Seen::when(open <= 1 && threads <= 1, || {
                format!("{open} connections, {threads} threads `{IO_LOOP}`")
            }))
        })
        .await
    }

    async fn called(&self, lab: &Lab, service: &Service, times: usize) -> Outcome {
        let expected = format!("{} calls a silent broker {times} time(s)", service.name());
        let why = "a frozen broker may go on, or be replaced: then a later call succeeds";
        lab.eventually_within(PATIENCE, &expected, why, async || {
            let seen = self.calls.so_far.get();
            Ok(Seen::when(seen >= times, || format!("{seen} time(s)")))
        })
        .await
    }
}

async fn take_all(listener: TcpListener, calls: Rc<Calls>) {
    let mut taken = JoinSet::new();
    while let Ok((caller, _)) = listener.accept().await {
        calls.so_far.set(calls.so_far.get() + 1);
        calls.open.set(calls.open.get() + 1);
        taken.spawn_local(hold(caller, Rc::clone(&calls)));
    }
}

/// Reads until the caller hangs up.
async fn hold(mut caller: TcpStream, calls: Rc<Calls>) {
    let _ = io::copy(&mut caller, &mut io::sink()).await;
    calls.open.set(calls.open.get() - 1);
}
