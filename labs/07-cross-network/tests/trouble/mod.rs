//! A broker that is late, silent, gone, or does not want us.

use std::time::Duration;

use kit::check::{Lab, Outcome, PATIENCE, Seen, Service, fail};
use kit::guard::Exit;
use kit::wiretap::{Frame, Side};
use tokio::time::Instant;

use super::net::{
    MESSAGES, SHORT, TOPOLOGY, arrived, called, consumer, consuming, effects, ends_well, pauses,
    producer,
};

/// No pause is to be longer, in seconds.
const CEILING: f64 = 2.0;
/// What a busy machine may add to a pause.
const SLACK: f64 = 0.6;

pub async fn silent_broker(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    let consumer = consumer.with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    consumer.tap().black_hole(Side::Server);
    consumer.launch().await?;
    // A frozen broker's kernel goes on taking calls.
    called(&lab, &consumer, 3).await?;
    consumer.tap().restore();
    lab.consumers(MESSAGES, 1).await
}

pub async fn late_broker(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let mut fleet = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let consumer = consumer(&lab, name, &[]).await?;
        consumer.tap().turn_away();
        consumer.launch().await?;
        fleet.push(consumer);
    }
    for consumer in &fleet {
        called(&lab, consumer, 5).await?;
        consumer.tap().restore();
    }
    lab.consumers(MESSAGES, 3).await?;
    let all: Vec<Vec<f64>> = fleet.iter().map(|one| pauses(&lab, one)).collect();
    let told = || format!("{all:.2?} s");
    let longest = |nth: usize| all.iter().map(|one| one[nth]).fold(0.0, f64::max);
    fail("the fourth pause is longer than the first", told())
        .because("a broker that is starting has other things to do than to turn us away")
        .unless(longest(3) > 0.4 && longest(3) > longest(0))?;
    fail(format!("no pause is longer than {CEILING} s"), told())
        .because("the broker is back, and nobody notices")
        .unless(all.iter().flatten().all(|pause| *pause < CEILING + SLACK))?;
    let spread = |nth: usize| {
        let shortest = all.iter().map(|one| one[nth]).fold(f64::MAX, f64::min);
        longest(nth) - shortest
    };
    fail(
        "three consumers wait for times that differ (jitter)",
        told(),
    )
    .because("all who lost the same broker at once come back at once, and knock it over again")
    .unless((0..5).any(|nth| spread(nth) > 0.12))
}

pub async fn late_queue(lab: Lab) -> Outcome {
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.launch().await?;
    let why = "somebody may be making it: this is no reason to end";
    lab.eventually("it finds no queue (404), four times", why, async || {
        let told = lab.journal().methods("consumer", "channel.close");
        let told = told.iter().filter(|frame| frame.args["reply_code"] == 404);
        let seen = told.count();
        Ok(Seen::when(seen >= 4, || format!("{seen} time(s)")))
    })
    .await?;
    lab.topology(TOPOLOGY).await?;
    lab.consumers(MESSAGES, 1).await?;
    let pauses = pauses(&lab, &consumer);
    let sum: f64 = pauses[..4.min(pauses.len())].iter().sum();
    fail(
        "no queue yet (404): the pauses grow, although each login succeeds",
        format!("{pauses:.2?} s"),
    )
    .because("a connection that ends at once is a try that failed")
    .hole(4)
    .unless(sum > 1.4)
}

pub async fn new_trouble(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.tap().turn_away();
    consumer.launch().await?;
    called(&lab, &consumer, 3).await?;
    consumer.tap().restore();
    lab.consumers(MESSAGES, 1).await?;
    let since = Instant::now();
    let steady = Duration::from_millis(2200);
    lab.eventually("the connection lasts", "it is a good one", async || {
        Ok(Seen::when(since.elapsed() > steady, || {
            "it is new".to_owned()
        }))
    })
    .await?;
    let calls = lab.journal().calls("consumer").len();
    consumer.tap().cut();
    let cut = Instant::now();
    called(&lab, &consumer, calls + 1).await?;
    let pause = cut.elapsed().as_secs_f64();
    fail(
        "cut after 2 s that went well, it calls again at once, as at the first trouble",
        format!("after {pause:.2} s"),
    )
    .because("a program that runs for months meets many troubles: each is a new one")
    .hole(4)
    .unless(pause < 0.9)
}

