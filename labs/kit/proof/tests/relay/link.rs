//! Faults of the link, with a plain TCP peer behind the wiretap whose bytes are not AMQP.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wiretap::{ConnectionEvent, Event, Journal, LinkEvent, Loss, Side, Wiretap};

use proof::{PATIENCE, SILENCE, Scratch, soon, until};

const ROLE: &str = "history";

/// A wiretap with both ends in our hands.
pub struct Wire {
    pub tap: Wiretap,
    pub journal: Journal,
    server: TcpListener,
    _scratch: Scratch,
}

impl Wire {
    pub async fn open() -> Result<Self> {
        let scratch = Scratch::new("link");
        let journal = Journal::create(scratch.path(), "00", "link", 1)?;
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let port = server.local_addr()?.port();
        let tap = Wiretap::open(ROLE, "127.0.0.1", port, &journal)?;
        Ok(Self {
            tap,
            journal,
            server,
            _scratch: scratch,
        })
    }

    async fn client(&self) -> std::io::Result<TcpStream> {
        let client = TcpStream::connect(("127.0.0.1", self.tap.port())).await?;
        client.set_nodelay(true)?;
        Ok(client)
    }

    /// A connection through the wiretap: the client's end and the server's.
    pub async fn connect(&self) -> Result<(TcpStream, TcpStream)> {
        let client = self.client().await?;
        let (server, _) = soon("the wiretap connects", self.server.accept()).await??;
        server.set_nodelay(true)?;
        Ok((client, server))
    }

    fn told(&self, what: &ConnectionEvent) -> usize {
        self.journal.connection_count(ROLE, what)
    }
}

/// Sends `text` from one end and expects exactly that at the other.
async fn crosses(from: &mut TcpStream, to: &mut TcpStream, text: &str) -> Result<()> {
    from.write_all(text.as_bytes()).await?;
    receives(to, text).await
}

async fn receives(to: &mut TcpStream, text: &str) -> Result<()> {
    let mut got = vec![0; text.len()];
    soon(text, to.read_exact(&mut got)).await??;
    ensure!(got == text.as_bytes(), "{text} came as {got:?}");
    Ok(())
}

/// What comes until the end; whether that is an orderly one does not matter.
pub async fn rest(end: &mut TcpStream) -> Result<Vec<u8>> {
    let mut got = Vec::new();
    match soon("the connection ends", end.read_to_end(&mut got)).await? {
        Ok(_) => Ok(got),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(got),
        Err(error) => Err(error.into()),
    }
}

async fn silent(end: &mut TcpStream) -> Result<()> {
    let mut got = [0; 16];
    let read = timeout(SILENCE, end.read(&mut got)).await;
    ensure!(read.is_err(), "{read:?} instead of silence: {got:?}");
    Ok(())
}

pub async fn passes_unchanged() -> Result<()> {
    let wire = Wire::open().await?;
    let (client, server) = wire.connect().await?;
    let mut chance = StdRng::seed_from_u64(1734);
    let mut noise = || {
        let mut bytes = vec![0; 500_000 + chance.random_range(0..1000)];
        chance.fill_bytes(&mut bytes);
        bytes
    };
    let (up, down) = (noise(), noise());
    let there = both_ways(client, &up);
    let back = both_ways(server, &down);
    let (from_server, from_client) =
        soon("all passes", async { tokio::join!(there, back) }).await?;
    ensure!(from_server? == down, "changed on the way to the client");
    ensure!(from_client? == up, "changed on the way to the server");
    until("both ends are gone", || {
        wire.told(&ConnectionEvent::Closed) == 1
    })
    .await?;
    ensure!(wire.told(&ConnectionEvent::Unreadable) == 2);
    Ok(())
}

/// Sends `bytes`, closes, and gives what the other end sent until it closed.
async fn both_ways(end: TcpStream, bytes: &[u8]) -> Result<Vec<u8>> {
    let (mut reader, mut writer) = end.into_split();
    let mut got = Vec::new();
    let send = async {
        // In pieces that cut frames wherever they like.
        for piece in bytes.chunks(7001) {
            writer.write_all(piece).await?;
        }
        writer.shutdown().await
    };
    let (sent, read) = tokio::join!(send, reader.read_to_end(&mut got));
    sent?;
    read?;
    Ok(got)
}

/// Less than a frame's header, and still not held back: it can be no AMQP.
pub async fn short_greeting() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    crosses(&mut client, &mut server, "h").await?;
    crosses(&mut client, &mut server, "i").await?;
    crosses(&mut server, &mut client, "yo").await?;
    let (mut client, mut server) = wire.connect().await?;
    crosses(&mut server, &mut client, "220").await?;
    client.write_all(b"AMQ").await?;
    silent(&mut server).await?;
    client.write_all(b"?").await?;
    receives(&mut server, "AMQ?").await
}

