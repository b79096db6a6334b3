//! What a producer must be able to do, and which faults it must survive.

use std::collections::BTreeSet;
use std::time::Duration;

use check::wiretap::{Frame, Method, Side};
use check::{Exit, Lab, Outcome, Seen, Service, expect, fail};
use futures_lite::future::try_zip;
use lapin::ExchangeKind;
use lapin::message::BasicGetMessage;
use rand::RngExt;

use super::causes;
use super::logs::{
    CHECK, LOGS, SENT, bind_check, consumer, ends_well, listed, opens_few, producer, published,
    send,
};

/// The queue that refuses messages for a while.
const FULL: &str = "full";

/// How many nacks a message gets before the queue takes it: a producer does not give up.
const NACKS: usize = 3;

/// The least pause before the next try: a fifteenth of our own.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a producer of the checks waits for a confirm.
const CONFIRM_TIMEOUT_MS: u32 = 1500;

pub async fn sent(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?;
    each_under_its_key(&lab).await?;
    a_key_for_each_severity(&lab).await
}

async fn each_under_its_key(lab: &Lab) -> Outcome {
    let keys = ["log.warning", "pr.1.2he", "log.warning"];
    let text = lab.random(|chance| format!("disk {} is full", chance.random_range(0..1000)));
    let sent = send(lab, "producer", &[&keys[..], &["--text", &text]].concat()).await?;
    causes::none(lab, 3)?;
    let ids: BTreeSet<_> = sent.iter().map(|message| &message.id).collect();
    expect(ids.len() == 3)
        .or("3 messages with 3 ids", format!("{} ids", ids.len()))
        .because("a consumer recognizes a redelivered message by its id")?;
    let there = lab.take(CHECK).await?;
    let mut each = there.iter().zip(keys);
    let wrong = each.find_map(|(message, key)| Some((key, wrong_about(message, key, &text)?)));
    let observed = match wrong {
        Some((key, wrong)) => format!("the message under `{key}`: {wrong}"),
        None => format!("{} of them", there.len()),
    };
    expect(wrong.is_none() && there.len() == 3)
        .or(
            "3 persistent messages, each under its key, are in a queue bound with `#`",
            observed,
        )
        .proven()
        .because("exit code 0 of a producer says that the broker keeps each message")
}

/// What is wrong with a message under `key` that says `text`.
fn wrong_about(message: &BasicGetMessage, key: &str, text: &str) -> Option<&'static str> {
    let about = &message.properties;
    let wrong = [
        (
            message.routing_key.as_str() != key,
            "it has another routing key",
        ),
        (message.data != text.as_bytes(), "it says something else"),
        (
            *about.delivery_mode() != Some(2),
            "it is transient (delivery_mode)",
        ),
        (
            about.expiration().is_some(),
            "the broker drops it after some time (expiration)",
        ),
    ];
    wrong
        .into_iter()
        .find(|(wrong, _)| *wrong)
        .map(|(_, what)| what)
}

async fn a_key_for_each_severity(lab: &Lab) -> Outcome {
    send(lab, "lines", &["--count", "5", "--rate", "50"]).await?;
    opens_few(lab, "lines", "5 messages")?;
    at_its_rate(lab)?;
    let there = lab.take(CHECK).await?;
    let keys: Vec<_> = there.iter().map(|m| m.routing_key.as_str()).collect();
    let keys = keys.join(" ");
    expect(keys == "log.debug log.info log.warning log.critical log.debug")
        .or("log lines: debug, info, warning, critical, debug", &keys)
        .because("with a key for each severity, a consumer can ask for one of them")
}

/// Whether five lines at 50 a second took less than a second. (The first may wait for a connection.)
fn at_its_rate(lab: &Lab) -> Outcome {
    let published =
        |frame: &Frame| frame.service == "lines" && frame.method == Method::BasicPublish;
    let times = lab.journal().times(published);
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Ok(());
    };
    let span = lab.between(*first, *last);
    let observed = format!("they took {} ms", span.elapsed().as_millis());
    let failure = fail("5 log lines at 50 a second take 80 ms", observed)
        .because("`--rate` says how many log lines a second the producer sends");
    span.at_most(Duration::from_secs(1), failure)
}

pub async fn unroutable(lab: Lab) -> Outcome {
    bind_check(&lab, "log.#").await?;
    let nobody = lab.random(|chance| format!("nobody.n{}", chance.random_range(1000..9999)));
    let keys = ["log.first", &nobody, "log.last"];
    let producer = producer(&lab, "producer", &keys).await?;
    let exit = ends_without_retries(&lab, &producer, &nobody).await?;
    is_mandatory(&lab, &nobody)?;
    expect(exit != Exit::Code(0))
        .or(
            "the producer ends with another exit code than 0",
            format!("{exit}, after basic.return of the message under `{nobody}`"),
        )
        .because("no queue has the message: it is lost unless the producer reports it")?;
    expect(producer.output().contains(&nobody))
        .or(
            format!("the producer names the key `{nobody}`"),
            format!("it said last: {}", producer.last_words(1).join("")),
        )
        .because("the key shows which binding is missing, or which producer misspelt it")?;
    let there = lab.take(CHECK).await?.len();
    expect(there == 2)
        .or(
            "the two routable messages are in their queue",
            format!("{there} of 2"),
        )
        .because("one unroutable message must not stop the others")?;
    reports_each(&lab, &nobody).await
}

