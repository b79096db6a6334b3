//! Checks with a broker that stops, is silent, refuses for now, or cannot be found.

use std::time::Duration;

use anyhow::Error;
use check::wiretap::{Entry, Event, Frame, Method, Side};
use check::{
    Change, Exit, Failure, Lab, Outcome, PATIENCE, Seen, Service, SilentBroker, Span, Stop, expect,
    fail,
};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};

use super::login::{fails_quietly, gives_up};
use super::net::{
    CONSUMER, LONGEST_PAUSE, MESSAGES, TOPOLOGY, attempts, client_with, consumer, consumes,
    each_once, effects, impatient_consumer, keep_running, producer, stopped, time_passes, tries,
    working,
};

pub async fn silent_broker(lab: Lab) -> Outcome {
    let outcome = outlasts_silence(&lab).await;
    or_ended(&lab, outcome)
}

/// A program that ends with its first attempt has no loop around it, whatever the attempt does.
fn or_ended(lab: &Lab, outcome: Outcome) -> Outcome {
    let ended = |entry: &Entry| {
        matches!(
            entry.event,
            Event::Service {
                what: Change::Ended(_),
                ..
            }
        )
    };
    let has_ended = lab.journal().read(|entries| entries.iter().any(ended));
    match (outcome, lab.all_well()) {
        (Err(_), Err(Stop::Failed(told))) if has_ended && told.hole.is_none() => {
            Err(told.hole(8).into())
        }
        (outcome, _) => outcome,
    }
}

async fn outlasts_silence(lab: &Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    // Each with another timeout: none of a program's own fits both.
    let hasty = ignored(lab, "hasty", HASTY).await?;
    let patient = ignored(lab, "patient", PATIENT).await?;
    tries_again(lab, &hasty, 2).await?;
    tries_again(lab, &hasty, 3).await?;
    let late = took(lab, &hasty);
    let limit = HASTY + LONGEST_AFTER;
    late.at_most(limit, wrong_timeout(&hasty, HASTY, late.elapsed()))?;
    waits_long_enough(lab, &patient).await?;
    fails_quietly(&hasty)?;
    patient.tap().restore();
    lab.consumers(MESSAGES, 1).await
}

/// Expects that an attempt of the patient consumer takes as long as its timeout. A busy machine sees an
/// attempt late, and then the time to the next one is short: so the longest of several counts.
async fn waits_long_enough(lab: &Lab, patient: &Service) -> Outcome {
    let mut longest = Duration::ZERO;
    for attempts in 2..=4 {
        tries_again(lab, patient, attempts).await?;
        let span = took(lab, patient);
        longest = longest.max(span.elapsed());
        if longest > PATIENT.mul_f64(0.9) {
            return Ok(());
        }
    }
    Err(wrong_timeout(patient, PATIENT, longest).into())
}

/// The timeouts of two consumers.
const HASTY: Duration = Duration::from_millis(300);
const PATIENT: Duration = Duration::from_millis(1500);

/// The longest pause after an attempt, and what a busy machine adds.
const LONGEST_AFTER: Duration = Duration::from_millis(500);

/// Starts a consumer whose broker accepts connections and never answers, as a frozen one does:
/// its kernel still accepts them.
async fn ignored(lab: &Lab, name: &str, timeout: Duration) -> Outcome<Service> {
    let consumer = consumer(lab, name, &[]).await?;
    let consumer = consumer
        .with("BROKER_CONNECT_TIMEOUT_MS", timeout.as_millis())
        .with(LONGEST_PAUSE, 50);
    consumer.tap().black_hole(Side::Server);
    consumer.launch().await?;
    Ok(consumer)
}

/// Waits until the consumer has tried to connect `times` times.
async fn tries_again(lab: &Lab, consumer: &Service, times: usize) -> Outcome {
    let name = consumer.name();
    let expected = format!(
        "{name} tries to connect again, {times} times in all: an attempt ends within its timeout"
    );
    let why = "a frozen broker's kernel still accepts connections: only a timeout ends the wait";
    lab.eventually_within(ONE_MORE, &expected, why, async || {
        let tries = attempts(lab, consumer);
        Ok(Seen::when(tries >= times, || format!("{tries} time(s)")))
    })
    .await
}

/// How long one more attempt may take to come; a timeout of the program's own is told from its length.
const ONE_MORE: Duration = Duration::from_secs(5);

/// From the last attempt but one to the last.
fn took(lab: &Lab, consumer: &Service) -> Span {
    match lab.journal().calls(&consumer.name())[..] {
        [.., from, to] => lab.between(from, to),
        _ => lab.span(),
    }
}

