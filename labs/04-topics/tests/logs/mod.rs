//! Producers, consumers and messages of the exchange `logs`, as the checks use them.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::time::Duration;

use check::wiretap::{ConnectionEvent, Event, Method};
use check::{Failure, Lab, Outcome, Seen, Service, Stop, expect};
use lapin::{BasicProperties, ExchangeKind};

use super::causes;

/// The exchange that producers and consumers use.
pub const LOGS: &str = "logs";
/// The check's own queue.
pub const CHECK: &str = "check";

/// What exit code 0 of a producer means.
pub const SENT: &str = "exit code 0 says that each message was confirmed and reached a queue";

/// How long a message of the check's own may take to a consumer's database.
const SOON: Duration = Duration::from_secs(3);

/// A message that was published.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub key: String,
    pub text: String,
}

/// A consumer, its queue, and the patterns that it binds.
pub struct Listener {
    service: Service,
    queue: String,
    patterns: Vec<String>,
}

impl Deref for Listener {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

/// A consumer of a queue, not started yet. All consumers of one queue share a database.
pub async fn consumer(lab: &Lab, name: &str, queue: &str, patterns: &[&str]) -> Outcome<Listener> {
    let arguments = [&["consumer", queue], patterns].concat();
    let service = lab.instance(name, &arguments).await?;
    let bound = patterns.iter().take_while(|word| **word != "--unbind");
    let shared = lab.dir().join(format!("{queue}.sqlite"));
    Ok(Listener {
        service: service.with("DATABASE", shared.display()),
        queue: queue.to_owned(),
        patterns: bound.map(|&word| word.to_owned()).collect(),
    })
}

impl Listener {
    /// The program itself, to be kept among others.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Adds a setting to its environment.
    pub fn with_setting(self, name: &str, value: &str) -> Self {
        let service = self.service.clone().with(name, value);
        Self { service, ..self }
    }

    /// Starts it, and waits until it is the only consumer of its queue.
    pub async fn listen(&self, lab: &Lab) -> Outcome {
        self.launch().await?;
        self.is_listening(lab).await
    }

    async fn is_listening(&self, lab: &Lab) -> Outcome {
        self.declares_its_queue(lab).await?;
        // An exclusive queue has no consumer that the lab could see.
        causes::none(lab, 1)?;
        lab.consumers(&self.queue, 1).await?;
        causes::none(lab, 1)
    }

    async fn declares_its_queue(&self, lab: &Lab) -> Outcome {
        let (name, queue) = (self.name(), &self.queue);
        let why = "the queue has the name of the command line: consumers of one name share it";
        lab.eventually(
            &format!("{name} declares queue `{queue}`"),
            why,
            async || {
                let declares = lab.journal().methods(&name, Method::QueueDeclare);
                let mut names = declares
                    .iter()
                    .filter_map(|frame| frame.args["queue"].as_str());
                let other = names
                    .clone()
                    .next()
                    .map(|other| format!("it declares `{other}`"));
                Ok(Seen::when(names.any(|name| name == queue), || {
                    other.unwrap_or_else(|| "it declares none (no queue.declare)".to_owned())
                })
                .hole(1))
            },
        )
        .await
    }

    /// Waits until a binding with each of its patterns exists, and no other.
    pub async fn is_bound(&self, lab: &Lab, why: &str) -> Outcome {
        let (queue, patterns) = (&self.queue, listed(&self.patterns));
        let expected = format!("queue `{queue}` is bound with {patterns}, and no other pattern");
        let mut wanted = self.patterns.clone();
        wanted.sort();
        lab.eventually_within(SOON, &expected, why, async || {
            let mut keys = binding_keys(lab, queue).await?;
            keys.sort();
            let seen = Seen::when(keys == wanted, || {
                format!("its bindings: {}", listed(&keys))
            });
            Ok(seen.hole(1))
        })
        .await
    }

