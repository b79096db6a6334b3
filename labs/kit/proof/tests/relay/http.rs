//! The relay of chapter 01 between a client and a server whose every byte is ours.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wiretap::{Answer, Edge, Event, HttpRelay, Journal, Side};

use super::link::rest;
use proof::{SILENCE, Scratch, soon, until};

const ROLE: &str = "video-streaming";
const POST: &str = "POST /viewed HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
const GET: &str = "GET /history HTTP/1.1\r\nhost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A relay with both ends in our hands.
struct Room {
    relay: HttpRelay,
    journal: Journal,
    server: TcpListener,
    _scratch: Scratch,
}

impl Room {
    async fn open() -> Result<Self> {
        let scratch = Scratch::new("http");
        let journal = Journal::create(scratch.path(), "01", "http", 1)?;
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let relay = HttpRelay::open(ROLE, server.local_addr()?.port(), &journal)?;
        Ok(Self {
            relay,
            journal,
            server,
            _scratch: scratch,
        })
    }

    async fn client(&self) -> Result<TcpStream> {
        let address = self.relay.url().replace("http://", "");
        Ok(TcpStream::connect(address).await?)
    }

    async fn accept(&self) -> Result<TcpStream> {
        Ok(soon("the relay connects", self.server.accept()).await??.0)
    }

    async fn is_left_alone(&self) -> Result<()> {
        let knocked = timeout(SILENCE, self.server.accept()).await;
        ensure!(knocked.is_err(), "the server heard of it");
        Ok(())
    }

    /// The requests and responses so far: `> POST /viewed|hello`.
    fn told(&self) -> Vec<String> {
        self.journal.read(|entries| {
            let http = entries.iter().filter_map(|entry| match &entry.event {
                Event::Http {
                    line,
                    body,
                    service,
                    ..
                } if service == ROLE => {
                    let arrow = if line.from() == Side::Client {
                        '>'
                    } else {
                        '<'
                    };
                    Some(format!("{arrow} {line}|{body}"))
                }
                _ => None,
            });
            http.collect()
        })
    }
}

async fn send(end: &mut TcpStream, text: &str) -> Result<()> {
    end.write_all(text.as_bytes()).await?;
    Ok(())
}

async fn receives(end: &mut TcpStream, text: &str) -> Result<()> {
    let mut got = vec![0; text.len()];
    let read = soon(text, end.read_exact(&mut got)).await?;
    read.with_context(|| format!("instead of {text:?}"))?;
    let got = String::from_utf8_lossy(&got);
    ensure!(got == text, "{got:?} instead of {text:?}");
    Ok(())
}

pub async fn pass() -> Result<()> {
    let room = Room::open().await?;
    let mut client = room.client().await?;
    send(&mut client, POST).await?;
    let mut server = room.accept().await?;
    // The same connection on both sides, as long as both keep it.
    for round in 0..3 {
        if round > 0 {
            send(&mut client, POST).await?;
        }
        receives(&mut server, POST).await?;
        send(&mut server, OK).await?;
        receives(&mut client, OK).await?;
    }
    // The next request may come before the answer to this one.
    send(&mut client, &format!("{GET}{POST}")).await?;
    receives(&mut server, GET).await?;
    send(&mut server, OK).await?;
    receives(&mut server, POST).await?;
    send(&mut server, OK).await?;
    receives(&mut client, &OK.repeat(2)).await?;
    drop(client);
    ensure!(rest(&mut server).await?.is_empty());
    let told = room.told();
    ensure!(
        told[..2] == ["> POST /viewed|hello", "< 200 OK|ok"],
        "{told:?}"
    );
    ensure!(told.len() == 10, "{told:?}");
    Ok(())
}