pub async fn unknown_name(lab: Lab) -> Outcome {
    let lost = consumer(&lab, "lost", &[]).await?;
    let lost = lost.with("BROKER_HOST", "broker.invalid");
    lost.launch().await?;
    let expected = "it looks the name up again, after longer and longer pauses";
    let why = "a container's name is known once it runs: before that, nobody knows it";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let tries = lost.output().matches("calling broker.invalid").count();
        Ok(Seen::when(tries >= 4, || format!("{tries} tries")))
    })
    .await?;
    // By now it is in its fourth pause, which is a long one.
    let since = Instant::now();
    lab.eventually("the lookup ends", "it takes no longer", async || {
        let over = since.elapsed() > Duration::from_millis(200);
        Ok(Seen::when(over, || "not yet".to_owned()))
    })
    .await?;
    stops_at_once(&lost, "in a pause").await?;

    let hanging = consumer(&lab, "hanging", &[]).await?;
    let hanging = hanging.with("BROKER_CONNECT_TIMEOUT_MS", 60_000);
    hanging.tap().black_hole(Side::Server);
    hanging.launch().await?;
    called(&lab, &hanging, 1).await?;
    stops_at_once(&hanging, "in a call").await
}

async fn stops_at_once(service: &Service, when: &str) -> Outcome {
    let asked = Instant::now();
    let exit = service.stop().await?;
    let took = asked.elapsed();
    fail(
        format!("SIGTERM {when}: exit code 0, at once"),
        format!("{exit}, after {took:.1?}"),
    )
    .because("nothing is in hand: who waits for it waits for nothing, and kills it in the end")
    .unless(exit == Exit::Code(0) && took < Duration::from_millis(800))
}

pub async fn closed_by_operator(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let producer = producer(&lab, 50, &[]).await?;
    producer.launch().await?;
    effects(&lab, &consumer, 1).await?;
    let calls = lab.journal().calls("producer").len();
    let told = |name: &str| {
        let closed = lab.journal().methods(name, "connection.close");
        closed.iter().any(|frame| frame.args["reply_code"] == 320)
    };
    let why = "so begins each upgrade of a broker: 320, CONNECTION_FORCED";
    lab.eventually("the broker closes both connections", why, async || {
        lab.close_connections().await?;
        let both = told("producer") && told("consumer");
        Ok(Seen::when(both, || "not yet".to_owned()))
    })
    .await?;
    goes_on(&lab, &consumer, calls).await?;
    producer.terminate()?;
    let ids = ends_well(&lab, &producer).await?;
    arrived(
        &lab,
        &consumer,
        "each confirmed message has its effect, once",
        &ids,
    )
    .await
}

/// Waits until the producer, on a connection after its first `calls`, gets messages confirmed,
/// and until further ones have their effect.
async fn goes_on(lab: &Lab, consumer: &Service, calls: usize) -> Outcome {
    let why = "whoever sends must find the broker again by itself, too";
    let expected = "the producer gets messages confirmed on a new connection";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let confirms = lab.journal().methods("producer", "basic.ack");
        let new = |frame: &Frame| frame.connection as usize > calls;
        Ok(Seen::when(confirms.iter().any(new), || {
            "none yet".to_owned()
        }))
    })
    .await?;
    lab.consumers(MESSAGES, 1).await?;
    let so_far = consumer.rows("messages")?.len();
    effects(lab, consumer, so_far + 5).await
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let producer = producer(&lab, 50, &[]).await?;
    producer.launch().await?;
    effects(&lab, &consumer, 5).await?;
    lab.kill_broker().await?;
    let calls = lab.journal().calls("producer").len();
    lab.broker_is_back().await?;
    goes_on(&lab, &consumer, calls).await?;
    producer.terminate()?;
    let ids = ends_well(&lab, &producer).await?;
    let expected = "each confirmed message has its effect, once, over the broker's death";
    arrived(&lab, &consumer, expected, &ids).await
}