pub async fn cut() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    let (mut other, mut other_server) = wire.connect().await?;
    crosses(&mut client, &mut server, "before").await?;
    ensure!(!wire.journal.disconnected(ROLE));
    wire.tap.cut();
    for end in [&mut client, &mut server, &mut other, &mut other_server] {
        ensure!(rest(end).await?.is_empty());
    }
    ensure!(
        wire.journal.disconnected(ROLE),
        "the journal does not tell that a connection ended"
    );
    let (mut client, mut server) = wire.connect().await?;
    crosses(&mut client, &mut server, "after").await?;
    crosses(&mut server, &mut client, "back").await
}

/// The journal tells which connections a cut closes: those opened before it, and no other.
pub async fn cut_as_one_connects() -> Result<()> {
    const MANY: usize = 200;
    let wire = Wire::open().await?;
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let (client, ()) = tokio::join!(wire.client(), async { wire.tap.cut() });
        clients.push(client?);
    }
    until("all are let in", || {
        wire.told(&ConnectionEvent::Opened) == MANY
    })
    .await?;
    wire.tap.cut();
    let closed = ConnectionEvent::Lost(Loss::ClosedByCheck);
    until("all are closed", || wire.told(&closed) == MANY).await?;
    wire.journal.read(|entries| {
        let (mut new, mut old) = (HashSet::new(), HashSet::new());
        for entry in entries {
            match &entry.event {
                Event::Link {
                    what: LinkEvent::Cut,
                    ..
                } => old.extend(new.drain()),
                Event::Connection {
                    connection, what, ..
                } if what == &ConnectionEvent::Opened => _ = new.insert(*connection),
                Event::Connection {
                    connection, what, ..
                } if what == &closed => ensure!(
                    old.contains(connection),
                    "#{connection} came after the cut that closed it"
                ),
                _ => {}
            }
        }
        Ok(())
    })
}

pub async fn refuse() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    wire.tap.refuse();
    ensure!(rest(&mut client).await?.is_empty());
    ensure!(rest(&mut server).await?.is_empty());
    let error = wire.client().await.err().context("let in")?;
    ensure!(error.kind() == ErrorKind::ConnectionRefused, "{error}");
    wire.tap.restore();
    let deadline = Instant::now() + PATIENCE;
    while wire.client().await.is_err() {
        ensure!(Instant::now() < deadline, "refused after restore");
    }
    wire.server.accept().await?;
    let (mut client, mut server) = wire.connect().await?;
    crosses(&mut client, &mut server, "after").await
}

/// A check that refuses and restores in one breath has still closed the connections.
pub async fn refuse_for_a_moment() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    wire.tap.refuse();
    wire.tap.restore();
    ensure!(rest(&mut client).await?.is_empty());
    ensure!(rest(&mut server).await?.is_empty());
    Ok(())
}

pub async fn port_taken_meanwhile() -> Result<()> {
    let wire = Wire::open().await?;
    wire.tap.refuse();
    until("refused", || {
        std::net::TcpStream::connect(("127.0.0.1", wire.tap.port())).is_err()
    })
    .await?;
    let thief = std::net::TcpListener::bind(("127.0.0.1", wire.tap.port()))?;
    wire.tap.restore();
    soon("the wiretap tries", tokio::time::sleep(SILENCE)).await?;
    drop(thief);
    let deadline = Instant::now() + Duration::from_secs(3);
    while wire.client().await.is_err() {
        ensure!(
            Instant::now() < deadline,
            "still refused when the port is free"
        );
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(())
}

/// On a port from which outgoing connections are made, a client that tries again and again
/// while it is refused is given to itself one day; and any program may take the port.
pub async fn port_is_not_ephemeral() -> Result<()> {
    let file = "/proc/sys/net/ipv4/ip_local_port_range";
    let Ok(range) = std::fs::read_to_string(file) else {
        return Ok(());
    };
    let first: u16 = range.split_whitespace().next().context(file)?.parse()?;
    let wire = Wire::open().await?;
    let port = wire.tap.port();
    ensure!(port < first, "{port} is in {range}");
    Ok(())
}

pub async fn turn_away() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    wire.tap.turn_away();
    ensure!(rest(&mut client).await?.is_empty());
    ensure!(rest(&mut server).await?.is_empty());
    for count in 1..=3 {
        let mut client = wire.client().await?;
        ensure!(rest(&mut client).await?.is_empty());
        ensure!(wire.told(&ConnectionEvent::TurnedAway) == count);
    }
    let knocked = timeout(SILENCE, wire.server.accept()).await;
    ensure!(knocked.is_err(), "the server heard of it");
    wire.tap.restore();
    let (mut client, mut server) = wire.connect().await?;
    crosses(&mut client, &mut server, "after").await
}

