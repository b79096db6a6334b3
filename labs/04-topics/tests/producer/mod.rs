//! What a producer must be able to do, and which faults it must survive.

use std::collections::BTreeSet;

use check::wiretap::{Frame, Method, Side};
use check::{Exit, Lab, Outcome, Seen, Service, expect};
use rand::RngExt;

use super::logs::{CHECK, LOGS, bind_check, consumer, ends_well, producer, published, send};

pub async fn sent(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?;
    each_under_its_key(&lab).await?;
    a_key_for_each_severity(&lab).await
}

async fn each_under_its_key(lab: &Lab) -> Outcome {
    let keys = ["log.warning", "pr.1.2he", "log.warning"];
    let text = lab.random(|chance| format!("disk {} is full", chance.random_range(0..1000)));
    let sent = send(lab, "producer", &[&keys[..], &["--text", &text]].concat()).await?;
    let ids: BTreeSet<_> = sent.iter().map(|message| &message.id).collect();
    expect(ids.len() == 3)
        .or("3 messages with 3 ids", format!("{} ids", ids.len()))
        .because("a consumer recognizes a redelivered message by its id")?;
    let there = lab.take(CHECK).await?;
    let right = there.iter().zip(keys).filter(|(message, key)| {
        message.exchange.as_str() == LOGS
            && message.routing_key.as_str() == *key
            && message.data == text.as_bytes()
            && *message.properties.delivery_mode() == Some(2)
    });
    let right = right.count();
    expect(right == 3 && there.len() == 3)
        .or(
            "3 persistent messages, each under its key, are in a queue bound with `#`",
            format!("{right} of {}", there.len()),
        )
        .because("exit code 0 of a producer says that the broker confirmed each message")
}

async fn a_key_for_each_severity(lab: &Lab) -> Outcome {
    send(lab, "lines", &["--count", "5", "--rate", "100"]).await?;
    let there = lab.take(CHECK).await?;
    let keys: Vec<_> = there.iter().map(|m| m.routing_key.as_str()).collect();
    let keys = keys.join(" ");
    expect(keys == "log.debug log.info log.warning log.critical log.debug")
        .or("log lines: debug, info, warning, critical, debug", &keys)
        .because("with a key for each severity, a consumer can ask for one of them")
}

pub async fn unroutable(lab: Lab) -> Outcome {
    bind_check(&lab, "log.#").await?;
    let nobody = lab.random(|chance| format!("nobody.n{}", chance.random_range(1000..9999)));
    let keys = ["log.first", &nobody, "log.last"];
    let producer = producer(&lab, "producer", &keys).await?;
    let exit = ends_without_retries(&lab, &producer, &nobody).await?;
    let returns = returns(&lab);
    expect(returns > 0)
        .or(
            "the broker returns the message (basic.return)",
            format!("{returns} came back"),
        )
        .because("without `mandatory` the broker drops an unroutable message and confirms it")?;
    expect(exit != Exit::Code(0) && producer.output().contains(&nobody))
        .or(
            format!("it names the key `{nobody}`, and ends with another exit code than 0"),
            format!("{exit}; it said last: {}", producer.last_words(1).join("")),
        )
        .because("no queue has the message: it is lost unless the producer reports it")?;
    let there = lab.take(CHECK).await?.len();
    expect(there == 2)
        .or(
            "the two routable messages are in their queue",
            format!("{there} of 2"),
        )
        .because("one unroutable message must not stop the others")
}

/// Starts the producer, and waits until it has ended after at most two tries under `key`.
async fn ends_without_retries(lab: &Lab, producer: &Service, key: &str) -> Outcome<Exit> {
    let expected = "the producer reports the returned message, and ends";
    let why = "no queue is bound for this key, and a retry does not change that";
    producer.begin().await?;
    let exit = lab
        .eventually(expected, why, async || {
            let tries = published(lab, "producer");
            let tries = tries.iter().filter(|sent| sent.key == key).count();
            expect(tries <= 2)
                .or(expected, format!("it has sent `{key}` {tries} times"))
                .because(why)?;
            Ok(Seen::some(producer.exit(), || "it still runs".to_owned()))
        })
        .await?;
    lab.all_well()?;
    Ok(exit)
}

/// How many messages the broker returned to the producer.
fn returns(lab: &Lab) -> usize {
    lab.journal().methods("producer", Method::BasicReturn).len()
}

pub async fn producer_cut(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?;
    let producer = producer(&lab, "producer", &["log.a", "log.b"]).await?;
    // One cut loses a message, and a later one loses a confirm.
    let tap = producer.tap();
    tap.cut_before(Side::Client, Method::BasicPublish);
    tap.cut_before(Side::Server, Method::BasicAck);
    ends_well(&producer).await?;
    let sent = published(&lab, "producer").into_iter();
    let sent: BTreeSet<_> = sent.map(|message| (message.key, message.id)).collect();
    let arrived = lab.take(CHECK).await?;
    let arrived = arrived.iter().filter_map(|message| {
        let id = message.properties.message_id().as_ref()?;
        Some((message.routing_key.to_string(), id.to_string()))
    });
    let arrived: BTreeSet<_> = arrived.collect();
    expect(sent.len() == 2 && arrived == sent)
        .or(
            "2 messages, each under one id at every try, and both arrive",
            format!("{} ids sent, {} arrived", sent.len(), arrived.len()),
        )
        .because("without a retry a message is lost; under a new id it counts twice")
}

