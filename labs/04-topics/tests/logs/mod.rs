//! Producers, consumers and messages, as the checks use them.

use std::ops::Deref;

use anyhow::Context;
use check::Exit;
use check::wiretap::{ConnectionEvent, Method};
use check::{Lab, Outcome, Seen, Service, Stop, fail};
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

/// The exchange that all use.
pub const LOGS: &str = "logs";

/// A message that was published.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub key: String,
    pub text: String,
}

/// A consumer, and what it should get.
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

/// A consumer of a queue, that is not started yet. All consumers of a queue share a database.
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
    /// The program, where it is one among others.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Adds a setting to its environment.
    pub fn with_setting(self, name: &str, value: &str) -> Self {
        let service = self.service.clone().with(name, value);
        Self { service, ..self }
    }

    /// Starts it, and waits until it stands at its queue as the only one.
    pub async fn listen(&self, lab: &Lab) -> Outcome {
        self.launch().await?;
        let name = self.name();
        let declared = || lab.journal().methods(&name, Method::QueueDeclare);
        let why = "a queue keeps what its consumer cannot take just now";
        lab.eventually(&format!("{name} declares a queue"), why, async || {
            let there = !declared().is_empty();
            Ok(Seen::when(there, || "it has not, so far".to_owned()))
        })
        .await?;
        let exclusive = declared().iter().any(|frame| frame.flag("exclusive"));
        fail(
            format!("a queue `{}` that others may share", self.queue),
            "it is declared as exclusive (queue.declare)",
        )
        .because("an exclusive queue is for one connection, and goes with it")
        .hole(3)
        .unless(!exclusive)?;
        lab.consumers(&self.queue, 1).await
    }

    /// What it has recorded: ids.
    pub fn ids(&self) -> Outcome<Vec<String>> {
        let rows = self.rows("messages")?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }
}

/// A consumer of a queue of its own that is there, bound and waiting.
pub async fn listening(lab: &Lab, queue: &str, patterns: &[&str]) -> Outcome<Listener> {
    let consumer = consumer(lab, queue, queue, patterns).await?;
    consumer.listen(lab).await?;
    Ok(consumer)
}

/// A producer that is not started yet.
pub async fn producer(lab: &Lab, name: &str, arguments: &[&str]) -> Outcome<Service> {
    lab.instance(name, &[&["producer"], arguments].concat())
        .await
}

/// Has a producer called `name` send what `arguments` say, and gives what it has published.
pub async fn send(lab: &Lab, name: &str, arguments: &[&str]) -> Outcome<Vec<Sent>> {
    let producer = producer(lab, name, arguments).await?;
    ends_well(&producer).await?;
    Ok(published(lab, name))
}

/// Runs a producer to its end.
pub async fn ends_well(producer: &Service) -> Outcome {
    let why = "each message was confirmed, and a queue has it: that is what 0 says";
    producer.ends_well(why).await
}