pub async fn split_bodies() -> Result<()> {
    let room = Room::open().await?;
    let mut client = room.client().await?;
    client.set_nodelay(true)?;
    for byte in POST.as_bytes() {
        client.write_all(&[*byte]).await?;
        tokio::task::yield_now().await;
    }
    let mut server = room.accept().await?;
    server.set_nodelay(true)?;
    receives(&mut server, POST).await?;
    for byte in OK.as_bytes() {
        server.write_all(&[*byte]).await?;
        tokio::task::yield_now().await;
    }
    receives(&mut client, OK).await?;
    let body = "b".repeat(700_000);
    let large = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(&mut client, GET).await?;
    receives(&mut server, GET).await?;
    let sending = server.write_all(large.as_bytes());
    let (sent, got) = tokio::join!(sending, receives(&mut client, &large));
    sent?;
    got
}

pub async fn lost() -> Result<()> {
    let room = Room::open().await?;
    room.relay.next([Answer::Lost]);
    let mut client = room.client().await?;
    send(&mut client, POST).await?;
    let mut server = room.accept().await?;
    receives(&mut server, POST).await?;
    send(&mut server, OK).await?;
    ensure!(rest(&mut client).await?.is_empty(), "the response came");
    ensure!(room.relay.spent());
    ensure!(room.told() == ["> POST /viewed|hello", "< 200 OK|ok"]);
    let mut client = room.client().await?;
    send(&mut client, POST).await?;
    let mut server = room.accept().await?;
    receives(&mut server, POST).await?;
    send(&mut server, OK).await?;
    receives(&mut client, OK).await
}

pub async fn late() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(150);
    let room = Room::open().await?;
    room.relay.next([Answer::Late(DELAY)]);
    let mut client = room.client().await?;
    let began = Instant::now();
    send(&mut client, POST).await?;
    let mut server = room.accept().await?;
    receives(&mut server, POST).await?;
    send(&mut server, OK).await?;
    receives(&mut client, OK).await?;
    ensure!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    ensure!(room.told() == ["> POST /viewed|hello", "< 200 OK|ok"]);
    Ok(())
}

pub async fn status() -> Result<()> {
    let room = Room::open().await?;
    room.relay.next([Answer::Status(500), Answer::Status(503)]);
    let mut client = room.client().await?;
    for status in [500, 503] {
        send(&mut client, POST).await?;
        let answer = format!("HTTP/1.1 {status} Sent by the check\r\ncontent-length: 0\r\n\r\n");
        receives(&mut client, &answer).await?;
    }
    room.is_left_alone().await?;
    ensure!(room.relay.spent());
    send(&mut client, POST).await?;
    let mut server = room.accept().await?;
    receives(&mut server, POST).await?;
    send(&mut server, OK).await?;
    receives(&mut client, OK).await?;
    ensure!(
        room.told()[1] == "< 500 from the relay|",
        "{:?}",
        room.told()
    );
    Ok(())
}

pub async fn server_down() -> Result<()> {
    let mut room = Room::open().await?;
    room.server = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = room.client().await?;
    send(&mut client, POST).await?;
    ensure!(rest(&mut client).await?.is_empty());
    ensure!(room.told() == ["> POST /viewed|hello"]);
    // The relay has a thread of its own: the client may see the end before the journal does.
    until("the journal says why", || {
        let told = room.journal.read(|entries| format!("{entries:?}"));
        told.contains("the server cannot be reached")
    })
    .await
}

pub async fn chunked() -> Result<()> {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n6;note=x\r\n world\r\n0\r\ntrailer: t\r\n\r\n";
    const UPLOAD: &str = "POST /viewed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n";
    let room = Room::open().await?;
    let mut client = room.client().await?;
    send(&mut client, UPLOAD).await?;
    let mut server = room.accept().await?;
    for round in 0..2 {
        if round > 0 {
            send(&mut client, UPLOAD).await?;
        }
        receives(&mut server, UPLOAD).await?;
        for piece in CHUNKED.as_bytes().chunks(7) {
            server.write_all(piece).await?;
            tokio::task::yield_now().await;
        }
        receives(&mut client, CHUNKED).await?;
    }
    ensure!(room.told().len() == 4, "{:?}", room.told());
    ensure!(room.told()[1].contains("hello"), "{:?}", room.told());
    // A chunk of a size that is no number, or more than there is: not passed on as one.
    for nonsense in ["zz\r\n", "ffffffffffffffff\r\n", "ffffffffffffff\r\n"] {
        let mut client = room.client().await?;
        send(&mut client, GET).await?;
        let mut server = room.accept().await?;
        receives(&mut server, GET).await?;
        let head = CHUNKED.split_once("5\r\n").context("no chunk")?.0;
        send(&mut server, &format!("{head}{nonsense}")).await?;
        drop(server);
        ensure!(rest(&mut client).await?.is_empty());
    }
    Ok(())
}

