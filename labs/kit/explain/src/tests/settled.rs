//! Behind the queue: what the consumer did with its delivery.

use super::*;

const DELIVERED: &str = "
    history basic.consume queue=q
    history basic.deliver delivery_tag=1 #id";

#[track_caller]
fn delivered(then: &str, topic: Topic, words: &str) {
    finds(&format!("{DELIVERED}\n{then}"), topic, words);
}

#[test]
fn with_no_ack() {
    let script = DELIVERED.replace("queue=q", "queue=q no_ack");
    finds(
        &script,
        Topic::NoAck,
        "history got 01234567 at 2.000 s with no_ack (basic.consume #1)",
    );
    let script = format!("history basic.consume queue=r{script}");
    finds(&script, Topic::NoAck, "basic.consume #2");
    let got = "history basic.get queue=q no_ack\nhistory basic.get-ok delivery_tag=1 #id";
    finds(got, Topic::NoAck, "with no_ack (basic.get #1)");
}

#[test]
fn settled_without_effect() {
    let acked = "acked it at 3.000 s (basic.ack), yet its effect is missing";
    delivered("history basic.ack delivery_tag=1", Topic::Settle, acked);
    let words = "discarded it (basic.reject, requeue false)";
    delivered("history basic.reject delivery_tag=1", Topic::Settle, words);
    let words = "requeued it (basic.nack, requeue true)";
    delivered(
        "history basic.nack delivery_tag=1 requeue",
        Topic::Settle,
        words,
    );
}

#[test]
fn kept_unacked() {
    let kept = |then| delivered(then, Topic::Settle, "neither recorded nor acked it");
    kept("history basic.ack delivery_tag=2");
    // Redelivered: the last delivery counts.
    kept("history basic.nack delivery_tag=1 requeue\nhistory basic.deliver delivery_tag=3 #id");
    // On a reopened channel delivery tags start at 1 again: this ack is for another delivery.
    kept("history channel.open\nhistory basic.ack delivery_tag=1");
}

#[test]
fn the_service_stands_still() {
    let others = "history basic.deliver delivery_tag=2 #second\nwait 9";
    let words = "nor acked it; it has settled nothing at all (no basic.ack), and holds 2 unacked";
    delivered(others, Topic::Settle, words);
    let before = format!("history basic.ack delivery_tag=2\n{others}");
    delivered(
        &before,
        Topic::Settle,
        "it has settled nothing since 3.000 s (basic.ack)",
    );
}

#[test]
fn left_unacked() {
    let words = "did not ack it; history's connection ended at 3.000 s (lost: closed by the check), no \
                 basic.consume followed: it did not connect again, and no consumer got the message again";
    delivered("history cut", Topic::Consume, words);
    let again = "history cut\nhistory/2 basic.consume queue=q";
    delivered(again, Topic::Consume, "no consumer got the message again");
    let script =
        format!("{HISTORY}\n{FANOUT}\nhistory basic.deliver delivery_tag=1 #id\nhistory cut")
            .replace("queue=q durable", "queue=q auto_delete");
    finds(&script, Topic::Durability, "queue `q` was auto_delete");
}

#[test]
fn left_unacked_behind_unacked_messages() {
    let script = format!(
        "{DIRECT}\n{DELIVERED}\nhistory cut
        grace basic.consume queue=q\ngrace basic.deliver delivery_tag=1 #first"
    );
    let words = "left it unacked; it waits in its queue behind unacked messages: 1 at grace";
    finds(&script, Topic::Settle, words);
}
