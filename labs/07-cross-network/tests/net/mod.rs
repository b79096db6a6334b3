//! Producer, consumer and the network between them, as the checks use them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use check::wiretap::{ConnectionEvent, Event, Frame, Method, Side};
use check::{
    Exit, Failure, Lab, Login, Outcome, Rights, Seen, Service, Span, Stop, expect, fail, fate,
    short,
};
use tokio::time::sleep;

/// The name of the queue, the exchange and the routing key.
pub const MESSAGES: &str = "messages";
/// The dead-letter queue.
pub const DEAD: &str = "messages.dead";

/// The exchanges and queues that an administrator declares before anything starts.
pub const TOPOLOGY: &str = "compose/07-topology.json";

/// The least rights with which a producer can work.
pub const PRODUCER: Rights<'_> = Rights {
    configure: "^$",
    write: "^messages$",
    read: "^$",
};
/// The least rights with which a consumer can work.
pub const CONSUMER: Rights<'_> = Rights {
    configure: "^$",
    write: "^$",
    read: "^messages$",
};

/// The variable with the longest pause between two attempts, in milliseconds.
pub const LONGEST_PAUSE: &str = "BROKER_LONGEST_PAUSE_MS";

/// The name of the thread that lapin starts for each connection.
pub const IO_LOOP: &str = "lapin-io-loop";

/// A connection timeout for checks in which the network swallows attempts, in milliseconds.
pub const SHORT: u32 = 700;

/// Two heartbeats of one second, and what a busy machine adds: RabbitMQ looks once a heartbeat,
/// and closes a connection that was silent twice.
const NOTICED: Duration = Duration::from_secs(6);

/// A producer or consumer that is not started yet, with a user of its own.
pub async fn client(
    lab: &Lab,
    name: &str,
    arguments: &[&str],
    rights: Rights<'_>,
) -> Outcome<Service> {
    let login = lab.user(rights).await?;
    client_with(lab, name, arguments, &login).await
}

/// As [`client`], with a user that exists already.
pub async fn client_with(
    lab: &Lab,
    name: &str,
    arguments: &[&str],
    login: &Login,
) -> Outcome<Service> {
    let service = lab.instance(name, arguments).await?;
    Ok(service
        .logs_in(login, lab.vhost())
        .with("BROKER_HEARTBEAT_S", 1)
        .with("BROKER_CONNECT_TIMEOUT_MS", 5000))
}

/// A consumer that is not started yet.
pub async fn consumer(lab: &Lab, name: &str, more: &[&str]) -> Outcome<Service> {
    client(lab, name, &[&["consumer"], more].concat(), CONSUMER).await
}

/// As [`consumer`], with a short connection timeout.
pub async fn impatient_consumer(lab: &Lab, name: &str) -> Outcome<Service> {
    let consumer = consumer(lab, name, &[]).await?;
    Ok(consumer.with("BROKER_CONNECT_TIMEOUT_MS", SHORT))
}

/// A consumer that consumes, as the only one.
pub async fn consuming(lab: &Lab) -> Outcome<Service> {
    let consumer = consumer(lab, "consumer", &[]).await?;
    consumes(lab, &consumer).await?;
    Ok(consumer)
}

/// Starts this consumer, and waits until it consumes, as the only one.
pub async fn consumes(lab: &Lab, consumer: &Service) -> Outcome {
    consumer.launch().await?;
    lab.consumers(MESSAGES, 1).await
}

/// A producer that is not started yet, which sends `rate` messages a second.
pub async fn producer(lab: &Lab, rate: u32, more: &[&str]) -> Outcome<Service> {
    let rate = rate.to_string();
    let arguments = [&["producer", "--rate", &rate], more].concat();
    client(lab, "producer", &arguments, PRODUCER).await
}

/// Has a producer send `count` messages; returns their ids.
pub async fn sent(lab: &Lab, count: usize) -> Outcome<Vec<String>> {
    let producer = producer(lab, 500, &["--count", &count.to_string()]).await?;
    producer.begin().await?;
    all_confirmed(lab, &producer).await
}

/// Has the producer stop, then as [`all_confirmed`].
pub async fn stopped(lab: &Lab, producer: &Service) -> Outcome<Vec<String>> {
    producer.terminate()?;
    all_confirmed(lab, producer).await
}