/// Neither a length nor chunks: the body ends with the connection.
pub async fn until_close() -> Result<()> {
    const BARE: &str = "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nto the end";
    let room = Room::open().await?;
    let mut client = room.client().await?;
    send(&mut client, GET).await?;
    let mut server = room.accept().await?;
    receives(&mut server, GET).await?;
    send(&mut server, BARE).await?;
    drop(server);
    let got = rest(&mut client).await?;
    ensure!(got == BARE.as_bytes(), "{}", String::from_utf8_lossy(&got));
    ensure!(room.told() == ["> GET /history|", "< 200 OK|to the end"]);
    Ok(())
}

/// Responses that have a length and no body all the same.
pub async fn no_body() -> Result<()> {
    const HEAD: &str = "HEAD /history HTTP/1.1\r\nhost: x\r\n\r\n";
    const LONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 700\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    let room = Room::open().await?;
    let mut client = room.client().await?;
    send(&mut client, HEAD).await?;
    let mut server = room.accept().await?;
    receives(&mut server, HEAD).await?;
    send(&mut server, LONG).await?;
    receives(&mut client, LONG).await?;
    send(&mut client, POST).await?;
    receives(&mut server, POST).await?;
    send(&mut server, EMPTY).await?;
    receives(&mut client, EMPTY).await
}

/// A kept connection whose server goes is closed on the client's side too, so that the
/// client's pool sees what it would see without a relay.
pub async fn idle_server_closes() -> Result<()> {
    let room = Room::open().await?;
    let mut client = room.client().await?;
    send(&mut client, POST).await?;
    let mut server = room.accept().await?;
    receives(&mut server, POST).await?;
    send(&mut server, OK).await?;
    receives(&mut client, OK).await?;
    drop(server);
    ensure!(rest(&mut client).await?.is_empty());
    Ok(())
}

pub async fn client_gives_up() -> Result<()> {
    let room = Room::open().await?;
    room.relay.next([Answer::Late(Duration::from_secs(60))]);
    let mut client = room.client().await?;
    send(&mut client, POST).await?;
    let mut server = room.accept().await?;
    receives(&mut server, POST).await?;
    drop(client);
    ensure!(rest(&mut server).await?.is_empty());
    until("it is journaled", || room.journal.disconnected(ROLE)).await?;
    ensure!(room.told() == ["> POST /viewed|hello"]);
    Ok(())
}

/// The second response is stopped, and never arrives once it is cut; the first one and its request pass.
pub async fn held_response() -> Result<()> {
    let room = Room::open().await?;
    let edge = Edge::Before;
    let mut held = room.relay.hold_at(Side::Server, 2, edge, Box::new(|| ()));
    let mut client = room.client().await?;
    send(&mut client, GET).await?;
    let mut server = room.accept().await?;
    receives(&mut server, GET).await?;
    send(&mut server, OK).await?;
    receives(&mut client, OK).await?;
    ensure!(!held.reached());
    send(&mut client, GET).await?;
    receives(&mut server, GET).await?;
    send(&mut server, OK).await?;
    soon("the second response", held.comes()).await?;
    held.cut();
    let got = rest(&mut client).await?;
    ensure!(got.is_empty(), "{got:?} arrived");
    Ok(())
}