/// AMQP limits a key's bytes; each of these letters has two.
fn two_byte_letters(count: usize) -> String {
    "é".repeat(count)
}

pub async fn long_key(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?;
    refuses(&lab, &two_byte_letters(128)).await?;
    let longest = format!("{}x", two_byte_letters(127));
    let sent = send(&lab, "most", &[&longest]).await?;
    let there = lab.take(CHECK).await?;
    expect(there.len() == 1 && there[0].routing_key.as_str() == longest)
        .or(
            "a key of 255 bytes is sent unchanged",
            format!("{} sent, {} arrived", sent.len(), there.len()),
        )
        .because("AMQP has room for 255 bytes, which can be fewer than 255 letters")
}

/// Whether a producer refuses a key of 256 bytes before it sends anything.
async fn refuses(lab: &Lab, key: &str) -> Outcome {
    let refused = producer(lab, "over", &["log.first", key]).await?;
    let exit = refused.run().await?;
    let sent = published(lab, "over").len();
    expect(exit != Exit::Code(0) && sent == 0)
        .or(
            "with a key of 256 bytes among the others, nothing is sent, and it is an error",
            format!("{exit}, {sent} sent"),
        )
        .because("a job that cannot be finished is best refused before it begins")?;
    let output = refused.output();
    expect(output.contains("256") && output.contains("255") && !output.contains("panicked"))
        .or(
            "an error that names the length, 256 bytes, and the limit, 255",
            format!("it said last:\n{}", refused.last_words(3).join("\n")),
        )
        .because("a panic helps the programmer; an error helps the user")
}

pub async fn alternate(lab: Lab) -> Outcome {
    let other = lab.random(|chance| format!("unrouted-{}", chance.random_range(10..99)));
    let ops = consumer(&lab, "ops", "ops", &["log.#"]).await?;
    let ops = ops.with_setting("ALTERNATE_EXCHANGE", &other);
    ops.listen(&lab).await?;
    let producer = producer(&lab, "producer", &["log.warning", "nobody.asks", ""]).await?;
    let exit = producer.with("ALTERNATE_EXCHANGE", &other).run().await?;
    catches_two(&lab, &other).await?;
    is_durable(&lab, &other)?;
    keeps_the_keys(&lab, &other).await?;
    counts_as_routed(&lab, exit)?;
    let sent = published(&lab, "producer");
    ops.gets_only(&lab, &sent, |key| key == "log.warning").await
}

async fn catches_two(lab: &Lab, other: &str) -> Outcome {
    let caught = lab.queue(other).await?.map(|queue| queue.ready);
    let observed = caught.map_or("no such queue".to_owned(), |ready| format!("{ready} in it"));
    expect(caught == Some(2))
        .or(
            format!("a queue `{other}` with the 2 messages that no queue of `{LOGS}` takes"),
            observed,
        )
        .because("an alternate exchange keeps nothing, as any exchange; a queue bound to it does")
}

fn is_durable(lab: &Lab, other: &str) -> Outcome {
    let transient = lab.journal().frames(|frame: &Frame| {
        let argument = match frame.method {
            Method::ExchangeDeclare => "exchange",
            Method::QueueDeclare => "queue",
            _ => return false,
        };
        frame.args[argument] == *other && !frame.flag("durable")
    });
    let method = transient.first().map_or("", |frame| frame.method.name());
    expect(transient.is_empty())
        .or(
            format!("exchange and queue `{other}` are durable"),
            format!("{method} without `durable`"),
        )
        .because("messages kept for a person to look at must survive a broker restart")
}

async fn keeps_the_keys(lab: &Lab, other: &str) -> Outcome {
    let there = lab.take(other).await?;
    let keys: Vec<_> = there.iter().map(|m| m.routing_key.as_str()).collect();
    expect(keys == ["nobody.asks", ""])
        .or(
            "the messages have their keys: `nobody.asks` and ``",
            format!("{keys:?}"),
        )
        .because("the key shows which binding is missing, or which producer misspelt it")
}

fn counts_as_routed(lab: &Lab, exit: Exit) -> Outcome {
    let returns = returns(lab);
    expect(returns == 0)
        .or("no message is returned", format!("{returns} came back"))
        .because("a message that the alternate exchange takes counts as routed")?;
    expect(exit == Exit::Code(0))
        .or("the producer ends with exit code 0", exit)
        .because("each of its messages reached a queue")
}
