//! Which consumer gets which message.

use std::time::Duration;

use check::wiretap::{Frame, Method};
use check::{Lab, Outcome, Seen, Service, Stop, expect, fail};
use rand::RngExt;

use super::logs::{
    LOGS, Listener, Sent, all_listening, bind_check, binding_keys, consumer, identified, ids_of,
    listed, listening, opens_few, producer, published, send, send_keys,
};
use super::producer::ends_without_retries;
use super::{causes, oracle};

/// The end of the log line with which a consumer says that it is bound and consumes.
const READY: &str = ": ready";

/// Why an old pattern must be removed.
const LASTS: &str = "a binding lasts until a client removes it, even if no client names it again";

/// The customers' postcodes, and the key of each.
const POSTCODES: [(&str, &str); 6] = [
    ("PR1 2HE", "pr.1.2he"),
    ("PR1 8BU", "pr.1.8bu"),
    ("PR2 8DY", "pr.2.8dy"),
    ("PR25 1DH", "pr.25.1dh"),
    ("M13 9PL", "m.13.9pl"),
    ("M1 7JA", "m.1.7ja"),
];

/// Long enough that a service which doesn't wait for an answer of the broker is too early.
const SLOW: Duration = Duration::from_millis(15);

pub async fn binding(lab: Lab) -> Outcome {
    let ops = listening(&lab, "ops", &["log.critical"]).await?;
    let why = "an exchange puts a message into a queue only if one of its bindings matches the key";
    ops.is_bound(&lab, why).await?;
    // The check publishes, so that this needs no producer.
    let lines = [("log.debug", "all is well"), ("log.critical", "disk full")];
    lab.publish_to(LOGS, lines.map(|(key, text)| (key, text, identified(text))))
        .await?;
    ops.records(&lab, &["log.critical disk full"], why).await?;
    lab.settled("ops").await
}

pub async fn wildcards(lab: Lab) -> Outcome {
    let archive = listening(&lab, "archive", &["log.#"]).await?;
    causes::none(&lab, 2)?;
    // Another team's client declares the same exchange: the broker compares all properties.
    bind_check(&lab, "#").await?;
    let lines = [
        ("pr.1.2he", "20 % off"),
        ("log.debug", "all is well"),
        ("log.disk.full", "sda"),
    ];
    lab.publish_to(LOGS, lines.map(|(key, text)| (key, text, identified(text))))
        .await?;
    let why = "the pattern `log.#` matches each key whose first word is `log`";
    let lines = ["log.debug all is well", "log.disk.full sda"];
    archive.records(&lab, &lines, why).await
}

pub async fn patterns(lab: Lab) -> Outcome {
    oracle::is_sane()?;
    let queues: Vec<_> = (1..=5)
        .map(|number| (format!("queue-{number}"), random_patterns(&lab)))
        .collect();
    let words = queues.iter().map(|(queue, patterns)| {
        let words = patterns.iter().map(String::as_str);
        (queue.clone(), words.collect())
    });
    let consumers = all_listening(&lab, words).await?;
    // A queue for every key: an unroutable message would be an error.
    bind_check(&lab, "#").await?;
    let keys: Vec<String> =
        lab.random(|chance| (0..40).map(|_| oracle::random_key(chance)).collect());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let sent = send_keys(&lab, "producer", &keys).await?;
    for (consumer, (_, patterns)) in consumers.iter().zip(&queues) {
        let wanted = |key: &str| patterns.iter().any(|pattern| oracle::matches(pattern, key));
        consumer.gets_only(&lab, &sent, wanted).await?;
    }
    Ok(())
}

fn random_patterns(lab: &Lab) -> Vec<String> {
    lab.random(|chance| {
        let count = chance.random_range(2..=3);
        (0..count).map(|_| oracle::random_pattern(chance)).collect()
    })
}

