//! The relay of chapter 01: between an HTTP client and a server, journaling requests and
//! responses, and losing, delaying or answering them as a check asks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::journal::{Event, Journal, Side};
use super::link::Link;

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The server's own answer, at once.
    Pass,
    /// The server gets the request; its response is lost and the connection cut.
    Lost,
    /// The server gets the request; its response is held back this long.
    Late(Duration),
    /// The server never hears of it: the relay answers with this status.
    Status(u16),
}

/// A relay in front of an HTTP server.
#[derive(Debug)]
pub struct HttpRelay {
    link: Link,
    plan: Rc<RefCell<VecDeque<Answer>>>,
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
    pub async fn open(service: &str, port: u16, journal: &Journal) -> Result<Self> {
        let plan = Rc::new(RefCell::new(VecDeque::new()));
        let relay = Relay {
            service: service.to_owned(),
            server: port,
            journal: journal.clone(),
            plan: plan.clone(),
        };
        let link = Link::open(service, journal, move |client, number, _| {
            relay.clone().serve(client, number)
        })
        .await?;
        Ok(Self { link, plan })
    }

    /// The base URL for the client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// What becomes of the next requests, in turn; those after them pass.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.plan.borrow_mut().extend(answers);
    }

    /// Whether every answer given to [`HttpRelay::next`] has been used.
    #[must_use]
    pub fn spent(&self) -> bool {
        self.plan.borrow().is_empty()
    }
}

#[derive(Clone)]
struct Relay {
    service: String,
    server: u16,
    journal: Journal,
    plan: Rc<RefCell<VecDeque<Answer>>>,
}

impl Relay {
    async fn serve(self, mut client: TcpStream, number: u32) -> Result<()> {
        client.set_nodelay(true)?;
        let mut server = None;
        let mut unread = Vec::new();
        while let Some(request) = read_message(&mut client, &mut unread, Side::Client).await? {
            self.record(number, Side::Client, &request);
            let answer = self.plan.borrow_mut().pop_front().unwrap_or(Answer::Pass);
            if let Answer::Status(status) = answer {
                let canned = canned(status);
                self.record(number, Side::Server, &canned);
                client.write_all(&canned.bytes).await?;
                continue;
            }
            let answered = async {
                let response = self.forward(&mut server, &request).await?;
                match answer {
                    Answer::Lost => {
                        self.record(number, Side::Server, &response);
                        bail!("response lost by the check");
                    }
                    Answer::Late(delay) => tokio::time::sleep(delay).await,
                    Answer::Pass | Answer::Status(_) => {}
                }
                Ok(response)
            };
            let response = tokio::select! {
                response = answered => response?,
                () = hung_up(&client) => bail!("the client hung up before it had its answer"),
            };
            self.record(number, Side::Server, &response);
            client.write_all(&response.bytes).await?;
        }
        Ok(())
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
        let mut unread = Vec::new();
        read_message(connection, &mut unread, Side::Server)
            .await?
            .context("the server closed the connection instead of answering")
    }

    fn record(&self, connection: u32, from: Side, message: &Read) {
        self.journal.record(Event::Http {
            service: self.service.clone(),
            connection,
            from,
            line: message.line.clone(),
            body: message.body.clone(),
        });
    }
}

/// One HTTP message as it came.
struct Read {
    bytes: Vec<u8>,
    line: String,
    body: String,
}

/// Waits until the client has closed its end.
async fn hung_up(client: &TcpStream) {
    if client.peek(&mut [0]).await.is_ok_and(|length| length > 0) {
        // It sends more already, so it is still there; its next request waits for its turn.
        std::future::pending::<()>().await;
    }
}

fn canned(status: u16) -> Read {
    let line = format!("{status} from the relay");
    let text = format!("HTTP/1.1 {status} Sent by the check\r\ncontent-length: 0\r\n\r\n");
    Read {
        bytes: text.into_bytes(),
        line,
        body: String::new(),
    }
}

/// Reads one message, head and body; `None` when the peer has closed instead. `unread` keeps
/// what came after it.
async fn read_message(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    from: Side,
) -> Result<Option<Read>> {
    loop {
        if let Some((line, head, length)) = parse_head(unread, from)? {
            while unread.len() < head + length {
                if stream.read_buf(unread).await? == 0 {
                    bail!("closed in the middle of a body");
                }
            }
            let rest = unread.split_off(head + length);
            let bytes = std::mem::replace(unread, rest);
            let kept = bytes.len().min(head + 256);
            let body = String::from_utf8_lossy(&bytes[head..kept]).into_owned();
            return Ok(Some(Read { bytes, line, body }));
        }
        if stream.read_buf(unread).await? == 0 {
            return if unread.is_empty() {
                Ok(None)
            } else {
                bail!("closed in the middle of a message")
            };
        }
    }
}

/// The first line, the head's length and the body's length, once the head is all there.
fn parse_head(bytes: &[u8], from: Side) -> Result<Option<(String, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let (line, status) = match from {
        Side::Client => {
            let mut request = httparse::Request::new(&mut headers);
            let status = request.parse(bytes).context("not an HTTP request")?;
            let (method, path) = (request.method.unwrap_or("?"), request.path.unwrap_or("?"));
            (format!("{method} {path}"), status)
        }
        Side::Server => {
            let mut response = httparse::Response::new(&mut headers);
            let status = response.parse(bytes).context("not an HTTP response")?;
            let (code, reason) = (response.code.unwrap_or(0), response.reason.unwrap_or(""));
            (format!("{code} {reason}"), status)
        }
    };
    let httparse::Status::Complete(head) = status else {
        return Ok(None);
    };
    let length = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .map(|header| {
            String::from_utf8_lossy(header.value)
                .trim()
                .parse::<usize>()
        })
        .transpose()
        .context("content-length is not a number")?
        .unwrap_or(0);
    Ok(Some((line, head, length)))
}
