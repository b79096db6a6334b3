//! The relay of chapter 01, between an HTTP client and a server. It journals requests and
//! responses; when a check asks for it, it loses or delays a response, or answers itself.

mod message;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::event::{Event, HttpLine, Loss};
use super::journal::Journal;
use super::link::Link;
use super::{Act, Edge, Held, Side, Stopped, lock};
use message::{Expected, Read, read_message};

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The server's own answer, at once.
    Pass,
    /// The server gets the request; its response is lost and the connection cut.
    Lost,
    /// The server gets the request; the relay holds its response back this long.
    Late(Duration),
    /// The server does not get the request: the relay answers with this status.
    Status(u16),
}

/// A relay in front of an HTTP server.
#[derive(Debug)]
pub struct HttpRelay {
    link: Link,
    plan: Arc<Mutex<VecDeque<Answer>>>,
    traps: Arc<Mutex<Vec<Trap>>>,
}

/// A message that is still to come, and is to be stopped.
#[derive(Debug)]
struct Trap {
    from: Side,
    nth: usize,
    edge: Edge,
    then: Stopped,
}

impl Deref for HttpRelay {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl HttpRelay {
    /// Opens a relay for the requests of `service` to the server on loopback `port`.
    ///
    /// # Errors
    /// When no loopback port is free.
    pub fn open(service: &str, port: u16, journal: &Journal) -> Result<Self> {
        let (plan, traps) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
        let relay = Relay {
            service: service.to_owned(),
            server: port,
            journal: journal.clone(),
            plan: plan.clone(),
            traps: traps.clone(),
        };
        let link = Link::open(service, journal, move |client, number, _| {
            relay.clone().serve(client, number)
        })?;
        Ok(Self { link, plan, traps })
    }

    /// Holds the `nth` request or response from now on, which `from` sends, as
    /// [`Wiretap::hold_at`](super::Wiretap::hold_at) does.
    #[must_use = "the message passes as soon as this is dropped"]
    pub fn hold_at(&self, from: Side, nth: usize, edge: Edge, act: Act) -> Held {
        let (held, then) = Held::pair(act);
        lock(&self.traps).push(Trap {
            from,
            nth,
            edge,
            then,
        });
        held
    }

    /// The base URL for the client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Says what becomes of the next requests, in this order; later ones pass.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.plan).extend(answers);
    }

    /// Whether every answer given to [`HttpRelay::next`] has been used.
    #[must_use]
    pub fn spent(&self) -> bool {
        lock(&self.plan).is_empty()
    }
}

#[derive(Clone)]
struct Relay {
    service: String,
    server: u16,
    journal: Journal,
    plan: Arc<Mutex<VecDeque<Answer>>>,
    traps: Arc<Mutex<Vec<Trap>>>,
}

impl Relay {
    async fn serve(self, mut client: TcpStream, number: u32) -> Result<()> {
        client.set_nodelay(true)?;
        let mut server = None;
        let mut unread = Vec::new();
        loop {
            // When the server closes a kept connection, so does the relay: the client's pool must
            // see what it would see without a relay.
            let request = tokio::select! {
                request = read_message(&mut client, &mut unread, Expected::Request) => request?,
                () = gone(server.as_ref()) => None,
            };
            let Some(request) = request else {
                return Ok(());
            };
            self.record(number, &request);
            self.passes(Side::Client, Edge::Before).await?;
            let answer = lock(&self.plan).pop_front().unwrap_or(Answer::Pass);
            if let Answer::Status(status) = answer {
                let canned = canned(status);
                self.record(number, &canned);
                client.write_all(&canned.bytes).await?;
                continue;
            }
            let answered = async {
                let response = self.forward(&mut server, &request).await?;
                match answer {
                    Answer::Lost => {
                        self.record(number, &response);
                        bail!(Loss::ResponseLost);
                    }
                    Answer::Late(delay) => tokio::time::sleep(delay).await,
                    Answer::Pass | Answer::Status(_) => {}
                }
                Ok(response)
            };
            let response = tokio::select! {
                response = answered => response?,
                () = hung_up(&client) => bail!(Loss::HungUp),
            };
            self.record(number, &response);
            self.passes(Side::Server, Edge::Before).await?;
            client.write_all(&response.bytes).await?;
            self.passes(Side::Server, Edge::After).await?;
        }
    }

    /// Waits at this side of a request or response for as long as a check holds it there.
    async fn passes(&self, from: Side, edge: Edge) -> Result<()> {
        let stopped = {
            let mut traps = lock(&self.traps);
            if edge == Edge::Before {
                let counted = traps.iter_mut().filter(|trap| trap.from == from);
                counted.for_each(|trap| trap.nth = trap.nth.saturating_sub(1));
            }
            let hit = traps
                .iter()
                .position(|trap| trap.from == from && trap.edge == edge && trap.nth == 0);
            hit.map(|at| traps.remove(at).then)
        };
        match stopped {
            Some(stopped) => stopped.wait().await,
            None => Ok(()),
        }
    }

    async fn forward(&self, server: &mut Option<TcpStream>, request: &Read) -> Result<Read> {
        let connection = match server.take() {
            Some(open) => server.insert(open),
            None => {
                let open = TcpStream::connect(("127.0.0.1", self.server))
                    .await
                    .context("the server cannot be reached")?;
                open.set_nodelay(true)?;
                server.insert(open)
            }
        };
        connection.write_all(&request.bytes).await?;
        self.passes(Side::Client, Edge::After).await?;
        let mut unread = Vec::new();
        let to_head = matches!(&request.line, HttpLine::Request { method, .. } if method == "HEAD");
        read_message(connection, &mut unread, Expected::Response { to_head })
            .await?
            .context("the server closed the connection instead of answering")
    }

    fn record(&self, connection: u32, message: &Read) {
        self.journal.record(Event::Http {
            service: self.service.clone(),
            connection,
            line: message.line.clone(),
            body: message.body.clone(),
        });
    }
}

/// Waits until the kept connection to the server is closed; for ever without one.
async fn gone(server: Option<&TcpStream>) {
    match server {
        Some(server) => hung_up(server).await,
        None => std::future::pending().await,
    }
}

/// Waits until the peer has closed its end.
async fn hung_up(peer: &TcpStream) {
    if peer.peek(&mut [0]).await.is_ok_and(|length| length > 0) {
        // It has sent its next request, so it is still there; that request waits its turn.
        std::future::pending::<()>().await;
    }
}

fn canned(status: u16) -> Read {
    let text = format!("HTTP/1.1 {status} Sent by the check\r\ncontent-length: 0\r\n\r\n");
    Read {
        bytes: text.into_bytes(),
        line: HttpLine::Response {
            status,
            reason: "from the relay".to_owned(),
        },
        body: String::new(),
    }
}
