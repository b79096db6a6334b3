//! Who gets what.

use std::collections::BTreeSet;
use std::time::Duration;

use check::Exit;
use check::wiretap::Method;
use check::{Lab, Outcome, Seen, expect};
use lapin::BasicProperties;
use rand::RngExt;

use super::logs::{
    LOGS, consumer, drained, gets_only, listening, mailbox, producer, published, send, send_keys,
};
use super::oracle;

pub async fn patterns(lab: Lab) -> Outcome {
    oracle::is_sane()?;
    let mut consumers = Vec::new();
    for number in 1..=5 {
        let patterns: Vec<String> = lab.random(|chance| {
            let count = chance.random_range(2..=3);
            (0..count).map(|_| oracle::random_pattern(chance)).collect()
        });
        let queue = format!("queue-{number}");
        let words: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let consumer = consumer(&lab, &queue, &queue, &words).await?;
        consumer.launch().await?;
        consumers.push((queue, patterns, consumer));
    }
    for (queue, ..) in &consumers {
        lab.consumers(queue, 1).await?;
    }
    // Wanted by nobody, a message would be an error.
    mailbox(&lab, "check", "#").await?;
    let keys: Vec<String> =
        lab.random(|chance| (0..40).map(|_| oracle::random_key(chance)).collect());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let sent = send_keys(&lab, "producer", &keys).await?;
    for (_, patterns, consumer) in &consumers {
        let wanted = |key: &str| patterns.iter().any(|pattern| oracle::matches(pattern, key));
        gets_only(&lab, consumer, &sent, wanted).await?;
    }
    Ok(())
}

pub async fn nasty_keys(lab: Lab) -> Outcome {
    oracle::is_sane()?;
    mailbox(&lab, "check", "#").await?;
    let mut consumers = Vec::new();
    for (number, (pattern, keys)) in oracle::NASTY.into_iter().enumerate() {
        let queue = format!("nasty-{number}");
        let consumer = consumer(&lab, &queue, &queue, &[pattern]).await?;
        consumer.launch().await?;
        consumers.push((queue, keys, consumer));
    }
    for (queue, ..) in &consumers {
        lab.consumers(queue, 1).await?;
    }
    let sent = send_keys(&lab, "producer", &oracle::NASTY_KEYS).await?;
    for (_, keys, consumer) in &consumers {
        gets_only(&lab, consumer, &sent, |key| keys.contains(&key)).await?;
    }
    Ok(())
}

pub async fn once(lab: Lab) -> Outcome {
    let patterns = ["log.*", "#.critical", "log.critical", "#"];
    let ops = listening(&lab, "ops", &patterns).await?;
    let sent = send(&lab, "producer", &["log.critical", "log.debug"]).await?;
    gets_only(&lab, &ops, &sent, |_| true).await?;
    for message in sent {
        let times = lab.journal().deliveries("ops", &message.id);
        let matching = if message.key == "log.critical" { 4 } else { 2 };
        expect(times == 1)
            .or(
                format!("one delivery of a message that {matching} bindings of the queue match"),
                format!("{times} deliveries"),
            )
            .because("the exchange asks whether a queue wants it, not how often")?;
    }
    // Some clients send an empty id where they have none.
    let nameless = ["log.one", "log.two"].map(|key| {
        let about = BasicProperties::default().with_message_id("".into());
        (key, "hello", about)
    });
    lab.publish_to(LOGS, nameless).await?;
    let expected = "two messages with an empty message_id are recorded, as two without an id";
    let why = "an empty id names nothing: the second message would pass for the first one";
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
    gets_only(&lab, &archive, &sent, |_| true).await?;
    drained(&lab, "ops").await?;
    let rows = ops[0].rows("messages")?.len();
    expect(rows == 16)
        .or("16 messages for the two of `ops`", format!("{rows}"))
        .because("a queue keeps a copy of its own, whoever else has one")?;
    for consumer in &ops {
        let part = lab
            .journal()
            .methods(&consumer.name(), Method::BasicDeliver);
        let part = part.len();
        expect((3..=13).contains(&part))
            .or(
                "each of two consumers of queue `ops` gets a part of 16 messages",
                format!("{} got {part}", consumer.name()),
            )
            .because("consumers of one name share a queue: each message is for one of them")?;
    }
    Ok(())
}

pub async fn mail_shot(lab: Lab) -> Outcome {
    let preston = listening(&lab, "preston", &["pr.#"]).await?;
    let district = listening(&lab, "district", &["pr.1.*"]).await?;
    let star = listening(&lab, "star", &["pr*", "pr.*"]).await?;
    let rest = listening(&lab, "rest", &["m.#"]).await?;
    let sent = send(&lab, "producer", &["--mail-shot", "--text", "20 % off"]).await?;
    gets_only(&lab, &preston, &sent, |key| key.starts_with("pr.")).await?;
    gets_only(&lab, &district, &sent, |key| key.starts_with("pr.1.")).await?;
    gets_only(&lab, &rest, &sent, |key| key.starts_with("m.")).await?;
    gets_only(&lab, &star, &sent, |_| false).await?;
    let count = preston.rows("messages")?.len();
    expect(count > 1)
        .or("several letters to Preston", format!("{count}"))
        .because("a mail shot to nobody is easily right")
}