pub async fn nasty_keys(lab: Lab) -> Outcome {
    oracle::is_sane()?;
    bind_check(&lab, "#").await?;
    let queues = oracle::NASTY
        .iter()
        .enumerate()
        .map(|(number, (pattern, _))| (format!("nasty-{number}"), vec![*pattern]));
    let consumers = all_listening(&lab, queues).await?;
    let sent = send_keys(&lab, "producer", &oracle::NASTY_KEYS).await?;
    for (consumer, (_, keys)) in consumers.iter().zip(oracle::NASTY) {
        consumer
            .gets_only(&lab, &sent, |key| keys.contains(&key))
            .await?;
    }
    Ok(())
}

pub async fn once(lab: Lab) -> Outcome {
    let patterns = ["log.*", "#.critical", "log.critical", "#"];
    let ops = listening(&lab, "ops", &patterns).await?;
    let sent = send(&lab, "producer", &["log.critical", "log.debug"]).await?;
    ops.gets_only(&lab, &sent, |_| true).await?;
    for message in sent {
        delivered_once(&lab, &message)?;
    }
    empty_ids(&lab, &ops).await
}

fn delivered_once(lab: &Lab, message: &Sent) -> Outcome {
    let times = lab.journal().deliveries("ops", &message.id);
    let matching = if message.key == "log.critical" { 4 } else { 2 };
    expect(times == 1)
        .or(
            format!("one delivery of a message that {matching} bindings of the queue match"),
            format!("{times} deliveries"),
        )
        .because("an exchange gives a queue one copy, however many of its bindings match")
}

/// Some clients send an empty id where they have none.
async fn empty_ids(lab: &Lab, ops: &Listener) -> Outcome {
    let nameless = ["log.one", "log.two"].map(|key| (key, "hello", identified("")));
    lab.publish_to(LOGS, nameless).await?;
    let expected = "two messages with an empty message_id are recorded, as two without an id";
    let why = "an empty id identifies nothing: the second message would look like the first";
    lab.eventually(expected, why, async || {
        let seen = ops.rows("messages")?.len();
        Ok(Seen::when(seen == 4, || format!("{} of 2", seen - 2)))
    })
    .await
}

pub async fn share_and_copy(lab: Lab) -> Outcome {
    let archive = listening(&lab, "archive", &["#"]).await?;
    let mut ops = Vec::new();
    for (name, of) in [("ops-1", 1), ("ops-2", 2)] {
        let consumer = consumer(&lab, name, "ops", &["log.*"]).await?;
        consumer.launch().await?;
        lab.consumers("ops", of).await?;
        ops.push(consumer);
    }
    let keys = ["log.debug", "log.critical"].repeat(8);
    let sent = send(&lab, "producer", &keys).await?;
    archive.gets_only(&lab, &sent, |_| true).await?;
    lab.drained("ops").await?;
    let rows = ops[0].rows("messages")?.len();
    expect(rows == 16)
        .or(
            "16 messages for the two of `ops`",
            format!("{rows} messages"),
        )
        .because("each queue keeps a copy of its own, whatever the other queues get")?;
    for consumer in &ops {
        has_a_part(&lab, consumer)?;
        has_a_prefetch(&lab, consumer)?;
    }
    Ok(())
}

fn has_a_prefetch(lab: &Lab, consumer: &Listener) -> Outcome {
    let prefetch = lab.journal().prefetch(&consumer.name());
    let observed = "no prefetch count on the channel of its basic.consume (basic.qos)";
    expect(prefetch.is_some())
        .or(
            "a consumer limits what it is delivered ahead of its acks",
            observed,
        )
        .because("without a prefetch one consumer gets all that waits, and the others nothing")
}

/// Whether this consumer, one of two, was delivered some of the 16 messages.
fn has_a_part(lab: &Lab, consumer: &Listener) -> Outcome {
    let name = consumer.name();
    let part = lab.journal().methods(&name, Method::BasicDeliver).len();
    expect((3..=13).contains(&part))
        .or(
            "each of the two consumers of queue `ops` gets a part of the 16 messages",
            format!("{name} got {part}"),
        )
        .because("consumers of one queue share it: each message goes to one of them")
}