    /// The ids of the messages that it has recorded.
    pub fn ids(&self) -> Outcome<Vec<String>> {
        let rows = self.rows("messages")?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// Waits until it has recorded these lines, `KEY TEXT` each, in any order, and no other.
    pub async fn records(&self, lab: &Lab, lines: &[&str], why: &str) -> Outcome {
        let (queue, patterns) = (&self.queue, listed(&self.patterns));
        let mut wanted: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        wanted.sort();
        let expected = format!(
            "queue `{queue}`, bound with {patterns}, gets {}",
            listed(&wanted)
        );
        lab.eventually_within(SOON, &expected, why, async || {
            let rows = self.rows("messages")?.into_iter();
            let mut seen: Vec<String> = rows.map(|row| row.value).collect();
            seen.sort();
            Ok(Seen::when(seen == wanted, || {
                format!("it got {}", listed(&seen))
            }))
        })
        .await
    }

    /// Waits until it has recorded those of `sent` whose key is `wanted`, and nothing else.
    pub async fn gets_only(
        &self,
        lab: &Lab,
        sent: &[Sent],
        wanted: impl Fn(&str) -> bool,
    ) -> Outcome {
        let patterns = listed(&self.patterns);
        let right: Vec<_> = sent.iter().filter(|message| wanted(&message.key)).collect();
        let (queue, count) = (&self.queue, right.len());
        let expected = format!("queue `{queue}`, bound with {patterns}, gets {count} message(s)");
        self.gets(lab, &expected, &ids_of(right)).await?;
        match self.recorded_only(&expected, sent, wanted) {
            Err(Stop::Failed(failure)) => Err(self.with_bindings(lab, *failure).await.into()),
            outcome => outcome,
        }
    }

    /// Waits until it has recorded the messages with these ids, and has acked all it was
    /// delivered.
    pub async fn gets(&self, lab: &Lab, expected: &str, ids: &[String]) -> Outcome {
        let (name, queue) = (self.name(), &*self.queue);
        let recorded = async || self.ids();
        let arrived = lab
            .each_once_at(&name, expected, Some(queue), ids, recorded)
            .await;
        match arrived {
            Ok(_) => lab.settled(queue).await,
            Err(Stop::Failed(failure)) => Err(self.with_bindings(lab, *failure).await.into()),
            Err(unknown) => Err(unknown),
        }
    }

    /// Adds what its queue is bound with; without a queue that is nothing. Where that is not what the
    /// command line says, HOLE 1 is to blame.
    async fn with_bindings(&self, lab: &Lab, mut failure: Failure) -> Failure {
        let keys = binding_keys(lab, &self.queue).await.unwrap_or_default();
        failure.observed += &format!("; the queue's bindings now: {}", listed(&keys));
        let unwanted = keys.iter().any(|key| !self.patterns.contains(key));
        let missing = self.patterns.iter().any(|pattern| !keys.contains(pattern));
        if unwanted || missing {
            failure.hole = Some(1);
        }
        failure
    }

    fn recorded_only(
        &self,
        expected: &str,
        sent: &[Sent],
        wanted: impl Fn(&str) -> bool,
    ) -> Outcome {
        for row in self.rows("messages")? {
            let message = sent.iter().find(|message| message.id == row.id);
            expect(message.is_some_and(|message| wanted(&message.key)))
                .or(expected, format!("it got `{}` as well", row.value))
                .because("a consumer gets only the messages that its patterns match")?;
            let line = message.map(|message| format!("{} {}", message.key, message.text));
            let line = line.unwrap_or_default();
            expect(line == row.value)
                .or(format!("`{line}` is recorded"), format!("`{}`", row.value))
                .because("the key is part of the message: it says what the message is about")?;
        }
        Ok(())
    }
}

/// The keys of a queue's bindings.
pub async fn binding_keys(lab: &Lab, queue: &str) -> Outcome<Vec<String>> {
    let bindings = lab.bindings(queue).await?;
    Ok(bindings.into_iter().map(|b| b.routing_key).collect())
}

/// The ids of these messages, in order.
pub fn ids_of<'a>(messages: impl IntoIterator<Item = &'a Sent>) -> Vec<String> {
    messages.into_iter().map(|m| m.id.clone()).collect()
}

/// Patterns or lines, as a failure shows them.
pub fn listed(words: &[String]) -> String {
    match words {
        [] => "none".to_owned(),
        some => format!("`{}`", some.join("`, `")),
    }
}

/// A consumer with a queue of its own, started, bound and consuming.
pub async fn listening(lab: &Lab, queue: &str, patterns: &[&str]) -> Outcome<Listener> {
    let consumer = consumer(lab, queue, queue, patterns).await?;
    consumer.listen(lab).await?;
    Ok(consumer)
}

/// A consumer for each name and its patterns, started side by side and consuming.
pub async fn all_listening<'a>(
    lab: &Lab,
    queues: impl IntoIterator<Item = (String, Vec<&'a str>)>,
) -> Outcome<Vec<Listener>> {
    let mut consumers = Vec::new();
    for (queue, patterns) in queues {
        let consumer = consumer(lab, &queue, &queue, &patterns).await?;
        consumer.launch().await?;
        consumers.push(consumer);
    }
    for consumer in &consumers {
        consumer.is_listening(lab).await?;
    }
    Ok(consumers)
}

/// A producer, not started yet.
pub async fn producer(lab: &Lab, name: &str, arguments: &[&str]) -> Outcome<Service> {
    lab.instance(name, &[&["producer"], arguments].concat())
        .await
}

/// Runs a producer called `name` with these arguments, and gives what it has published.
pub async fn send(lab: &Lab, name: &str, arguments: &[&str]) -> Outcome<Vec<Sent>> {
    let producer = producer(lab, name, arguments).await?;
    ends_well(&producer).await?;
    Ok(published(lab, name))
}

/// Runs a producer to its end.
pub async fn ends_well(producer: &Service) -> Outcome {
    producer.ends_well(SENT).await
}

/// Runs a producer that sends a message under each of these keys, and gives what it has
/// published.
pub async fn send_keys(lab: &Lab, name: &str, keys: &[&str]) -> Outcome<Vec<Sent>> {
    let sent = send(lab, name, keys).await?;
    let used: Vec<String> = sent.iter().map(|message| message.key.clone()).collect();
    expect(used == keys)
        .or(
            format!("the keys as they were given: `{}`", keys.join("`, `")),
            listed(&used),
        )
        .proven()
        .because("a changed key matches other patterns than the given one")?;
    Ok(sent)
}

/// What the service has published, in order.
pub fn published(lab: &Lab, service: &str) -> Vec<Sent> {
    let frames = lab.journal().methods(service, Method::BasicPublish);
    let sent = frames.iter().map(|frame| Sent {
        id: frame.message_id().unwrap_or("?").to_owned(),
        key: frame.args["routing_key"].as_str().unwrap_or("?").to_owned(),
        text: frame.message.clone().unwrap_or_default().body,
    });
    sent.collect()
}

/// The properties of a message of the check's own.
pub fn identified(id: &str) -> BasicProperties {
    BasicProperties::default().with_message_id(id.into())
}

/// What a service has open: its connections, and the channels on them.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    pub connections: usize,
    pub channels: usize,
}