/// Waits until the producer has ended with exit code 0 and all messages confirmed; returns the
/// ids.
pub async fn all_confirmed(lab: &Lab, producer: &Service) -> Outcome<Vec<String>> {
    let exit = producer.finished().await?;
    let name = producer.name();
    let sent = lab.journal().methods(&name, Method::BasicPublish);
    ids_kept(&sent)?;
    let mut ids = Vec::new();
    for id in sent.iter().map(|frame| frame.message_id().unwrap_or("?")) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    let left = unconfirmed(lab, &name);
    let lost = left.first().map_or(String::new(), |id| {
        format!("; one of them: {}", fate(lab.journal(), id).observed)
    });
    let (all, missing) = (ids.len(), left.len());
    let words = producer.last_words(1).join("");
    expect(left.is_empty() && exit == Exit::Code(0))
        .or(
            format!(
                "the broker confirms all {all} messages, and the producer ends with exit code 0"
            ),
            format!("{exit}, {missing} not confirmed{lost}; it logged last: {words}"),
        )
        .because("an unconfirmed message may be lost, and only the producer can know it")?;
    Ok(ids)
}

/// A message that is published again must have the id of the first time.
fn ids_kept(sent: &[Frame]) -> Outcome {
    let mut known = BTreeMap::new();
    for message in sent.iter().filter_map(|frame| frame.message.as_ref()) {
        let id = message.id.as_deref().unwrap_or("none");
        let first = *known.entry(&message.body).or_insert(id);
        expect(first == id)
            .or(
                "a message that is published again has the id of the first time",
                format!(
                    "`{}` was published as {}, then as {}",
                    message.body,
                    short(first),
                    short(id)
                ),
            )
            .because("under another id the consumer cannot recognise the duplicate")?;
    }
    Ok(())
}

/// The ids of the messages that the producer published, and that no queue is known to have: the
/// broker has not acked them, or it has returned them.
pub fn unconfirmed(lab: &Lab, producer: &str) -> Vec<String> {
    let frames = lab.journal().frames(|frame| frame.service == producer);
    let mut counts: BTreeMap<(u32, u16), u64> = BTreeMap::new();
    let (mut flying, mut returned): (Vec<(&Frame, u64)>, Vec<&str>) = (Vec::new(), Vec::new());
    let (mut all, mut done) = (Vec::new(), BTreeSet::new());
    for frame in &frames {
        let id = frame.message_id().unwrap_or("?");
        match frame.method {
            Method::BasicPublish => {
                let count = counts.entry((frame.connection, frame.channel)).or_default();
                *count += 1;
                flying.push((frame, *count));
                all.push(id.to_owned());
            }
            Method::BasicReturn => returned.push(id),
            Method::BasicAck => flying.retain(|(sent, number)| {
                let hit = sent.same_channel(frame) && frame.covers(*number);
                let id = sent.message_id().unwrap_or("?");
                if hit && !returned.contains(&id) {
                    done.insert(id.to_owned());
                }
                if hit {
                    returned.retain(|other| *other != id);
                }
                !hit
            }),
            _ => {}
        }
    }
    all.retain(|id| !done.contains(id));
    all
}

/// Waits until each of these messages has had its effect once, and the queue is empty.
pub async fn each_once(lab: &Lab, consumer: &Service, expected: &str, ids: &[String]) -> Outcome {
    let look = async || {
        let rows = consumer.rows("messages")?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    };
    lab.each_once(expected, Some(MESSAGES), ids, look).await?;
    lab.settled(MESSAGES).await
}

/// How many messages have had their effect.
pub fn effects(consumer: &Service) -> Outcome<usize> {
    Ok(consumer.rows("messages")?.len())
}

/// Waits until at least `count` messages have had their effect.
pub async fn working(lab: &Lab, consumer: &Service, count: usize) -> Outcome {
    let expected = format!("{count} messages have their effect");
    let why = "the fault must hit a consumer that works";
    lab.eventually(&expected, why, async || {
        let seen = effects(consumer)?;
        Ok(Seen::when(seen >= count, || format!("{seen} have")))
    })
    .await
}

/// Pulls the cable: no byte arrives at either end any more, and neither end is told.
pub fn unplug(service: &Service) {
    service.tap().black_hole(Side::Client);
    service.tap().black_hole(Side::Server);
}

/// Waits until both ends of these consumers' connections have noticed that the other is gone:
/// the broker drops the consumers, and each consumer connects again. Call it right after the
/// cables were pulled.
pub async fn both_notice(lab: &Lab, consumers: &[&Service]) -> Outcome {
    let before: Vec<usize> = consumers.iter().map(|one| attempts(lab, one)).collect();
    let [broker, client] = ["the broker", "the client"].map(|end| Notice::of(lab, end));
    let all = consumers.len();
    let expected = "both ends notice within about two heartbeats of one second";
    let why = "TCP does not report a dead peer: only a missing heartbeat does";
    lab.eventually_within(NOTICED, expected, why, async || {
        let queue = lab.queue(MESSAGES).await?;
        let held = queue.and_then(|queue| queue.consumers).unwrap_or(0);
        let again = consumers.iter().zip(&before);
        let again = again.filter(|(one, before)| attempts(lab, one) > **before);
        let again = again.count();
        let noticed = [broker.given(held == 0), client.given(again == all)];
        Ok(Seen::when(noticed == [true; 2], || {
            format!("the broker holds {held} consumer(s), {again} of {all} connected again")
        }))
    })
    .await
}