/// Whether a producer counts and logs each of three returned messages, two of them under one key.
async fn reports_each(lab: &Lab, nobody: &str) -> Outcome {
    let keys = ["nobody.else", nobody, nobody, "log.more"];
    let several = producer(lab, "several", &keys).await?;
    ends_without_retries(lab, &several, "nobody.else").await?;
    let output = several.output();
    let why = "two letters to one postcode are two letters that nobody gets";
    expect(has_number(&output, "3"))
        .or(
            "an error with the number of returned messages: 3, and two of them have one key",
            format!("it said last: {}", several.last_words(1).join("")),
        )
        .because(why)?;
    let times = output.matches(nobody).count();
    expect(times >= 2 || counts_key(&output, nobody))
        .or(
            format!("both returned messages under `{nobody}` are logged with their key"),
            format!("key `{nobody}` is logged {times} time(s)"),
        )
        .because(why)
}

/// Whether one line of the log tells of two messages under `key`.
fn counts_key(output: &str, key: &str) -> bool {
    let mut lines = output.lines();
    lines.any(|line| line.contains(key) && has_number(line, "2"))
}

/// Whether `number` is a word of `text`.
fn has_number(text: &str, number: &str) -> bool {
    let mut words = text.split(|sign: char| !sign.is_alphanumeric());
    words.any(|word| word == number)
}

/// Whether the message under `key` was published as mandatory, so that the broker returned it.
fn is_mandatory(lab: &Lab, key: &str) -> Outcome {
    let publishes = lab.journal().methods("producer", Method::BasicPublish);
    let silent = |frame: &Frame| frame.args["routing_key"] == key && !frame.flag("mandatory");
    expect(!publishes.iter().any(silent) && returns(lab) > 0)
        .or(
            "each message is mandatory: the broker returns it if no queue takes it",
            "basic.publish without `mandatory`, and no basic.return",
        )
        .hole(3)
        .because("without `mandatory` the broker drops an unroutable message and confirms it")
}

/// Starts the producer, and waits until it has ended after at most two tries under `key`.
pub async fn ends_without_retries(lab: &Lab, producer: &Service, key: &str) -> Outcome<Exit> {
    let expected = "the producer reports the returned message, and ends";
    let why = "no queue is bound for this key, and a retry does not change that";
    producer.begin().await?;
    let exit = lab
        .eventually(expected, why, async || {
            let tries = published_under(lab, &producer.name(), key);
            let count = tries.len();
            // `deliver` tries again, on a new connection, when `publish` returns an error.
            let first = tries.first().map(|frame| frame.connection);
            let anew = tries.iter().any(|frame| Some(frame.connection) != first);
            expect(count <= 2)
                .or(
                    expected,
                    format!("it has sent `{key}` {count} times, though returned"),
                )
                .hole(if anew { 3 } else { 5 })
                .because(why)?;
            Ok(Seen::some(producer.exit(), || "it still runs".to_owned()))
        })
        .await?;
    lab.all_well()?;
    Ok(exit)
}

