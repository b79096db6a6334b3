//! A service's link to its broker, or to another service: a loopback port that a check can
//! close and cut while it is in use. The relays decide what happens to a connection's bytes.
//!
//! All links of this process share one thread of their own, so that no byte waits for a check
//! that computes, reads a database or looks at a long journal.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use process::Port;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::event::{ConnectionEvent, Event, LinkEvent, Loss};
use super::frame::Side;
use super::journal::Journal;

/// How soon the link tries again to take a port, or to accept a connection.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// The runtime of the relays' own thread, which runs as long as this process.
static RELAYS: LazyLock<io::Result<Handle>> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("wiretap".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
});

fn relays() -> Result<&'static Handle> {
    let relays = RELAYS.as_ref();
    relays.map_err(|error| anyhow!("no thread can be started for the wiretaps: {error}"))
}

/// The condition of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Condition {
    admission: Admission,
    cuts: u64,
    /// How long the link holds each byte back, in each direction.
    pub(super) delay: Duration,
    pub(super) client: Direction,
    pub(super) server: Direction,
}

impl Condition {
    /// The condition of what `from` sends.
    pub(super) fn direction(&self, from: Side) -> Direction {
        match from {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Admission {
    #[default]
    Open,
    TurnsAway,
    Refuses,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Direction {
    #[default]
    Flows,
    Swallowed,
    Closed,
}

/// The link of one service. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Link {
    service: String,
    port: Port,
    condition: watch::Sender<Condition>,
    journal: Journal,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Listens on a free loopback port and gives each connection, counted from 1, to `serve`.
    ///
    /// Not `async`: an async function is compiled where it is awaited, and there nothing is optimised.
    pub(super) fn open<F>(
        service: &str,
        journal: &Journal,
        serve: impl Fn(TcpStream, u32, watch::Receiver<Condition>) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        // The kernel must not choose the port: it gives such ports to outgoing connections while
        // the link refuses, and a connection from a port to itself succeeds.
        let port = Port::claim()?;
        let relays = relays()?;
        let _entered = relays.enter();
        let listener = listen(port.number()).context("no loopback port is free for a wiretap")?;
        let (condition, changes) = watch::channel(Condition::default());
        let reception = Reception {
            service: service.to_owned(),
            journal: journal.clone(),
            serve: Arc::new(serve),
            count: 0,
        };
        let task = relays.spawn(reception.run(listener, port.number(), changes));
        Ok(Self {
            service: service.to_owned(),
            port,
            condition,
            journal: journal.clone(),
            task,
        })
    }

    /// The loopback port that the service connects to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Closes both ends of every connection, and lets new ones in.
    pub fn cut(&self) {
        self.change(LinkEvent::Cut, |condition| condition.cuts += 1);
    }

    /// Closes every connection and the port: a client that connects is refused.
    pub fn refuse(&self) {
        self.change(LinkEvent::Refuses, |condition| {
            condition.admission = Admission::Refuses;
            condition.cuts += 1;
        });
    }

    /// Closes every connection. Accepts new ones and closes them at once; the journal counts
    /// these attempts.
    pub fn turn_away(&self) {
        self.change(LinkEvent::TurnsAway, |condition| {
            condition.admission = Admission::TurnsAway;
            condition.cuts += 1;
        });
    }

    /// Makes the link whole again: it lets connections in, and bytes flow.
    pub fn restore(&self) {
        self.change(LinkEvent::Restored, |condition| {
            *condition = Condition {
                cuts: condition.cuts,
                ..Condition::default()
            };
        });
    }

    pub(super) fn change(&self, what: LinkEvent, how: impl FnOnce(&mut Condition)) {
        let service = self.service.clone();
        self.condition.send_modify(|condition| {
            // Under this lock, so that no connection is journaled between the two.
            self.journal.add(Event::Link { service, what });
            how(condition);
        });
        // Without the lock, so that no connection waits for the disk.
        self.journal.write();
    }
}

pub(super) fn record(journal: &Journal, service: &str, connection: u32, what: ConnectionEvent) {
    journal.record(Event::Connection {
        service: service.to_owned(),
        connection,
        what,
    });
}

/// Admits connections as the link's condition says.
struct Reception<S> {
    service: String,
    journal: Journal,
    serve: Arc<S>,
    count: u32,
}

impl<S, F> Reception<S>
where
    S: Fn(TcpStream, u32, watch::Receiver<Condition>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    async fn run(
        mut self,
        listener: TcpListener,
        port: u16,
        mut changes: watch::Receiver<Condition>,
    ) {
        let mut listener = Some(listener);
        let mut arrived = None;
        let mut connections = JoinSet::new();
        let mut cuts = 0;
        loop {
            changes.mark_unchanged();
            let admission = {
                // While this borrow lasts, the check can change nothing: a connection is admitted
                // either before a cut, which then closes it, or after it.
                let condition = changes.borrow();
                if condition.cuts != cuts {
                    connections.abort_all();
                    cuts = condition.cuts;
                }
                if let Some(client) = arrived.take() {
                    self.admit(client, condition.admission, &mut connections, &changes);
                }
                condition.admission
            };
            match (admission, listener.is_some()) {
                (Admission::Refuses, _) => listener = None,
                (_, false) => listener = listen(port).ok(),
                _ => {}
            }
            let closed_in_vain = listener.is_none() && admission != Admission::Refuses;
            tokio::select! {
                // The sender is gone only when the link is dropped.
                changed = changes.changed() => if changed.is_err() { return },
                client = accept(listener.as_ref()) => arrived = Some(client),
                Some(_) = connections.join_next() => {}
                () = tokio::time::sleep(TRY_AGAIN), if closed_in_vain => {}
            }
        }
    }

    fn admit(
        &mut self,
        client: TcpStream,
        admission: Admission,
        connections: &mut JoinSet<()>,
        changes: &watch::Receiver<Condition>,
    ) {
        if admission == Admission::Refuses {
            return; // It connected just before the port closes.
        }
        self.count += 1;
        let number = self.count;
        let (journal, service) = (self.journal.clone(), self.service.clone());
        if admission == Admission::TurnsAway {
            record(&journal, &service, number, ConnectionEvent::TurnedAway);
            return;
        }
        record(&journal, &service, number, ConnectionEvent::Opened);
        let (serve, changes) = (self.serve.clone(), changes.clone());
        let mut end = End {
            journal,
            service,
            number,
            how: ConnectionEvent::Lost(Loss::ClosedByCheck),
        };
        connections.spawn(async move {
            end.is(match serve(client, number, changes).await {
                Ok(()) => ConnectionEvent::Closed,
                Err(error) => ConnectionEvent::Lost(error.into()),
            });
        });
    }
}

/// Journals the end of a connection when it is dropped: a cut aborts the task that serves it.
struct End {
    journal: Journal,
    service: String,
    number: u32,
    how: ConnectionEvent,
}

impl End {
    fn is(&mut self, how: ConnectionEvent) {
        self.how = how;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        record(&self.journal, &self.service, self.number, self.how.clone());
    }
}

/// Listens on a loopback port, for the runtime of the caller.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// The next connection; waits for ever without a listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            // Too many open files, for the moment.
            Err(_) => tokio::time::sleep(TRY_AGAIN).await,
        }
    }
}