/// Whether one end has noticed yet; the journal gets a note when it does.
struct Notice<'a> {
    lab: &'a Lab,
    end: &'a str,
    since: Span,
    noticed: Cell<bool>,
}

impl<'a> Notice<'a> {
    fn of(lab: &'a Lab, end: &'a str) -> Self {
        Self {
            lab,
            end,
            since: lab.span(),
            noticed: Cell::new(false),
        }
    }

    /// Once noticed, always noticed.
    fn given(&self, now: bool) -> bool {
        if now && !self.noticed.replace(true) {
            let after = self.since.elapsed().as_secs_f64();
            let note = format!("{} has noticed after {after:.1} s", self.end);
            self.lab.journal().note(note);
        }
        self.noticed.get()
    }
}

/// Runs `steps`, in which none of the services may end. For one that does, `hole` says where to
/// look. Start them with [`Service::begin`]: otherwise their end is told without a hole.
pub async fn keep_running<T>(
    services: &[&Service],
    hole: impl Fn() -> u32,
    steps: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let ended = async {
        loop {
            if let Some(failure) = services.iter().find_map(|service| ended(service)) {
                return Stop::from(failure.hole(hole()));
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        biased;
        failure = ended => Err(failure),
        outcome = steps => outcome,
    }
}

/// The failure of a service that has ended.
fn ended(service: &Service) -> Option<Failure> {
    let exit = service.exit()?;
    let words = service.last_words(1).join("");
    let failure = fail(
        format!("{} keeps running", service.name()),
        format!("it ended by itself: {exit}; it logged last: {words}"),
    );
    Some(failure.because("a service that has ended does no work until somebody restarts it"))
}

/// Each of these services has opened one connection so far.
pub fn one_connection(lab: &Lab, services: &[&str]) -> Outcome {
    for name in services {
        no_probe(lab, name)?;
        let opened = lab.journal().calls(name).len();
        expect(opened == 1)
            .or(
                format!("{name} opens one connection"),
                format!("it opened {opened}"),
            )
            .because("each connection costs the broker memory, and each has to be kept alive")?;
    }
    Ok(())
}

/// Each connection of the service so far speaks AMQP: none only asks whether the port is open.
fn no_probe(lab: &Lab, name: &str) -> Outcome {
    let spoken = lab.journal().frames(|frame| frame.service == name);
    let spoken: BTreeSet<u32> = spoken.iter().map(|frame| frame.connection).collect();
    let opened = lab.journal().calls(name).len();
    expect(opened <= spoken.len())
        .or(
            format!("each connection that {name} opens speaks AMQP"),
            format!(
                "it opened {opened}, and {} spoke AMQP: the others only tried the port",
                spoken.len()
            ),
        )
        .hole(5)
        .because("a port may be open while the broker behind it is silent: use one attempt, and limit all of it")
}

/// How often the service has tried to connect.
pub fn attempts(lab: &Lab, service: &Service) -> usize {
    lab.journal().calls(&service.name()).len()
}

/// Waits until the service has tried to connect `times` times, with success or without.
pub async fn tries(lab: &Lab, service: &Service, times: usize) -> Outcome {
    let expected = format!("{} tries to connect {times} time(s)", service.name());
    let why = "most failures pass: a program that does not retry has to be restarted by hand";
    lab.eventually(&expected, why, async || {
        let seen = attempts(lab, service);
        // One that may end has ended: it will not try again.
        if let Some(exit) = service.exit().filter(|_| seen < times) {
            lab.all_well()?;
            let ended = fail(&expected, format!("{seen} time(s); {exit}"));
            return Err(ended.because(why).into());
        }
        Ok(Seen::when(seen >= times, || format!("{seen} time(s)")))
    })
    .await
}

/// Waits until `time` has passed, and all services are well.
pub async fn time_passes(lab: &Lab, time: Duration) -> Outcome {
    let span = lab.span();
    lab.eventually("time passes", "the check needs it", async || {
        Ok(Seen::when(span.exceeds(time), || "not yet".to_owned()))
    })
    .await
}

/// The service's pauses so far: each from the end of a connection, or from the moment when an
/// attempt was turned away, to the next attempt.
pub fn pauses(lab: &Lab, service: &Service) -> Vec<Span> {
    let (name, mut pauses, mut ended) = (service.name(), Vec::new(), None);
    lab.journal().read(|entries| {
        for entry in entries {
            let Event::Connection { service, what, .. } = &entry.event else {
                continue;
            };
            if *service != name {
                continue;
            }
            if let Some(ended) = ended.take_if(|_| what.is_attempt()) {
                pauses.push(lab.between(ended, entry.t));
            }
            if *what != ConnectionEvent::Opened {
                ended = Some(entry.t);
            }
        }
    });
    pauses
}
