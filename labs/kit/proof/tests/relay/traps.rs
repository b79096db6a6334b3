//! `cut_before`, `hold` and `hold_at` on frames written by hand: where exactly the wire is cut or stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wiretap::{Edge, Method, Moment, Side};

use super::link::{Wire, rest};
use proof::{SILENCE, soon, until};

const GREETING: &[u8] = b"AMQP\0\0\x09\x01";
/// `channel.open` on channel 1.
const OPEN: &[u8] = &[1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0xCE];
/// `basic.ack` of tag 7 on channel 1.
const ACK: &[u8] = &[
    1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0xCE,
];

/// What was sent before the trap still arrives, however long it takes.
pub async fn trap_on_a_delayed_link() -> Result<()> {
    let wire = Wire::open().await?;
    let (mut client, mut server) = wire.connect().await?;
    wire.tap.delay(Duration::from_millis(60));
    wire.tap.cut_before(Side::Client, Method::BasicAck);
    client
        .write_all(&[GREETING, OPEN, ACK, OPEN].concat())
        .await?;
    let got = rest(&mut server).await?;
    ensure!(got == [GREETING, OPEN].concat(), "{got:?} arrived");
    ensure!(rest(&mut client).await?.is_empty());
    let ended = || wire.journal.disconnected("history");
    until("the end is journaled", ended).await?;
    Ok(())
}

pub async fn traps_spring_once() -> Result<()> {
    let wire = Wire::open().await?;
    wire.tap.cut_before(Side::Client, Method::BasicAck);
    // Another direction and another method leave it alone.
    let (mut client, mut server) = wire.connect().await?;
    client.write_all(&[GREETING, OPEN].concat()).await?;
    server.write_all(ACK).await?;
    client.shutdown().await?;
    ensure!(rest(&mut server).await? == [GREETING, OPEN].concat());
    drop(server);
    ensure!(rest(&mut client).await? == ACK);
    ensure!(!wire.tap.sprung());

    for expected in [GREETING.to_vec(), [GREETING, ACK].concat()] {
        let (mut client, mut server) = wire.connect().await?;
        client.write_all(&[GREETING, ACK].concat()).await?;
        client.shutdown().await?;
        ensure!(rest(&mut server).await? == expected);
        ensure!(wire.tap.sprung());
    }
    Ok(())
}

/// What comes before the held frame arrives; it and the rest do when it is let go, byte for byte.
pub async fn held_frame() -> Result<()> {
    let wire = Wire::open().await?;
    let held = wire.tap.hold(Side::Client, Method::BasicAck);
    let (mut client, mut server) = wire.connect().await?;
    client.write_all(&[GREETING, OPEN].concat()).await?;
    let mut before = vec![0; GREETING.len() + OPEN.len()];
    server.read_exact(&mut before).await?;
    ensure!(!held.reached());
    client.write_all(&[ACK, OPEN, ACK].concat()).await?;
    client.shutdown().await?;
    until("the ack has come", || held.reached()).await?;
    let early = timeout(SILENCE, server.read_u8()).await;
    ensure!(early.is_err(), "{early:?} passed");
    held.release();
    let got = rest(&mut server).await?;
    ensure!(got == [ACK, OPEN, ACK].concat(), "{got:?} arrived");
    // What was given up before it came holds nothing.
    drop(wire.tap.hold(Side::Client, Method::BasicAck));
    let (mut client, mut server) = wire.connect().await?;
    client.write_all(&[GREETING, ACK].concat()).await?;
    client.shutdown().await?;
    ensure!(rest(&mut server).await? == [GREETING, ACK].concat());
    Ok(())
}

/// The second ack passes, and nothing behind it: not even when the connection is cut there.
pub async fn stopped_after_the_second() -> Result<()> {
    let wire = Wire::open().await?;
    let acts = Arc::new(AtomicUsize::new(0));
    let counted = acts.clone();
    let second = Moment {
        from: Side::Client,
        method: Method::BasicAck,
        nth: 2,
        edge: Edge::After,
    };
    let act = move || _ = counted.fetch_add(1, Ordering::SeqCst);
    let mut held = wire.tap.hold_at(second, Box::new(act));
    let (mut client, mut server) = wire.connect().await?;
    client.write_all(&[GREETING, ACK].concat()).await?;
    let mut first = vec![0; GREETING.len() + ACK.len()];
    server.read_exact(&mut first).await?;
    ensure!(!held.reached(), "the first one is not the second");
    client.write_all(&[ACK, OPEN, ACK].concat()).await?;
    soon("the second ack", held.comes()).await?;
    let mut passed = vec![0; ACK.len()];
    server.read_exact(&mut passed).await?;
    ensure!(passed == ACK, "{passed:?} passed");
    let early = timeout(SILENCE, server.read_u8()).await;
    ensure!(early.is_err(), "{early:?} passed");
    held.cut();
    ensure!(rest(&mut server).await?.is_empty());
    ensure!(acts.load(Ordering::SeqCst) == 1);
    Ok(())
}

/// A held frame whose connection is cut never arrives, even where the link is cut, too.
pub async fn held_and_cut() -> Result<()> {
    let wire = Wire::open().await?;
    for _ in 0..50 {
        let mut held = wire.tap.hold(Side::Client, Method::BasicAck);
        let (mut client, mut server) = wire.connect().await?;
        client.write_all(&[GREETING, ACK, OPEN].concat()).await?;
        soon("the ack", held.comes()).await?;
        held.cut();
        wire.tap.cut();
        let got = rest(&mut server).await?;
        ensure!(got == GREETING, "{got:?} arrived");
    }
    Ok(())
}
