//! `cut_before` on frames written by hand: where exactly the wire is cut.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt;
use wiretap::{Method, Side};

use super::link::{Wire, rest};
use proof::until;

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
