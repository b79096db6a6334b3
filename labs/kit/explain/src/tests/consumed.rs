//! Beside the queue: its consumer never came, has gone, or consumes from another queue.

use super::*;

#[test]
fn never_consumed() {
    let bound =
        &HISTORY[..HISTORY.find("history basic.consume").unwrap()].replace("history", "shop");
    let script = |then: &str| format!("{bound}\n{FANOUT}\n{then}");
    let found = |then, words| history_finds(&script(then), Topic::Consume, words);
    found(
        "",
        "and confirmed; history never got it: history never connected",
    );
    found(
        "history opened",
        "history never consumed (no basic.consume)",
    );
    let refused = "history opened
        history <connection.close reply_code=403 reply_text=ACCESS_REFUSED";
    let words = "the broker closed history's connection at 8.000 s (connection.close: ACCESS REFUSED), \
                 and no basic.consume followed";
    found(refused, words);
    let script = format!("history <channel.close reply_text=PRECONDITION_FAILED\n{DIRECT}");
    let words = "history's channel at 1.000 s (channel.close: PRECONDITION FAILED), and no";
    finds(&script, Topic::Consume, words);
}

#[test]
fn consumes_no_longer() {
    let found = |then: &str, words| {
        history_finds(
            &format!("{HISTORY}\n{then}\n{FANOUT}"),
            Topic::Consume,
            words,
        );
        finds(
            &format!("{HISTORY}\n{then}\n{DIRECT}"),
            Topic::Consume,
            words,
        );
    };
    let cut = "history's connection ended at 5.000 s (lost: closed by the check), and no \
               basic.consume followed: it did not connect again";
    found("history cut", cut);
    found(
        "history cut\nhistory/2 opened",
        "followed: it connected 1 time(s) after that",
    );
    found(
        "history cut\nhistory ended",
        "followed: history ended at 6.000 s (exit code 1)",
    );
    let closed = "history basic.consume-ok\nhistory <channel.close reply_text=PRECONDITION_FAILED";
    found(
        closed,
        "the broker closed history's channel at 6.000 s (channel.close: PRECONDITION FAILED)",
    );
    found(
        "history channel.close",
        "history closed its channel at 5.000 s (channel.close)",
    );
    found(
        "history basic.cancel",
        "history cancelled its consumer at 5.000 s",
    );
    // Another instance has taken over: this is no cause.
    let other = HISTORY.replace("history", "grace");
    let script = format!("{HISTORY}\n{other}\nhistory cut\n{FANOUT}");
    history_finds(&script, Topic::Routing, "a queue took it");
}

#[test]
fn consumes_from_another_queue() {
    let again = |name: &str| {
        HISTORY
            .replace("=q", &format!("={name}"))
            .replace("history", "history/2")
    };
    let script = format!("{HISTORY}\n{FANOUT}\nhistory cut\n{}", again("r"));
    let words = "history never got it: it waits in `q`, without a consumer since history's connection \
                 ended at 8.000 s (lost: closed by the check); history consumes from `r` since 12.000 s";
    history_finds(&script, Topic::Consume, words);
    // The broker names the queue: the answer has the name.
    let named = again("").replace(
        "history/2 basic.consume",
        "history/2 queue.declare-ok queue=amq.gen-1
        history/2 basic.consume",
    );
    let script = format!("{HISTORY}\n{FANOUT}\nhistory cut\n{named}");
    history_finds(&script, Topic::Consume, "history consumes from `amq.gen-1`");
    let script = format!("history basic.consume queue=views\n{DIRECT}");
    let words =
        "no service consumes from `q`; history consumes from `views` since 1.000 s (basic.consume)";
    finds(&script, Topic::Consume, words);
}

#[test]
fn shared_with_another_service() {
    let other = "grace basic.consume queue=q consumer_tag=g";
    let got = "grace basic.deliver consumer_tag=g delivery_tag=1";
    let script = format!("{HISTORY}\n{other}\n{FANOUT}\n{got} #id");
    let words =
        "history never got it: grace got it from the same queue `q` at 9.000 s (basic.deliver)";
    history_finds(&script, Topic::Consume, words);
    let script = format!(
        "{HISTORY}\n{}\n{FANOUT}\n{got} #id",
        other.replace("=q", "=r")
    );
    history_finds(&script, Topic::Routing, "a queue took it");
}

#[test]
fn behind_unacked_messages() {
    let deliver = "history basic.deliver exchange=viewed routing_key= delivery_tag=1 #first";
    let script = format!("{HISTORY}\n{deliver}\n{FANOUT}");
    let words = "and confirmed; it waits in its queue behind unacked messages: 1 at history";
    finds(&script, Topic::Settle, words);
    let acked = format!("{script}\nhistory basic.ack delivery_tag=1");
    finds(&acked, Topic::Routing, "no consumer got it");
}

/// The check's own messages are explained, too.
#[test]
fn published_by_the_check() {
    let script = "history basic.consume queue=q
        history cut
        check basic.publish exchange= routing_key=q #id";
    let words = "published to `q` at 3.000 s by the check and confirmed; no consumer got it";
    finds(script, Topic::Consume, words);
}
