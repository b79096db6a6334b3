//! The rows about messages that come back to their queue.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lapin::options::{BasicNackOptions, BasicRejectOptions};

use super::vhost::{TestVhost, declare, get, next, publish};

/// More than the default delivery limit of 20: a message redelivered this often has no limit.
const OFTEN: usize = 30;

/// How long a queue with delayed retry keeps a requeued message back.
const DELAY: Duration = Duration::from_secs(2);

/// How a consumer fails to work on a message.
#[derive(Clone, Copy)]
enum Failure {
    Reject,
    Nack,
    Death,
}

pub async fn rejected_again_and_again(test: TestVhost) -> Result<String> {
    again_and_again(&test, Failure::Reject).await
}

pub async fn died_again_and_again(test: TestVhost) -> Result<String> {
    again_and_again(&test, Failure::Death).await
}

pub async fn nacked_again_and_again(test: TestVhost) -> Result<String> {
    again_and_again(&test, Failure::Nack).await
}

async fn again_and_again(test: &TestVhost, failure: Failure) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "dead", &[]).await?;
    let arguments = [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", ""),
        ("x-dead-letter-routing-key", "dead"),
    ];
    declare(&channel, "jobs", &arguments).await?;
    publish(&channel, "jobs", b"job").await?;
    for deliveries in 0..OFTEN {
        let (connection, consumer) = test.channel().await?;
        let delivery = loop {
            if get(&channel, "dead").await?.is_some() {
                return Ok(format!("dead-lettered after {deliveries} deliveries"));
            }
            if let Some(job) = get(&consumer, "jobs").await? {
                break job.delivery;
            }
        };
        match failure {
            Failure::Reject => {
                let options = BasicRejectOptions { requeue: true };
                delivery.reject(options).await?;
            }
            Failure::Nack => {
                let options = BasicNackOptions {
                    requeue: true,
                    multiple: false,
                };
                delivery.nack(options).await?;
            }
            Failure::Death => {}
        }
        connection.close(200, "the end".into()).await?;
    }
    Ok("no limit".into())
}

pub async fn place(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "jobs", &[("x-queue-type", "quorum")]).await?;
    for job in [b"1", b"2", b"3"] {
        publish(&channel, "jobs", job).await?;
    }
    let first = next(&channel, "jobs").await?;
    let requeue = BasicNackOptions {
        requeue: true,
        multiple: false,
    };
    first.delivery.nack(requeue).await?;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.extend(next(&channel, "jobs").await?.delivery.data);
    }
    match order.as_slice() {
        b"123" => Ok("where it was".into()),
        b"231" => Ok("at the end".into()),
        other => bail!("the order is now {:?}", String::from_utf8_lossy(other)),
    }
}

pub async fn delayed_retry(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    let delay = DELAY.as_millis().to_string();
    let arguments = [
        ("x-queue-type", "quorum"),
        ("x-delayed-retry-type", "all"),
        ("x-delayed-retry-min", delay.as_str()),
    ];
    declare(&channel, "jobs", &arguments).await?;
    publish(&channel, "jobs", b"job").await?;
    let job = next(&channel, "jobs").await?.delivery;
    let start = Instant::now();
    let requeue = BasicNackOptions {
        requeue: true,
        multiple: false,
    };
    job.nack(requeue).await?;
    next(&channel, "jobs").await?;
    let at_once = start.elapsed() < DELAY;
    let seen = if at_once {
        "redelivered at once"
    } else {
        "redelivered after the delay"
    };
    Ok(seen.into())
}
