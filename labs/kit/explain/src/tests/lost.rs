//! In the queue: lost with the broker, by a flag, by an argument.

use super::*;

#[test]
fn lost_with_the_broker() {
    let transient = DIRECT.replace("#id", "#id ~");
    finds(
        &transient,
        Topic::Consume,
        "no consumer got it from the queue",
    );
    let died = format!("{transient}\nbroker dies");
    finds(
        &died,
        Topic::Publish,
        "transient (delivery_mode 1), then the broker died",
    );
    let declared = |queue: &str| format!("{queue}\n{DIRECT}\nbroker dies");
    let passive = "history queue.declare queue=q durable\nhistory queue.declare queue=q passive";
    finds(
        &declared(passive),
        Topic::Consume,
        "no consumer got it from the queue",
    );
    let words = "the queue was not durable, and the broker died";
    finds(
        &declared("history queue.declare queue=q"),
        Topic::Durability,
        words,
    );
}

#[test]
fn lost_with_the_queue() {
    let lost = |flag: &str, end: &str, words: &str| {
        let history = HISTORY.replace(
            "queue.declare queue=q durable",
            &format!("queue.declare queue=q {flag}"),
        );
        let script = format!("{history}\n{FANOUT}\n{end}");
        history_finds(&script, Topic::Durability, words);
    };
    let gone = "history never got it: queue `q` was auto_delete: the broker deleted it with its last \
                consumer, as history's connection ended at 8.000 s (lost: closed by the check)";
    lost("durable auto_delete", "history cut", gone);
    let cancelled = "as history cancelled its consumer at 8.000 s (basic.cancel)";
    lost("auto_delete", "history basic.cancel", cancelled);
    let exclusive = "queue `q` was exclusive: the broker deleted it with its connection, as history \
                     closed its connection at 8.000 s (connection.close)";
    lost("exclusive", "history connection.close", exclusive);
    lost(
        "durable",
        "history queue.delete queue=q",
        "history deleted queue `q` at 8.000 s",
    );
    lost(
        "durable",
        "history queue.purge queue=q",
        "history purged queue `q` at 8.000 s",
    );
    lost(
        "durable",
        "check deletes",
        "the check deleted queue `q` at 8.000 s",
    );
    lost(
        "durable",
        "history <basic.cancel",
        "queue `q` was deleted, and the broker cancelled",
    );
    let expires = "queue `q` had x-expires 2000 (milliseconds)";
    lost("durable x-expires=2000", "history cut\nwait 2", expires);
}

/// A queue that was gone before the publish did not take the message.
#[test]
fn gone_before_the_publish() {
    let history = HISTORY.replace("queue=q durable", "queue=q durable auto_delete");
    let script = format!(
        "{history}\nhistory cut\n{FANOUT}\n{}",
        history.replace("history", "history/2")
    );
    let words =
        "at 5.000 s (lost: closed by the check); it was declared again at 10.000 s, by history";
    history_finds(&script, Topic::Routing, words);
}

#[test]
fn dropped_by_an_argument() {
    let lost = |argument: &str, topic, words| {
        let history = HISTORY.replace("queue=q durable", &format!("queue=q durable {argument}"));
        history_finds(&format!("{history}\n{FANOUT}\nwait 3"), topic, words);
    };
    let ttl = "queue `q` has x-message-ttl 500 (milliseconds), and it expired";
    lost("x-message-ttl=500", Topic::Durability, ttl);
    lost("x-message-ttl=50000", Topic::Routing, "a queue took it");
    lost(
        "x-message-ttl=500 x-dead-letter-exchange=dead",
        Topic::Routing,
        "a queue took it",
    );
    lost(
        "x-max-length=0",
        Topic::Durability,
        "queue `q` has x-max-length 0, and 0 followed it",
    );
    lost(
        "x-max-length=0 x-overflow=reject-publish",
        Topic::Routing,
        "a queue took it",
    );
    lost("x-max-length=1", Topic::Routing, "a queue took it");
    let expiration = FANOUT.replace("#id", "#id expiration=5");
    let script = format!("{HISTORY}\n{expiration}\nwait 3");
    history_finds(
        &script,
        Topic::Publish,
        "its expiration was 5 (milliseconds), and it expired",
    );
}