fn wrong_timeout(consumer: &Service, timeout: Duration, seen: Duration) -> Failure {
    fail(
        format!(
            "{} gives up an attempt after BROKER_CONNECT_TIMEOUT_MS, {} ms",
            consumer.name(),
            timeout.as_millis()
        ),
        format!("after {seen:.1?}"),
    )
    .because("one timeout around the whole attempt: the operator, who knows the distance, sets it")
}

pub async fn given_up(lab: Lab) -> Outcome {
    let silent = SilentBroker::listen().await?;
    let consumer = impatient_consumer(&lab, "consumer").await?;
    let consumer = consumer.with("BROKER_PORT", silent.port());
    consumer.launch().await?;
    let outcome = silent.leaves_nothing(&lab, &consumer, (2, ONE_MORE)).await;
    or_ended(&lab, outcome)
}

pub async fn full_vhost(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    no_such_vhost(&lab).await?;
    lab.limit_connections(Some(0)).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.launch().await?;
    // The code is 530 again: only the text differs.
    tries(&lab, &consumer, 2).await?;
    lab.limit_connections(None).await?;
    lab.consumers(MESSAGES, 1).await
}

/// A vhost that does not exist is refused with 530, for good.
async fn no_such_vhost(lab: &Lab) -> Outcome {
    let login = lab.user(CONSUMER).await?;
    let lost = client_with(lab, "lost", &["consumer"], &login).await?;
    let lost = lost.logs_in(&login, "nowhere");
    lost.begin().await?;
    gives_up(lab, &lost, 530).await
}

pub async fn unknown_name(lab: Lab) -> Outcome {
    looked_up_again(&lab).await?;
    ends_while_connecting(&lab).await
}

async fn looked_up_again(lab: &Lab) -> Outcome {
    let lost = consumer(lab, "lost", &[]).await?;
    let lost = lost.with("BROKER_HOST", "broker.invalid");
    lost.begin().await?;
    // Nothing crosses a wire before a name is found: only the log shows how often it was looked up.
    let tries = || lost.output().matches("broker.invalid").count();
    let expected = "it looks the name up again, after longer and longer pauses";
    let why = "the name of a container resolves only while the container runs";
    let looked_up = lab.eventually_within(PATIENCE, expected, why, async || {
        let connected = attempts(lab, &lost);
        expect(connected == 0)
            .or(
                "it calls BROKER_HOST, `broker.invalid`, which does not exist",
                format!("it connected to another host, {connected} time(s)"),
            )
            .hole(1)
            .because("a host in the code is right on one machine only")?;
        let tries = tries();
        let seen = format!("its log names `broker.invalid` {tries} time(s)");
        Ok(Seen::when(tries >= 4, || seen))
    });
    // Ended by the first failure, it takes that one for final.
    let hole = || if tries() <= 1 { 6 } else { 8 };
    keep_running(&[&lost], hole, looked_up).await?;
    // The fourth lookup has failed by then, and the fourth pause, a long one, has begun.
    time_passes(lab, Duration::from_millis(200)).await?;
    stops_at_once(lab, &lost, "in a pause").await
}

async fn ends_while_connecting(lab: &Lab) -> Outcome {
    let hanging = consumer(lab, "hanging", &[]).await?;
    let hanging = hanging.with("BROKER_CONNECT_TIMEOUT_MS", 2000);
    hanging.tap().black_hole(Side::Server);
    hanging.launch().await?;
    tries(lab, &hanging, 1).await?;
    stops_at_once(lab, &hanging, "while it connects").await
}

async fn stops_at_once(lab: &Lab, service: &Service, when: &str) -> Outcome {
    let span = lab.span();
    let exit = service.stop().await?;
    let failure = fail(
        format!("SIGTERM {when}: exit code 0, at once"),
        format!("{exit}, after {:.1?}", span.elapsed()),
    )
    .because("no message is unacked, so there is nothing to finish, and an operator waits");
    failure.clone().unless(exit == Exit::Code(0))?;
    span.at_most(Duration::from_millis(800), failure)
}

pub async fn closed_by_operator(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.begin().await?;
    lab.consumers(MESSAGES, 1).await?;
    let producer = producer(&lab, 50, &[]).await?;
    producer.begin().await?;
    working(&lab, &consumer, 1).await?;
    let more = async |count: usize| {
        let so_far = effects(&consumer)?;
        working(&lab, &consumer, so_far + count).await
    };
    lab.frugal(&[&producer, &consumer], 30, "messages", more)
        .await?;
    let resumed = both_cut(&lab, &consumer, &producer);
    keep_running(&[&consumer, &producer], || 8, resumed).await?;
    let before = attempts(&lab, &producer);
    // They come back after a cut. If this close ends one, it takes the broker's words for final.
    let closed = async {
        both_closed(&lab).await?;
        goes_on(&lab, &consumer, before).await
    };
    keep_running(&[&consumer, &producer], || 6, closed).await?;
    let ids = stopped(&lab, &producer).await?;
    let expected = "each confirmed message has its effect once";
    each_once(&lab, &consumer, expected, &ids).await?;
    in_exclusive_use(&lab, &consumer).await
}

