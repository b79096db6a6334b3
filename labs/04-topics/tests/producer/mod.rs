//! What a producer must be able to do and to take.

use std::collections::BTreeSet;

use check::Exit;
use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, Seen, expect};
use rand::RngExt;

use super::logs::{LOGS, consumer, ends_well, gets_only, mailbox, producer, published, send};

pub async fn sent(lab: Lab) -> Outcome {
    mailbox(&lab, "check", "#").await?;
    let keys = ["log.warning", "pr.1.2he", "log.warning"];
    let text = lab.random(|chance| format!("disk {} is full", chance.random_range(0..1000)));
    let sent = send(&lab, "producer", &[&keys[..], &["--text", &text]].concat()).await?;
    let ids: BTreeSet<_> = sent.iter().map(|message| &message.id).collect();
    expect(ids.len() == 3)
        .or("3 messages with 3 ids", format!("{} ids", ids.len()))
        .because("by its id a consumer knows what it has had before")?;
    let there = lab.take("check").await?;
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
        .because("a producer that has ended with exit code 0 has the broker's word for each")?;

    send(&lab, "lines", &["--count", "5", "--rate", "100"]).await?;
    let there = lab.take("check").await?;
    let keys = there.iter().map(|message| message.routing_key.as_str());
    let keys = keys.collect::<Vec<_>>().join(" ");
    expect(keys == "log.debug log.info log.warning log.critical log.debug")
        .or(
            "log lines: debug, info, warning, critical, debug",
            keys.clone(),
        )
        .because("each severity has a key of its own, so that each can be asked for")
}

pub async fn unroutable(lab: Lab) -> Outcome {
    mailbox(&lab, "check", "log.#").await?;
    let nobody = lab.random(|chance| format!("nobody.n{}", chance.random_range(1000..9999)));
    let keys = ["log.first", &nobody, "log.last"];
    let producer = producer(&lab, "producer", &keys).await?;
    producer.begin().await?;
    let expected = "the producer reports what came back, and ends";
    let why = "no queue wants it, and none will want it more the next time";
    let exit = lab.eventually(expected, why, async || {
        let tries = published(&lab, "producer");
        let tries = tries.iter().filter(|sent| sent.key == nobody).count();
        expect(tries <= 2)
            .or(expected, format!("it has sent `{nobody}` {tries} times"))
            .because(why)?;
        Ok(match producer.exit() {
            Some(exit) => Seen::Yes(exit),
            None => Seen::NotYet("it still runs".to_owned()),
        })
    });
    let exit = exit.await?;
    lab.all_well()?;
    let there = lab.take("check").await?.len();
    let returns = lab.journal().methods("producer", Method::BasicReturn).len();
    expect(returns > 0)
        .or(
            "the broker sends the message back (basic.return)",
            format!("{returns} came back"),
        )
        .because("without `mandatory` the broker drops what no queue wants, and confirms it")?;
    expect(exit != Exit::Code(0) && producer.output().contains(&nobody))
        .or(
            format!("it names the key `{nobody}`, and ends with another exit code than 0"),
            format!("{exit}; it said last: {}", producer.last_words(1).join("")),
        )
        .because("a message that reached nobody is lost, unless somebody hears of it")?;
    expect(there == 2)
        .or(
            "the two messages that a queue wants are there",
            format!("{there} of 2"),
        )
        .because("one that is lost must not take the others with it")
}

pub async fn producer_cut(lab: Lab) -> Outcome {
    mailbox(&lab, "check", "#").await?;
    let producer = producer(&lab, "producer", &["log.a", "log.b"]).await?;
    // One message gets lost on its way there, and later a confirm on its way back.
    producer
        .tap()
        .cut_before(Side::Client, Method::BasicPublish);
    producer.tap().cut_before(Side::Server, Method::BasicAck);
    ends_well(&producer).await?;
    let sent: BTreeSet<_> = published(&lab, "producer")
        .into_iter()
        .map(|message| (message.key, message.id))
        .collect();
    let arrived: BTreeSet<_> = lab
        .take("check")
        .await?
        .iter()
        .filter_map(|message| {
            let id = message.properties.message_id().as_ref()?;
            Some((message.routing_key.to_string(), id.to_string()))
        })
        .collect();
    expect(sent.len() == 2 && arrived == sent)
        .or(
            "2 messages, each under one id however often it is sent, and both arrive",
            format!("{} ids sent, {} arrived", sent.len(), arrived.len()),
        )
        .because("not sent again, a message is lost; sent again under a new id, it counts twice")
}

