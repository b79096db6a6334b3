//! `hosts check`: what a wiretap on one machine cannot show, on two hosts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use broker::Broker;
use lapin::options::QueuePurgeOptions;
use lapin::{Connection, ConnectionProperties};
use process::Exit;
use tokio::time::sleep;

use super::forbidden;
use super::page::lost;
use super::rig::{Changed, Rig};
use super::said;
use super::stage::{DEAD, End, HEARTBEAT_S, QUEUE, Role, unexpected};
use super::watch::{NOTICED, SOON, Watch};
use hosts::net;
use hosts::place::Host;

/// How late the broker is.
const LATE: Duration = Duration::from_secs(20);
/// The chapter's ceiling of the back-off, one try to connect, and slack for a busy machine.
const BACK: Duration = Duration::from_secs(2 + 3 + 5);
/// How long a line is bad, at least: longer than two heartbeats.
const LONG: Duration = Duration::from_secs(2 * HEARTBEAT_S + 1);
/// How long it is watched that nothing happens.
const QUIET: Duration = Duration::from_secs(4);
/// A name that no server knows.
const NAME: &str = "vm-a.lab.internal";

/// What is done to the cable.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It is pulled.
    Pulled,
    /// What comes in at this host is dropped, and the other direction works.
    Deaf(Host),
}

impl Fault {
    async fn begin(self, rig: &impl Rig) -> Result<()> {
        match self {
            Self::Pulled => rig.pull().await,
            Self::Deaf(host) => net::swallow_incoming(host).await,
        }
    }

    async fn end(self, rig: &impl Rig) -> Result<()> {
        match self {
            Self::Pulled => rig.plug().await,
            Self::Deaf(host) => net::let_in(host).await,
        }
    }
}

/// The consumer is there 20 s before the broker. Gives the broker, for the other checks.
pub async fn late_broker(rig: &impl Rig) -> Result<Broker> {
    rig.start(Role::Consumer).await?;
    let begun = Instant::now();
    while begun.elapsed() < LATE {
        if let Some(end) = rig.ended(Role::Consumer).await? {
            let expected = "the consumer keeps trying until the broker is there";
            return Err(unexpected(expected, format!("it ended: {end}")));
        }
        sleep(Duration::from_millis(500)).await;
    }
    let log = rig.log(Role::Consumer).await?;
    let tries = log.lines().filter_map(said::event).count();
    if tries < 5 {
        let observed = format!(
            "its log has {tries} lines of it, after {} s",
            LATE.as_secs()
        );
        return Err(unexpected("the consumer says that it tries", observed));
    }
    let broker = rig.start_broker().await?;
    let watch = Watch::new(rig, broker, None);
    watch
        .until("the consumer at its queue", BACK, |now| now.consumers > 0)
        .await?;
    Ok(watch.broker)
}

/// The line is bad for longer than two heartbeats, then good again.
pub async fn bad_line(rig: &impl Rig, broker: &Broker, fault: Fault) -> Result<()> {
    let watch = Watch::new(rig, broker.clone(), None);
    watch.start(Role::Producer).await?;
    watch.start(Role::Consumer).await?;
    let first = |log: &str| said::received(log).effects >= 5;
    watch
        .until_log(Role::Consumer, "the first messages arrive", first)
        .await?;
    let before = rig.log(Role::Consumer).await?.lines().count();
    let cut = Instant::now();
    fault.begin(rig).await?;
    let noticed = watch.both_notice(cut, before, |_| ()).await;
    sleep(LONG.saturating_sub(cut.elapsed())).await;
    // In any case, for the checks that come after this one.
    fault.end(rig).await?;
    noticed?;
    watch
        .until("the consumer is back", NOTICED, |now| now.consumers > 0)
        .await?;
    let counted = watch.count().await?;
    let missing = lost(counted.sent.confirmed, &counted.rows);
    let effects = counted.rows.len() as u64;
    if !missing.is_empty() || effects != counted.sent.sent || counted.dead > 0 {
        return Err(unexpected(
            "each confirmed message has its effect, once",
            format!(
                "{} sent, {} confirmed, {effects} effects, {} dead letters; missing: {missing:?}",
                counted.sent.sent, counted.sent.confirmed, counted.dead
            ),
        ));
    }
    Ok(())
}

/// The broker's name is known to nobody, then to the consumer's machine.
pub async fn late_name(rig: &impl Rig, broker: &Broker) -> Result<()> {
    let watch = Watch::new(rig, broker.clone(), None);
    let changed = Changed {
        host: Some(NAME),
        ..Changed::default()
    };
    rig.start_changed(changed).await?;
    let tried = |log: &str| log.lines().filter_map(said::event).count() >= 3;
    watch
        .until_log(Role::Consumer, "the consumer tries more than once", tried)
        .await?;
    rig.resolve(NAME).await?;
    watch
        .until(
            "the consumer is there, once the name resolves",
            BACK,
            |now| now.consumers > 0,
        )
        .await?;
    Ok(())
}

/// With a wrong password the consumer ends, after one login.
pub async fn wrong_password(rig: &impl Rig) -> Result<()> {
    // 4.3 has a line more for each, with the same reason.
    let refused = |log: &str| log.matches("login refused:").count();
    let before = refused(&rig.broker_log().await?);
    let changed = Changed {
        password: Some("wrong"),
        ..Changed::default()
    };
    rig.start_changed(changed).await?;
    let begun = Instant::now();
    let end = loop {
        if let Some(end) = rig.ended(Role::Consumer).await? {
            break end;
        }
        if begun.elapsed() > SOON {
            let observed = format!("it still runs after {} s", SOON.as_secs());
            return Err(unexpected("the consumer ends with an error", observed));
        }
        sleep(Duration::from_millis(200)).await;
    };
    if end == End::Exit(Exit::Code(0)) {
        return Err(unexpected("an exit code that is not 0", end.to_string()));
    }
    // A second login would come after a pause.
    sleep(QUIET).await;
    match refused(&rig.broker_log().await?) - before {
        1 => Ok(()),
        logins => Err(unexpected(
            "one login in the broker's log",
            format!("{logins} that were refused"),
        )),
    }
}

/// Empties the queues of what a check that failed has left in them.
pub async fn purge(rig: &impl Rig, broker: &Broker) -> Result<()> {
    let url = broker.address.url(rig.vhost());
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let connection = connection.await.context("cannot log in as administrator")?;
    let channel = connection.create_channel().await?;
    for queue in [QUEUE, DEAD] {
        let options = QueuePurgeOptions::default();
        channel.queue_purge(queue.into(), options).await?;
    }
    Ok(connection.close(200, "done".into()).await?)
}

/// The producer's user cannot read, the consumer's cannot write.
pub async fn least_privilege(rig: &impl Rig, broker: &Broker) -> Result<()> {
    for role in [Role::Producer, Role::Consumer] {
        let login = rig.login(role);
        let mut address = broker.address.clone();
        address.user.clone_from(&login.user);
        address.password.clone_from(&login.password);
        let connection = address.url(rig.vhost());
        let (what, done) = match role {
            Role::Producer => ("consumes", forbidden::consume(&connection).await),
            Role::Consumer => ("publishes", forbidden::publish(&connection).await),
        };
        let refused = done.with_context(|| format!("as user {}", login.user))?;
        if !refused {
            return Err(unexpected(
                format!("the broker refuses it when user {} {what}", login.user),
                "it did not",
            ));
        }
    }
    Ok(())
}