/// The consumer starts again while another client has the queue for itself, and must outlast it.
async fn in_exclusive_use(lab: &Lab, consumer: &Service) -> Outcome {
    consumer.stop().await?;
    lab.consumers(MESSAGES, 0).await?;
    let other = lab.connect().await?;
    let held = exclusive(&other).await.map_err(Error::from)?;
    consumer.begin().await?;
    let outlasts = async {
        refused_twice(lab).await?;
        drop(held);
        let _ = other.close(200, "done".into()).await;
        lab.consumers(MESSAGES, 1).await
    };
    keep_running(&[consumer], || 6, outlasts).await
}

/// Waits until the consumer has been refused, and has asked again.
async fn refused_twice(lab: &Lab) -> Outcome {
    let expected = "the queue is in exclusive use (403): the consumer asks for it again";
    let why = "the other client may end soon: a text of PASSES is not final";
    lab.eventually(expected, why, async || {
        let closed = lab.journal().methods("consumer", Method::ChannelClose);
        let refused = |frame: &&Frame| frame.args["reply_code"] == 403;
        let times = closed.iter().filter(refused).count();
        Ok(Seen::when(times >= 2, || {
            format!("refused {times} time(s)")
        }))
    })
    .await
}

/// Consumes the queue as the only client that may, until the consumer is dropped.
async fn exclusive(connection: &Connection) -> lapin::Result<Consumer> {
    let channel = connection.create_channel().await?;
    let options = BasicConsumeOptions {
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let none = FieldTable::default();
    let held = channel.basic_consume(MESSAGES.into(), "".into(), options, none);
    held.await
}

/// Cuts both connections, and waits until both work again.
async fn both_cut(lab: &Lab, consumer: &Service, producer: &Service) -> Outcome {
    let before = attempts(lab, producer);
    consumer.tap().cut();
    producer.tap().cut();
    goes_on(lab, consumer, before).await
}

/// Closes the connections of producer and consumer, as an operator does.
async fn both_closed(lab: &Lab) -> Outcome {
    let closed = |name: &str| {
        let frames = lab.journal().methods(name, Method::ConnectionClose);
        frames.iter().any(|frame| frame.args["reply_code"] == 320)
    };
    let why = "an upgrade of a broker begins in this way: 320, CONNECTION_FORCED";
    lab.eventually("the broker closes both connections", why, async || {
        lab.close_connections().await?;
        let both = closed("producer") && closed("consumer");
        Ok(Seen::when(both, || "not yet".to_owned()))
    })
    .await
}

/// Waits until the producer gets messages confirmed on a connection after its first
/// `connections`, and further messages have their effect.
async fn goes_on(lab: &Lab, consumer: &Service, connections: usize) -> Outcome {
    let why = "a producer that has lost its connection must reconnect by itself, too";
    let expected = "the producer gets messages confirmed on a new connection";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let confirms = lab.journal().methods("producer", Method::BasicAck);
        let new = |frame: &Frame| frame.connection as usize > connections;
        Ok(Seen::when(confirms.iter().any(new), || {
            "none yet".to_owned()
        }))
    })
    .await?;
    lab.consumers(MESSAGES, 1).await?;
    let so_far = effects(consumer)?;
    working(lab, consumer, so_far + 5).await
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    lab.topology(TOPOLOGY).await?;
    // With pauses so short, several failures take no longer than the restart.
    let consumer = consumer(&lab, "consumer", &[]).await?;
    let consumer = consumer.with(LONGEST_PAUSE, 300);
    consumes(&lab, &consumer).await?;
    let producer = producer(&lab, 50, &[]).await?;
    let producer = producer.with(LONGEST_PAUSE, 300);
    producer.launch().await?;
    working(&lab, &consumer, 5).await?;
    let called = attempts(&lab, &consumer);
    let before = attempts(&lab, &producer);
    lab.kill_broker().await?;
    // However soon the broker is back, they fail several times before.
    consumer.tap().turn_away();
    producer.tap().turn_away();
    tries(&lab, &consumer, called + 5).await?;
    consumer.tap().restore();
    producer.tap().restore();
    lab.broker_is_back().await?;
    goes_on(&lab, &consumer, before).await?;
    let ids = stopped(&lab, &producer).await?;
    let expected = "the broker was killed: each confirmed message has its effect once";
    each_once(&lab, &consumer, expected, &ids).await
}
