//! Producer, consumer and the network between them, as the checks use them.

use std::time::Duration;

use check::Exit;
use check::wiretap::{ConnectionEvent, Event, Method, Side};
use check::{Lab, Login, Outcome, Rights, Seen, Service, Span, expect};

/// The queue, the exchange and the key.
pub const MESSAGES: &str = "messages";
/// What could not be taken.
pub const DEAD: &str = "messages.dead";

/// What an administrator makes before all.
pub const TOPOLOGY: &str = "compose/07-topology.json";

/// Just what each of them needs: they have to work with that.
pub const PRODUCER: Rights<'_> = Rights {
    configure: "^$",
    write: "^messages$",
    read: "^$",
};
pub const CONSUMER: Rights<'_> = Rights {
    configure: "^$",
    write: "^$",
    read: "^messages$",
};

/// Two heartbeats of one second, and what it takes to look and to be seen on a busy machine:
/// RabbitMQ looks once a heartbeat, and hangs up when it has heard nothing twice.
const NOTICED: Duration = Duration::from_secs(6);

/// A producer or consumer that is not started yet, with a user of its own.
pub async fn party(lab: &Lab, name: &str, words: &[&str], rights: Rights<'_>) -> Outcome<Service> {
    let login = lab.user(rights).await?;
    visitor(lab, name, words, &login).await
}

/// As [`party`], for a user that is there already.
pub async fn visitor(lab: &Lab, name: &str, words: &[&str], login: &Login) -> Outcome<Service> {
    let service = lab.instance(name, words).await?;
    Ok(service
        .logs_in(login, lab.vhost())
        .with("BROKER_HEARTBEAT_S", 1)
        .with("BROKER_CONNECT_TIMEOUT_MS", 5000))
}

/// A consumer that is not started yet.
pub async fn consumer(lab: &Lab, name: &str, more: &[&str]) -> Outcome<Service> {
    party(lab, name, &[&["consumer"], more].concat(), CONSUMER).await
}

/// The only consumer, and it consumes.
pub async fn consuming(lab: &Lab) -> Outcome<Service> {
    let consumer = consumer(lab, "consumer", &[]).await?;
    consumer.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    Ok(consumer)
}

/// A producer that is not started yet: so many messages a second.
pub async fn producer(lab: &Lab, rate: u32, more: &[&str]) -> Outcome<Service> {
    let rate = rate.to_string();
    let words = [&["producer", "--rate", &rate], more].concat();
    party(lab, "producer", &words, PRODUCER).await
}

/// Has a producer send so many messages, and gives their ids.
pub async fn sent(lab: &Lab, count: usize) -> Outcome<Vec<String>> {
    let producer = producer(lab, 500, &["--count", &count.to_string()]).await?;
    producer.begin().await?;
    ends_well(lab, &producer).await
}

/// Waits until the producer has ended, in order and with all confirmed; gives the ids.
pub async fn ends_well(lab: &Lab, producer: &Service) -> Outcome<Vec<String>> {
    let exit = producer.finished().await?;
    let mut ids = Vec::new();
    for frame in lab.journal().methods("producer", Method::BasicPublish) {
        let id = frame.message_id().unwrap_or("?").to_owned();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let all = format!("sent {0}, confirmed {0}", ids.len());
    let words = producer.last_words(1).join("");
    expect(words.ends_with(&all) && exit == Exit::Code(0))
        .or(
            format!("the producer says last `{all}`, and ends with exit code 0"),
            format!("it said `{words}`; {exit}"),
        )
        .because("what was not confirmed may be lost, and only the producer can know it")?;
    Ok(ids)
}

/// Waits until each of these messages has had its effect, once, and nothing is left.
pub async fn arrived(lab: &Lab, consumer: &Service, expected: &str, ids: &[String]) -> Outcome {
    let look = async || {
        let rows = consumer.rows("messages")?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    };
    lab.each_once(expected, Some(MESSAGES), ids, look).await?;
    cleared(lab).await
}

/// Waits until the queue is empty and nothing of it is in anybody's hand.
pub async fn cleared(lab: &Lab) -> Outcome {
    let why = "what stays unacked comes again, and again";
    lab.eventually("the queue is cleared", why, async || {
        let queue = lab.queue(MESSAGES).await?;
        let (ready, unacked) = queue.map_or((0, 0), |queue| (queue.ready, queue.unacked));
        let seen = Seen::when(ready == 0 && unacked == 0, || {
            format!("{ready} ready, {unacked} unacked")
        });
        // A consumer that is well settles what it has, in HOLE 6.
        Ok(if unacked > 0 { seen.hole(6) } else { seen })
    })
    .await
}

/// Waits until `count` effects are there.
pub async fn effects(lab: &Lab, consumer: &Service, count: usize) -> Outcome {
    let expected = format!("{count} messages have their effect, and more come");
    let why = "a network can only fail under work that is going on";
    lab.eventually(&expected, why, async || {
        let seen = consumer.rows("messages")?.len();
        Ok(Seen::when(seen >= count, || format!("{seen} have")))
    })
    .await
}

/// Pulls the cable: nothing arrives at either end any more, and nobody is told.
pub fn unplug(service: &Service) {
    service.tap().black_hole(Side::Client);
    service.tap().black_hole(Side::Server);
}

/// Waits until both ends of these consumers' connections have noticed that the other is gone:
/// the broker by forgetting the consumers, each consumer by calling again. To be called when
/// the cables were pulled just now.
pub async fn both_notice(lab: &Lab, consumers: &[&Service]) -> Outcome {
    let pulled = lab.span();
    let count = |service: &Service| lab.journal().calls(&service.name()).len();
    let before: Vec<usize> = consumers.iter().map(|one| count(one)).collect();
    let all = consumers.len();
    let mut noticed = [("the broker", false), ("the client", false)];
    let expected = "both ends notice within about two heartbeats of one second";
    let why = "TCP tells nobody: only a heartbeat that is missing does";
    lab.eventually_within(NOTICED, expected, why, async || {
        let queue = lab.queue(MESSAGES).await?;
        let held = queue.and_then(|queue| queue.consumers).unwrap_or(0);
        let again = consumers.iter().zip(&before);
        let again = again.filter(|(one, before)| count(one) > **before).count();
        for ((who, told), now) in noticed.iter_mut().zip([held == 0, again == all]) {
            if now && !*told {
                *told = true;
                let after = pulled.elapsed().as_secs_f64();
                lab.journal()
                    .note(format!("{who} has noticed after {after:.1} s"));
            }
        }
        Ok(Seen::when(noticed.iter().all(|(_, told)| *told), || {
            format!("the broker holds on to {held} consumer(s), {again} of {all} called again")
        }))
    })
    .await
}

/// How long a call may take where the network swallows it, in milliseconds.
pub const SHORT: u32 = 700;

/// Waits until the service has called the broker so often, let in or not.
pub async fn called(lab: &Lab, service: &Service, times: usize) -> Outcome {
    let name = service.name();
    let expected = format!("{name} calls the broker {times} times");
    let why =
        "what fails now works a moment later: who does not try again has to be started by hand";
    lab.eventually(&expected, why, async || {
        let seen = lab.journal().calls(&name).len();
        Ok(Seen::when(seen >= times, || format!("{seen} time(s)")))
    })
    .await
}

/// The pauses between its calls so far: each from the end of a connection, or from
/// the moment at which it was turned away, to the next call.
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