pub async fn delay() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(120);
    const MANY: usize = 50;
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    wire.tap.delay(DELAY);
    let began = Instant::now();
    crosses(&mut client, &mut server, "ping").await?;
    ensure!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    crosses(&mut server, &mut client, "pong").await?;
    ensure!(began.elapsed() >= DELAY * 2, "{:?}", began.elapsed());

    // Under way at once: all take one delay, not one after another.
    let began = Instant::now();
    for _ in 0..MANY {
        client.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    receives(&mut server, &"x".repeat(MANY)).await?;
    let took = began.elapsed();
    ensure!(took >= DELAY, "{took:?}");
    ensure!(
        took < DELAY * 10,
        "{MANY} messages took {took:?}: queued up"
    );

    client.write_all(b"slow").await?;
    wire.tap.restore();
    receives(&mut server, "slow").await?;
    let began = Instant::now();
    crosses(&mut client, &mut server, "quick").await?;
    ensure!(began.elapsed() < DELAY, "{:?}", began.elapsed());
    Ok(())
}

/// The timer's own step is a millisecond; nothing that is due already may wait for it.
pub async fn at_once() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    let mut best = PATIENCE;
    for _ in 0..100 {
        let began = Instant::now();
        crosses(&mut client, &mut server, "ping").await?;
        crosses(&mut server, &mut client, "pong").await?;
        best = best.min(began.elapsed());
    }
    ensure!(best < Duration::from_millis(1), "{best:?} there and back");
    Ok(())
}

/// A check that computes, or reads a database, holds up its own thread and no byte.
pub async fn while_the_check_is_busy() -> Result<()> {
    let wire = Wire::open().await?;
    let (client, server) = wire.connect().await?;
    let (mut client, mut server) = (client.into_std()?, server.into_std()?);
    client.set_nonblocking(false)?;
    server.set_nonblocking(false)?;
    let (sender, came) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut got = [0; 4];
        let crossed = client
            .write_all(b"ping")
            .and_then(|()| server.read_exact(&mut got));
        sender.send(crossed.map(|()| got))
    });
    // Not awaited: nothing else on this thread can run.
    let got = came
        .recv_timeout(PATIENCE)
        .context("held up by the check")??;
    ensure!(&got == b"ping", "{got:?}");
    Ok(())
}

pub async fn black_hole() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    crosses(&mut client, &mut server, "before").await?;
    wire.tap.black_hole(Side::Client);
    client.write_all(b"into the void").await?;
    crosses(&mut server, &mut client, "still here").await?;
    silent(&mut server).await?;
    // As when the cable is back: TCP sends again what was never acknowledged.
    wire.tap.restore();
    receives(&mut server, "into the void").await?;
    wire.tap.black_hole(Side::Server);
    server.write_all(b"nothing").await?;
    crosses(&mut client, &mut server, "I can talk").await?;
    silent(&mut client).await?;
    wire.tap.restore();
    receives(&mut client, "nothing").await
}

/// Who is cut off by a dead network is told nothing, not even that the other end is gone.
pub async fn black_hole_hides_the_end() -> Result<()> {
    let wire = Wire::open().await?;
    let (client, mut server) = wire.connect().await?;
    wire.tap.black_hole(Side::Client);
    drop(client);
    silent(&mut server).await?;
    wire.tap.cut();
    ensure!(rest(&mut server).await?.is_empty());
    Ok(())
}

pub async fn half_close() -> Result<()> {
    for from in [Side::Client, Side::Server] {
        let wire = Wire::open().await?;
        let (client, server) = wire.connect().await?;
        let (mut closed, mut open) = match from {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        crosses(&mut closed, &mut open, "before").await?;
        wire.tap.half_close(from);
        ensure!(rest(&mut open).await?.is_empty(), "more came");
        crosses(&mut open, &mut closed, "the other way").await?;
        // To write into the closed way is no error at once, as with TCP.
        closed.write_all(b"who listens?").await?;
        crosses(&mut open, &mut closed, "still flows").await?;
    }
    Ok(())
}

pub async fn back_pressure() -> Result<()> {
    const PIECE: usize = 1 << 20;
    const TOO_MUCH: usize = 96 << 20;
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    let piece = vec![b'z'; PIECE];
    let mut sent = 0;
    while sent < TOO_MUCH {
        match timeout(SILENCE * 3, client.write(&piece)).await {
            Ok(length) => sent += length?,
            Err(_) => break,
        }
    }
    ensure!(
        sent < TOO_MUCH,
        "{sent} bytes went into a reader that does not read"
    );
    drop(client);
    let got = rest(&mut server).await?;
    ensure!(got.len() == sent, "{} of {sent} bytes came", got.len());
    Ok(())
}

pub async fn dropped() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    let port = wire.tap.port();
    drop(wire);
    ensure!(rest(&mut client).await?.is_empty());
    ensure!(rest(&mut server).await?.is_empty());
    let again = TcpStream::connect(("127.0.0.1", port)).await;
    ensure!(again.is_err(), "the port is still open");
    Ok(())
}

pub async fn no_broker() -> Result<()> {
    let mut wire = Wire::open().await?;
    // A port of our own that nobody listens at.
    wire.server = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = wire.client().await?;
    ensure!(rest(&mut client).await?.is_empty());
    until("the end is journaled", || wire.journal.disconnected(ROLE)).await?;
    let lost = wire.journal.read(|entries| format!("{entries:?}"));
    ensure!(lost.contains("the broker cannot be reached"), "{lost}");
    Ok(())
}