pub async fn long_key(lab: Lab) -> Outcome {
    mailbox(&lab, "check", "#").await?;
    // 128 signs each: what AMQP counts is bytes.
    let most = format!("{}x", "é".repeat(127));
    let over = "é".repeat(128);
    let refused = producer(&lab, "over", &["log.first", &over]).await?;
    let exit = refused.run().await?;
    let output = refused.output();
    let said = refused.last_words(3).join("\n");
    let sent = published(&lab, "over").len();
    expect(exit != Exit::Code(0) && sent == 0)
        .or(
            "with a key of 256 bytes among the others, nothing is sent, and it is an error",
            format!("{exit}, {sent} sent"),
        )
        .because("what cannot be done as a whole is best not begun")?;
    expect(output.contains("256") && output.contains("255") && !output.contains("panicked"))
        .or(
            "an error that names the length, 256 bytes, and the limit, 255",
            format!("it said last:\n{said}"),
        )
        .because("a panic tells the programmer where, an error tells the user what")?;
    let longest = send(&lab, "most", &[&most]).await?;
    let there = lab.take("check").await?;
    expect(there.len() == 1 && there[0].routing_key.as_str() == most)
        .or(
            "a key of 255 bytes is sent as it is",
            format!("{} sent, {} arrived", longest.len(), there.len()),
        )
        .because("255 bytes are what AMQP has room for, and they need not be 255 letters")
}

pub async fn alternate(lab: Lab) -> Outcome {
    let other = lab.random(|chance| format!("unrouted-{}", chance.random_range(10..99)));
    let ops = consumer(&lab, "ops", "ops", &["log.#"]).await?;
    let ops = ops.with_setting("ALTERNATE_EXCHANGE", &other);
    ops.listen(&lab).await?;
    let producer = producer(&lab, "producer", &["log.warning", "nobody.asks", ""]).await?;
    let producer = producer.with("ALTERNATE_EXCHANGE", &other);
    let exit = producer.run().await?;
    let caught = lab.queue(&other).await?;
    expect(caught.as_ref().is_some_and(|queue| queue.ready == 2))
        .or(
            format!("a queue `{other}`, with 2 messages that no queue of `{LOGS}` takes"),
            match &caught {
                Some(queue) => format!("{} in it", queue.ready),
                None => "no such queue".to_owned(),
            },
        )
        .because(
            "an alternate exchange is an exchange: it keeps nothing, a queue behind it does",
        )?;
    let fleeting = lab.journal().frames(|frame: &Frame| {
        let name = frame.args["queue"]
            .as_str()
            .or(frame.args["exchange"].as_str());
        let declares = [Method::ExchangeDeclare, Method::QueueDeclare].contains(&frame.method);
        declares && name == Some(&other) && !frame.flag("durable")
    });
    expect(fleeting.is_empty())
        .or(
            format!("exchange and queue `{other}` are durable"),
            format!(
                "{} without `durable`",
                fleeting.first().map_or("", |frame| frame.method.name())
            ),
        )
        .because("what is kept for somebody to look at has to outlive the broker")?;
    let there = lab.take(&other).await?;
    let keys: Vec<_> = there.iter().map(|m| m.routing_key.as_str()).collect();
    expect(keys == ["nobody.asks", ""])
        .or(
            "they have their keys: `nobody.asks` and ``",
            format!("{keys:?}"),
        )
        .because("by its key one sees which binding is missing, or who misspelt it")?;
    let returns = lab.journal().methods("producer", Method::BasicReturn).len();
    expect(returns == 0)
        .or("nothing comes back", format!("{returns} came back"))
        .because("what the alternate exchange takes counts as routed")?;
    expect(exit == Exit::Code(0))
        .or("the producer ends with exit code 0", exit.to_string())
        .because("a queue has each of its messages")?;
    let sent = published(&lab, "producer");
    gets_only(&lab, &ops, &sent, |key| key == "log.warning").await
}
