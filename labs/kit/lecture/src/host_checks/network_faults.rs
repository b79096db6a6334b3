//! The checks of what fails between two machines: a late broker, a pulled cable, a network that
//! fails in one direction, a name that resolves late.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lapin::options::QueuePurgeOptions;
use tokio::time::sleep;

use super::HostChecks;
use crate::testbed::{
    ChangedSettings, HEARTBEAT_S, HostTestbed, NOTICED, Observer, Role, count_received, event_in,
    unexpected,
};
use hosts::host::Host;
use hosts::network;

/// How long the consumer runs before the broker starts.
const LATE: Duration = Duration::from_secs(20);
/// How often a consumer must try to connect in that time. Its pauses grow to 2 s.
const TRIES: usize = 5;
/// How long a consumer may take to come back: the longest pause of the back-off, one try to
/// connect, and 5 s for a busy machine.
const BACK: Duration = Duration::from_secs(2 + 3 + 5);
/// How long a fault lasts, at least: longer than two heartbeats.
const FAULT: Duration = Duration::from_secs(2 * HEARTBEAT_S + 1);
/// A name that no DNS server knows: `internal` is reserved for private use.
const NAME: &str = "vm-a.lab.internal";

/// What happens to the cable.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It is pulled.
    CablePulled,
    /// This host's incoming packets are dropped; the other direction works.
    DropsIncoming(Host),
}

impl Fault {
    async fn begin(self, testbed: &impl HostTestbed) -> Result<()> {
        match self {
            Self::CablePulled => testbed.pull_cable().await,
            Self::DropsIncoming(host) => network::drop_incoming(host).await,
        }
    }

    async fn end(self, testbed: &impl HostTestbed) -> Result<()> {
        match self {
            Self::CablePulled => testbed.plug_in_cable().await,
            Self::DropsIncoming(host) => network::accept_incoming(host).await,
        }
    }
}

impl<T: HostTestbed> HostChecks<T> {
    /// The consumer starts before the broker. It must be the first check that needs the broker.
    pub async fn late_broker(&self) -> Result<()> {
        let testbed = &*self.testbed;
        testbed.start(Role::Consumer).await?;
        let begun = Instant::now();
        while begun.elapsed() < LATE {
            if let Some(end) = testbed.unasked_end(Role::Consumer).await? {
                let expected = "the consumer keeps trying until the broker is there";
                return Err(unexpected(expected, format!("it ended: {end}")));
            }
            sleep(Duration::from_millis(500)).await;
        }
        let log = testbed.log(Role::Consumer).await?;
        let tries = log.lines().filter_map(event_in).count();
        if tries < TRIES {
            return Err(unexpected(
                "the consumer logs each try to connect",
                format!("its log has {tries} lines after {} s", LATE.as_secs()),
            ));
        }
        let observer = Observer::new(testbed, self.broker().await?.clone(), |_| ());
        observer
            .wait_until("the consumer at its queue", BACK, |now| now.consumers > 0)
            .await
            .map(drop)
    }

    /// The cable fails for longer than two heartbeats, then works again.
    pub async fn cut(&self, fault: Fault) -> Result<()> {
        self.purge_queues().await?;
        let testbed = &*self.testbed;
        let observer = Observer::new(testbed, self.broker().await?.clone(), |_| ());
        observer.start(Role::Producer).await?;
        observer.start(Role::Consumer).await?;
        let first = |log: &str| count_received(log).effects >= 5;
        observer
            .wait_for_log(Role::Consumer, "the first messages arrive", first)
            .await?;
        let before = testbed.log(Role::Consumer).await?.lines().count();
        let cut = Instant::now();
        fault.begin(testbed).await?;
        let noticed = observer.wait_until_both_notice(cut, before, |_| ()).await;
        sleep(FAULT.saturating_sub(cut.elapsed())).await;
        // Also after a failure, because the next checks need the cable.
        fault.end(testbed).await?;
        noticed?;
        observer
            .wait_until("the consumer is back", NOTICED, |now| now.consumers > 0)
            .await?;
        check_nothing_lost(&observer).await
    }

    /// The broker's name does not resolve at first.
    pub async fn late_name(&self) -> Result<()> {
        let testbed = &*self.testbed;
        let observer = Observer::new(testbed, self.broker().await?.clone(), |_| ());
        let changed = ChangedSettings {
            host: Some(NAME),
            ..ChangedSettings::default()
        };
        testbed.start_changed(changed).await?;
        let tried = |log: &str| log.lines().filter_map(event_in).count() >= 3;
        observer
            .wait_for_log(Role::Consumer, "the consumer tries more than once", tried)
            .await?;
        testbed.resolve(NAME).await?;
        let expected = "the consumer at its queue, once the name resolves";
        observer
            .wait_until(expected, BACK, |now| now.consumers > 0)
            .await
            .map(drop)
    }

    /// Removes what a failed check has left in the queues.
    async fn purge_queues(&self) -> Result<()> {
        let url = self.broker().await?.address.url(self.testbed.vhost());
        let connection = broker::connect(&url, "lecture").await;
        let connection = connection.context("cannot log in as administrator")?;
        let channel = connection.create_channel().await?;
        let lecture = self.testbed.lecture();
        for queue in [&lecture.queue, &lecture.dead_letters] {
            let options = QueuePurgeOptions::default();
            channel.queue_purge(queue.as_str().into(), options).await?;
        }
        Ok(connection.close(200, "done".into()).await?)
    }
}

async fn check_nothing_lost(observer: &Observer<'_, impl HostTestbed>) -> Result<()> {
    let counts = observer.stop_and_count().await?;
    let (lost, effects, dead) = (counts.lost(), counts.rows.len() as u64, counts.dead);
    let sent = counts.sent.sent;
    if lost.is_empty() && effects == sent && dead == 0 {
        return Ok(());
    }
    Err(unexpected(
        "each confirmed message has its effect, once",
        format!(
            "{sent} sent, {} confirmed, {effects} effects, {dead} dead letters; missing: {lost:?}",
            counts.sent.confirmed
        ),
    ))
}