pub async fn mail_shot(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?; // under other keys, no letter would reach a queue
    let preston = listening(&lab, "preston", &["pr.#"]).await?;
    let district = listening(&lab, "district", &["pr.1.*"]).await?;
    let star = listening(&lab, "star", &["pr*", "pr.*"]).await?;
    let rest = listening(&lab, "rest", &["m.#"]).await?;
    let sent = send(&lab, "producer", &["--mail-shot", "--text", "20 % off"]).await?;
    have_their_keys(&sent)?;
    let starts = |prefix: &'static str| move |key: &str| key.starts_with(prefix);
    preston.gets_only(&lab, &sent, starts("pr.")).await?;
    district.gets_only(&lab, &sent, starts("pr.1.")).await?;
    rest.gets_only(&lab, &sent, starts("m.")).await?;
    star.gets_only(&lab, &sent, |_| false).await?;
    let count = preston.rows("messages")?.len();
    expect(count > 1)
        .or("several letters to Preston", format!("{count} of them"))
        .because("a mail shot without letters would pass the checks above")
}

/// Whether area, district and rest of each postcode are the words of its letter's key.
fn have_their_keys(sent: &[Sent]) -> Outcome {
    let has = |key: &str| sent.iter().any(|message| message.key == key);
    let missing = POSTCODES.iter().find(|(_, key)| !has(key));
    let Some((postcode, key)) = missing else {
        return Ok(());
    };
    let right = |key: &str| POSTCODES.iter().any(|(_, right)| *right == key);
    let keys = sent.iter().map(|message| message.key.clone());
    let other: Vec<String> = keys.filter(|key| !right(key)).collect();
    let expected = format!(
        "the letter to {postcode} has the key `{key}`: area, district and rest are a word each"
    );
    let observed = format!("no letter has it; other keys: {}", listed(&other));
    let why = "a pattern matches whole words: put a dot wherever somebody will select";
    Err(fail(expected, observed).because(why).into())
}

pub async fn ready(lab: Lab) -> Outcome {
    let patterns = ["a.x", "b.x", "c.x", "d.x", "e.x", "f.x", "g.x", "h.x"];
    let ops = consumer(&lab, "ops", "ops", &patterns).await?;
    ops.tap().delay(SLOW);
    ops.launch().await?;
    ops.says(READY).await?;
    let bindings = lab.bindings("ops").await?.len();
    expect(bindings == 8)
        .or(
            "all 8 bindings exist when the consumer says `ready`",
            format!("{bindings} of 8"),
        )
        .because("this queue never gets a message that was published before its binding")?;
    opens_few(&lab, "ops", "8 bindings")?;
    let first = [("h.x", "hello", identified("first"))];
    lab.publish_to(LOGS, first).await?;
    let why = "a program that reads `ready` may publish at once";
    ops.records(&lab, &["h.x hello"], why).await
}

pub async fn memory(lab: Lab) -> Outcome {
    let early = producer(&lab, "early", &["log.early"]).await?;
    ends_without_retries(&lab, &early, "log.early").await?;
    let ops = listening(&lab, "ops", &["log.#"]).await?;
    let mut sent = send_keys(&lab, "now", &["log.now"]).await?;
    ops.gets_only(&lab, &sent, |_| true).await?;
    ops.stops_well().await?;
    let keys = ["log.one", "log.two", "log.three"];
    sent.extend(send_keys(&lab, "meanwhile", &keys).await?);
    ops.launch().await?;
    sent.extend(published(&lab, "early"));
    ops.gets_only(&lab, &sent, |key| key != "log.early").await
}