/// Has a producer send a message under each of these keys, and gives what it has published.
pub async fn send_keys(lab: &Lab, name: &str, keys: &[&str]) -> Outcome<Vec<Sent>> {
    let sent = send(lab, name, keys).await?;
    let told: Vec<&str> = sent.iter().map(|message| &*message.key).collect();
    fail(
        format!("the keys as they were given: {keys:?}"),
        format!("{told:?}"),
    )
    .because("a key is taken as it is: who asks for it has to know how it looks")
    .unless(told == keys)?;
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

/// Patterns, as a failure shows them.
fn listed(patterns: &[String]) -> String {
    match patterns {
        [] => "none".to_owned(),
        some => format!("`{}`", some.join("`, `")),
    }
}

/// Waits until `consumer` has recorded those of `sent` that are `wanted`, and nothing else.
pub async fn gets_only(
    lab: &Lab,
    consumer: &Listener,
    sent: &[Sent],
    wanted: impl Fn(&str) -> bool,
) -> Outcome {
    let Listener {
        queue, patterns, ..
    } = consumer;
    let patterns = listed(patterns);
    let right = |message: &&Sent| wanted(&message.key);
    let ids: Vec<String> = sent.iter().filter(right).map(|m| m.id.clone()).collect();
    let count = ids.len();
    let expected = format!("queue `{queue}`, bound with {patterns}, gets {count} message(s)");
    let (name, at) = (consumer.name(), Some(queue.as_str()));
    let look = async || consumer.ids();
    let waited = lab.each_once_at(&name, &expected, at, &ids, look).await;
    if let Err(Stop::Failed(mut failure)) = waited {
        // No queue, no bindings.
        let bindings = lab.bindings(queue).await.unwrap_or_default();
        let keys: Vec<String> = bindings.into_iter().map(|b| b.routing_key).collect();
        failure.observed += &format!("; the queue's bindings now: {}", listed(&keys));
        return Err(Stop::Failed(failure));
    }
    waited?;
    drained(lab, queue).await?;
    for row in consumer.rows("messages")? {
        fail(&expected, format!("it got `{}` as well", row.value))
            .because("whoever asks for a part must not be given the whole")
            .unless(ids.contains(&row.id))?;
        let message = sent.iter().find(|message| message.id == row.id);
        let line = message.map(|message| format!("{} {}", message.key, message.text));
        fail(
            format!("`{}` is recorded", line.as_deref().unwrap_or("?")),
            format!("`{}`", row.value),
        )
        .because("the key is part of the message: it says what it is about")
        .unless(line.as_ref() == Some(&row.value))?;
    }
    Ok(())
}

/// Waits until nothing is left in the queue, or in a consumer's hand.
pub async fn drained(lab: &Lab, queue: &str) -> Outcome {
    let expected = format!("queue `{queue}` is worked off");
    let why = "what is not acked comes again";
    lab.eventually(&expected, why, async || {
        let left = lab.queue(queue).await?;
        let left = left.map_or(0, |queue| queue.ready + queue.unacked);
        Ok(Seen::when(left == 0, || format!("{left} left")))
    })
    .await
}

/// Declares the exchange as a client in another language would, and binds a queue of the
/// check's own to it.
pub async fn mailbox(lab: &Lab, queue: &str, pattern: &str) -> Outcome {
    let connection = lab.connect().await?;
    let made = async {
        let channel = connection.create_channel().await?;
        let none = FieldTable::default;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let kind = ExchangeKind::Topic;
        let exchange = channel.exchange_declare(LOGS.into(), kind, options, none());
        exchange.await?;
        let durable = QueueDeclareOptions::durable();
        channel.queue_declare(queue.into(), durable, none()).await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), LOGS.into(), pattern.into(), options, none())
            .await?;
        connection.close(200, "done".into()).await
    };
    made.await.context("the check cannot make its own queue")?;
    lab.journal().note(format!(
        "declared the durable topic exchange `{LOGS}`, and bound queue `{queue}` with `{pattern}`"
    ));
    Ok(())
}

/// Starts a program that cannot do its work, and gives what it has said when it gave up.
pub async fn gives_up(lab: &Lab, service: &Service) -> Outcome<String> {
    let name = service.name();
    let expected = format!("{name} ends at once, with an error");
    let why = "asked again, the broker says the same again: only a person can mend this";
    service.begin().await?;
    let exit = lab
        .eventually(&expected, why, async || {
            let tries = lab
                .journal()
                .connection_count(&name, &ConnectionEvent::Opened);
            let again = format!("it connects again and again: {tries} times by now");
            fail(&expected, again).because(why).unless(tries <= 2)?;
            Ok(match service.exit() {
                Some(exit) => Seen::Yes(exit),
                None => Seen::NotYet("it still runs".to_owned()),
            })
        })
        .await?;
    lab.all_well()?;
    fail("an exit code other than 0", exit.to_string())
        .because("whoever started it goes by the exit code")
        .unless(exit != Exit::Code(0))?;
    Ok(service.output())
}
