//! The questions beside the fate of one message.

use proof::Scratch;
use wiretap::Journal;

use super::*;
use crate::{connections::crowd, one_at_a_time, tries::told};

fn paced(script: &str) -> Option<Finding> {
    let scratch = Scratch::new("pace");
    let kept = Journal::create(scratch.path(), "03", "pace", 1).unwrap();
    journal(script)
        .into_iter()
        .for_each(|entry| kept.record(entry.event));
    one_at_a_time(&kept, "history")
}

#[test]
fn one_message_at_a_time() {
    let each = |of: &str| {
        (1..4)
            .map(|n| of.replace('N', &n.to_string()))
            .collect::<String>()
    };
    let acked = each("history basic.deliver delivery_tag=N\nhistory basic.ack delivery_tag=N\n");
    let consume = "history basic.consume queue=q\n";
    let slow = format!("history basic.qos prefetch_count=1\n{consume}{acked}");
    let words =
        "history got 3 messages and never held more than 1 unacked: it asked for a prefetch of 1";
    holds(paced(&slow).unwrap(), Topic::Consume, words);
    assert_eq!(paced(&slow.replace("count=1", "count=20")), None);
    let got = each("history basic.get queue=q\nhistory basic.get-ok delivery_tag=N #N\n");
    let words = "history asked for each of 3 messages (basic.get)";
    holds(paced(&got).unwrap(), Topic::Consume, words);
    let sent = each("history basic.publish #N\nhistory <basic.ack delivery_tag=N\n");
    let words =
        "published 3 messages and never had more than 1 unconfirmed: it awaits each basic.ack";
    holds(
        paced(&format!("history confirm.select\n{sent}")).unwrap(),
        Topic::Confirm,
        words,
    );
    let window = each("history basic.publish #N\n") + "history <basic.ack delivery_tag=3 multiple";
    assert_eq!(paced(&format!("history confirm.select\n{window}")), None);
}

#[test]
fn tries_are_counted() {
    assert_eq!(
        told(&journal(""), "history"),
        "history did not try to connect"
    );
    let once = journal("history opened\nwait 5");
    let words = "history tried to connect once, at 1.000 s; not again in the last 6.0 s";
    assert_eq!(told(&once, "history"), words);
    let script = "history opened\nhistory <connection.close reply_text=ACCESS_REFUSED
        history/2 turned-away\nwait 3\nhistory/3 turned-away\nwait 9";
    assert_eq!(
        told(&journal(script), "history"),
        "history tried to connect 3 times, with pauses of 2.00, 5.00 s (2 turned away); the broker \
         closed 1 of them (connection.close: ACCESS REFUSED); not again in the last 10.0 s"
    );
}

#[test]
fn connections_are_counted() {
    let script = "history opened\nhistory/2 opened\nhistory/2 closed\nhistory/3 opened\nhistory basic.publish";
    let found = crowd(&journal(script), "history", 1).unwrap();
    let words = "history had 2 connections open at once, opened from 1.000 s to 2.000 s; it opened 3 \
                 for 1 publishes";
    holds(found, Topic::Publish, words);
    assert_eq!(crowd(&journal(script), "history", 2), None);
    assert_eq!(crowd(&journal(script), "shop", 1), None);
}