pub async fn removed(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?;
    let before = ["log.critical", "log.warning", "a.x", "b.x", "c.x"];
    listening(&lab, "ops", &before).await?.stop().await?;
    let waiting = send(&lab, "before", &["log.warning", "log.critical"]).await?;
    let old = ["log.warning", "a.x", "b.x", "c.x"];
    let unbind = old.iter().flat_map(|old| ["--unbind", old]);
    let after: Vec<&str> = ["log.critical"].into_iter().chain(unbind).collect();
    let after = consumer(&lab, "ops-after", "ops", &after).await?;
    after.tap().delay(SLOW);
    after.listen(&lab).await?;
    after.says(READY).await?;
    let bound = binding_keys(&lab, "ops").await?;
    let later = send(&lab, "later", &["log.warning", "log.critical"]).await?;
    let wanted = later.iter().filter(|message| message.key == "log.critical");
    let ids = ids_of(waiting.iter().chain(wanted));
    let expected = "2 messages that waited, and 1 later message under the pattern that stays";
    after.gets(&lab, expected, &ids).await?;
    stays_only(&lab, "log.critical", &bound).await?;
    let rows = after.ids()?.len();
    expect(rows == 3)
        .or(
            "no message under a removed pattern",
            format!("{rows} messages instead of 3"),
        )
        .because(LASTS)
}

/// Whether `pattern` was the only one that queue `ops` was `bound` with at `ready`.
async fn stays_only(lab: &Lab, pattern: &str, bound: &[String]) -> Outcome {
    let now = binding_keys(lab, "ops").await?;
    let unbinds = lab.journal().methods("ops-after", Method::QueueUnbind);
    let in_vain = now.iter().filter(|key| *key != pattern).find(|key| {
        let of = |frame: &Frame| frame.args["routing_key"] == ***key;
        unbinds
            .iter()
            .any(|frame| of(frame) && frame.args["exchange"] == LOGS)
    });
    let expected =
        format!("queue `ops` is bound with `{pattern}` only, when its consumer is ready");
    let observed = format!("it is bound with {}", listed(bound));
    let failure = match in_vain {
        Some(key) => fail(
            expected,
            format!("{observed}, though queue.unbind of `{key}` was sent"),
        )
        .because("queue.unbind removes a binding only with the arguments it was made with")
        .hole(1),
        None => fail(expected, observed).because(LASTS),
    };
    failure.unless(bound == [pattern] && now == [pattern])
}

pub async fn replaced(lab: Lab) -> Outcome {
    bind_check(&lab, "#").await?;
    listening(&lab, "ops", &["log.*"]).await?.stop().await?;
    let lines = producer(&lab, "lines", &["--rate", "400"]).await?;
    lines.launch().await?;
    let why = "the pattern must be replaced while messages arrive";
    lab.eventually("the producer publishes log lines", why, async || {
        let count = published(&lab, "lines").len();
        Ok(Seen::when(count > 5, || format!("{count} so far")))
    })
    .await?;
    let after = ["log.#", "--unbind", "log.*"];
    let after = consumer(&lab, "ops-after", "ops", &after).await?;
    after.tap().delay(SLOW);
    after.listen(&lab).await?;
    grow_no_bigger(&lab, &after, &lines).await?;
    lines.stops_well().await?;
    let sent = published(&lab, "lines");
    after.gets_only(&lab, &sent, |_| true).await?;
    causes::none(&lab, 6)?;
    let left = binding_keys(&lab, "ops").await?;
    expect(left == ["log.#"])
        .or("a binding with `log.#`, and no other", listed(&left))
        .because("the old binding is removed when the new one exists")
}

/// Whether consumer and producer need no more for many messages than for a few.
async fn grow_no_bigger(lab: &Lab, consumer: &Listener, producer: &Service) -> Outcome {
    let both = [consumer.service(), producer];
    let grown = lab.frugal(&both, 50, "messages", async |count| {
        let all = consumer.rows("messages")?.len() + count;
        let why = "the services work while they are measured";
        lab.eventually(
            &format!("{count} more messages are recorded"),
            why,
            async || {
                let seen = consumer.rows("messages")?.len();
                Ok(Seen::when(seen >= all, || format!("{} to go", all - seen)))
            },
        )
        .await
    });
    grown.await.map_err(|stop| match stop {
        // The lines of HOLE 6 run once; those of HOLE 3 run for each message.
        Stop::Failed(failure) if failure.hole.is_none() => failure.hole(3).into(),
        stop => stop,
    })
}