pub async fn ready(lab: Lab) -> Outcome {
    let patterns = ["a.#", "b.#", "c.#", "d.#", "e.#", "f.#", "g.#", "h.#"];
    let ops = consumer(&lab, "ops", "ops", &patterns).await?;
    // The way to the broker and back takes long enough to see who does not wait for it.
    ops.tap().delay(Duration::from_millis(15));
    ops.launch().await?;
    ops.says("ready").await?;
    let bindings = lab.bindings("ops").await?.len();
    expect(bindings == 8)
        .or(
            "all 8 bindings are there once the consumer says `ready`",
            format!("{bindings} of 8"),
        )
        .because("what is published before a binding is there is lost for this queue")?;
    let about = BasicProperties::default().with_message_id("first".into());
    lab.publish_to(LOGS, [("h.first", "hello", about)]).await?;
    let look = async || ops.ids();
    let expected = "what is published then arrives";
    lab.each_once_at("ops", expected, Some("ops"), &["first".to_owned()], look)
        .await?;
    Ok(())
}

pub async fn memory(lab: Lab) -> Outcome {
    let early = producer(&lab, "early", &["log.early"]).await?;
    early.run().await?;
    let ops = listening(&lab, "ops", &["log.#"]).await?;
    let mut sent = send(&lab, "now", &["log.now"]).await?;
    gets_only(&lab, &ops, &sent, |_| true).await?;
    let exit = ops.stop().await?;
    expect(exit == Exit::Code(0))
        .or("SIGTERM: exit code 0", exit.to_string())
        .because("whoever stopped it takes anything else for a crash")?;
    let keys = ["log.one", "log.two", "log.three"];
    sent.extend(send(&lab, "meanwhile", &keys).await?);
    ops.launch().await?;
    // Of all that was ever sent, the early one included.
    sent.extend(published(&lab, "early"));
    gets_only(&lab, &ops, &sent, |key| key != "log.early").await
}

pub async fn removed(lab: Lab) -> Outcome {
    mailbox(&lab, "check", "#").await?;
    let before = listening(&lab, "ops", &["log.critical", "log.warning"]).await?;
    before.stop().await?;
    let mut sent = send(&lab, "before", &["log.warning", "log.critical"]).await?;
    let after = ["log.critical", "--unbind", "log.warning"];
    let after = consumer(&lab, "ops-after", "ops", &after).await?;
    after.listen(&lab).await?;
    let waited: BTreeSet<String> = sent.iter().map(|message| message.id.clone()).collect();
    let later = send(&lab, "later", &["log.warning", "log.critical"]).await?;
    let wanted = later.iter().filter(|message| message.key == "log.critical");
    let mut ids: Vec<String> = wanted.map(|message| message.id.clone()).collect();
    ids.extend(waited);
    sent.extend(later);
    let look = async || after.ids();
    let expected = "2 messages that waited, and 1 that came later under the pattern that stays";
    lab.each_once_at("ops-after", expected, Some("ops"), &ids, look)
        .await?;
    drained(&lab, "ops").await?;
    let rows = after.rows("messages")?;
    let left = lab.bindings("ops").await?;
    let left: Vec<_> = left.iter().map(|binding| &*binding.routing_key).collect();
    expect(rows.len() == 3 && left == ["log.critical"])
        .or(
            "no message under the pattern that was removed",
            format!("{} messages instead of 3; bound with {left:?}", rows.len()),
        )
        .because("a binding lasts until somebody removes it: to forget it is not enough")
}

pub async fn replaced(lab: Lab) -> Outcome {
    mailbox(&lab, "check", "#").await?;
    listening(&lab, "ops", &["log.*"]).await?.stop().await?;
    let lines = producer(&lab, "lines", &["--rate", "400"]).await?;
    lines.launch().await?;
    let why = "patterns are exchanged while messages come";
    lab.eventually("log lines are coming", why, async || {
        let count = published(&lab, "lines").len();
        Ok(Seen::when(count > 5, || format!("{count} by now")))
    })
    .await?;
    let after = ["log.#", "--unbind", "log.*"];
    let after = consumer(&lab, "ops-after", "ops", &after).await?;
    after.tap().delay(Duration::from_millis(15));
    after.listen(&lab).await?;
    let exit = lines.stop().await?;
    expect(exit == Exit::Code(0))
        .or(
            "SIGTERM: the producer ends with exit code 0",
            exit.to_string(),
        )
        .because("whoever stopped it takes anything else for a crash")?;
    let sent = published(&lab, "lines");
    gets_only(&lab, &after, &sent, |_| true).await?;
    let left = lab.bindings("ops").await?;
    let left: Vec<_> = left.iter().map(|binding| &*binding.routing_key).collect();
    expect(left == ["log.#"])
        .or("a binding with `log.#`, and no other", format!("{left:?}"))
        .because("the old one goes when the new one is there")
}