fn published_under(lab: &Lab, service: &str, key: &str) -> Vec<Frame> {
    let mut publishes = lab.journal().methods(service, Method::BasicPublish);
    publishes.retain(|frame| frame.args["routing_key"] == key);
    publishes
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

pub async fn not_confirmed(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?;
    try_zip(until_taken(&lab), until_confirmed(&lab)).await?;
    Ok(())
}

/// A queue refuses the message of the producer `nacked`, and takes it after three nacks.
async fn until_taken(lab: &Lab) -> Outcome {
    lab.bind_queue(FULL, LOGS, ExchangeKind::Topic, "log.nacked")
        .await?;
    lab.refuse(FULL).await?;
    let producer = producer(lab, "nacked", &["log.nacked"]).await?;
    producer.begin().await?;
    let nacks = || lab.journal().methods("nacked", Method::BasicNack).len();
    sends_again(lab, &producer, "the broker nacks it (basic.nack)", || {
        nacks() >= NACKS
    })
    .await?;
    lab.accept(FULL).await?;
    producer.finishes_well(SENT).await?;
    pauses(lab)?;
    has_one_id(lab, "nacked")
}

/// The confirm of the producer `late` is held until it has sent its message again.
async fn until_confirmed(lab: &Lab) -> Outcome {
    let producer = producer(lab, "late", &["log.late"]).await?;
    let producer = producer.with("CONFIRM_TIMEOUT_MS", CONFIRM_TIMEOUT_MS);
    let held = producer.tap().hold(Side::Server, Method::BasicAck);
    producer.begin().await?;
    let sent = || published(lab, "late").len();
    sends_again(
        lab,
        &producer,
        "no confirm comes in time (basic.ack)",
        || sent() >= 2,
    )
    .await?;
    held.release();
    producer.finishes_well(SENT).await?;
    has_one_id(lab, "late")
}

/// Waits until the producer has sent its message often `enough`, because of `what`.
async fn sends_again(
    lab: &Lab,
    producer: &Service,
    what: &str,
    enough: impl Fn() -> bool,
) -> Outcome {
    let expected = format!("the producer sends a message again if {what}");
    let why = "only a confirm says that the broker has the message";
    lab.eventually(&expected, why, async || {
        let sent = published(lab, &producer.name()).len();
        let exit = producer.exit();
        expect(enough() || exit.is_none())
            .or(&expected, ended(producer, sent, exit))
            .because(why)?;
        Ok(Seen::when(enough(), || {
            format!("it was sent {sent} time(s)")
        }))
    })
    .await
}

fn ended(producer: &Service, sent: usize, exit: Option<Exit>) -> String {
    let exit = exit.map_or_else(String::new, |exit| exit.to_string());
    let words = producer.last_words(1).join("");
    format!("sent {sent} time(s), then {exit}; it said last: {words}")
}

/// Whether the producer waited after the second nack before it connected or published again. (Its first
/// retry may follow at once.)
fn pauses(lab: &Lab) -> Outcome {
    let (journal, name) = (lab.journal(), "nacked");
    let times = |method| journal.times(|frame| frame.service == name && frame.method == method);
    let Some(&nack) = times(Method::BasicNack).get(1) else {
        return Ok(());
    };
    let tries = times(Method::BasicPublish)
        .into_iter()
        .chain(journal.calls(name));
    let Some(next) = tries.filter(|next| *next > nack).reduce(f64::min) else {
        return Ok(());
    };
    let span = lab.between(nack, next);
    let observed = format!(
        "the next try {} ms after basic.nack",
        span.elapsed().as_millis()
    );
    let why = "without a pause, one failure keeps the broker, the network and the log busy";
    let failure = fail("a pause before a nacked message is sent again", observed).because(why);
    span.at_least(PAUSE, failure)
}

fn has_one_id(lab: &Lab, service: &str) -> Outcome {
    let sent = published(lab, service).into_iter();
    let ids: BTreeSet<_> = sent.map(|message| message.id).collect();
    let count = ids.len();
    expect(count == 1)
        .or(
            "a message keeps its message_id when it is sent again",
            format!("{count} ids"),
        )
        .because("under a new id, a message that arrives twice counts twice")
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
    refers_to(&lab, &other)?;
    catches_two(&lab, &other).await?;
    is_durable(&lab, &other)?;
    keeps_the_keys(&lab, &other).await?;
    counts_as_routed(&lab, exit)?;
    let sent = published(&lab, "producer");
    ops.gets_only(&lab, &sent, |key| key == "log.warning").await
}

/// Whether everybody declares [`LOGS`] with `other` as its alternate exchange.
fn refers_to(lab: &Lab, other: &str) -> Outcome {
    let declares = lab.journal().frames(|frame| declares_exchange(frame, LOGS));
    let without = |frame: &&Frame| frame.args["arguments"]["alternate-exchange"] != other;
    let wrong = declares
        .iter()
        .find(without)
        .map(|frame| &frame.args["arguments"]);
    let observed = wrong.map(|arguments| format!("exchange.declare with arguments {arguments}"));
    expect(wrong.is_none())
        .or(
            format!("`{LOGS}` is declared with the argument alternate-exchange, `{other}`"),
            observed.unwrap_or_default(),
        )
        .because("the broker accepts an argument that it does not know, and says nothing")
}

/// Whether this declares the exchange: a passive declaration only asks whether it is there.
fn declares_exchange(frame: &Frame, exchange: &str) -> bool {
    frame.method == Method::ExchangeDeclare
        && frame.args["exchange"] == exchange
        && !frame.flag("passive")
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
    let declares = lab.journal().frames(|frame| causes::declares_queue(&frame));
    let mut declares = declares.iter().filter(|frame| frame.args["queue"] == other);
    let (observed, why) = declares.find_map(causes::losing).unwrap_or_default();
    expect(observed.is_empty())
        .or(
            format!("queue `{other}` keeps messages until somebody takes them"),
            observed,
        )
        .because(why)?;
    let transient = lab
        .journal()
        .frames(|frame| declares_exchange(frame, other) && !frame.flag("durable"));
    expect(transient.is_empty())
        .or(
            format!("exchange `{other}` is durable"),
            "exchange.declare with durable not set",
        )
        .because("messages kept for a person to look at must survive a broker restart")
}

async fn keeps_the_keys(lab: &Lab, other: &str) -> Outcome {
    let there = lab.take(other).await?;
    let keys: Vec<_> = there.iter().map(|m| m.routing_key.to_string()).collect();
    expect(keys == ["nobody.asks", ""])
        .or(
            "the messages have their keys: `nobody.asks` and ``",
            listed(&keys),
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