/// What `service` has open, as its wiretap saw it.
pub fn open(lab: &Lab, service: &str) -> Open {
    let journal = lab.journal();
    let ends = journal.read(|entries| {
        let events = entries.iter().filter_map(|entry| match &entry.event {
            Event::Connection {
                service: of,
                connection,
                what,
            } if of == service => Some((*connection, what.clone())),
            _ => None,
        });
        events.collect::<Vec<_>>()
    });
    let mut open = BTreeSet::new();
    for (number, what) in ends {
        match what {
            ConnectionEvent::Opened => _ = open.insert(number),
            what if what.is_end() => _ = open.remove(&number),
            _ => {}
        }
    }
    let count = |method| {
        let of = journal.methods(service, method).into_iter();
        of.filter(|frame| open.contains(&frame.connection)).count()
    };
    let opened = count(Method::ChannelOpen);
    Open {
        connections: open.len(),
        channels: opened.saturating_sub(count(Method::ChannelClose)),
    }
}

/// Whether `service`, with an unbroken link, made do with few connections and channels for `all`
/// that it did.
pub fn opens_few(lab: &Lab, service: &str, all: &str) -> Outcome {
    let opened = &ConnectionEvent::Opened;
    let connections = lab.journal().connection_count(service, opened);
    let opens = lab.journal().methods(service, Method::ChannelOpen).len();
    let closes = lab.journal().methods(service, Method::ChannelClose).len();
    let channels = opens.saturating_sub(closes);
    expect(connections <= 2 && channels <= 3)
        .or(
            format!("{service} uses one connection, with one channel, for {all}"),
            format!("{connections} connection(s), and {channels} channel(s) that stay open"),
        )
        .because("to open one takes several round trips, and the broker has a limit for each")
}

/// Binds the check's own queue, which a client in another language could have made. The broker refuses
/// if a service has declared another exchange.
pub async fn bind_check(lab: &Lab, pattern: &str) -> Outcome {
    let bound = lab.bind_queue(CHECK, LOGS, ExchangeKind::Topic, pattern);
    bound.await.map_err(|stop| match stop {
        Stop::Failed(failure) => failure.hole(2).into(),
        unknown => unknown,
    })
}
