//! Before the queue: published, confirmed, returned, routed.

use super::*;

#[test]
fn never_published() {
    let found = |script, words| {
        finds(
            script,
            Topic::Publish,
            "no basic.publish carries message_id 01234567: ",
        );
        finds(script, Topic::Publish, words);
    };
    found("", "no service published anything");
    found("shop basic.publish #other", "1 published, with other ids");
    found("shop basic.publish", "1 published, without a message_id");
    let refused = "
        shop basic.publish #other
        shop exchange.declare exchange=viewed type=topic
        shop <channel.close reply_code=406 reply_text=PRECONDITION";
    let cause = "; the broker closed shop's channel at 3.000 s (channel.close: PRECONDITION)";
    found(refused, cause);
}

#[test]
fn published_without_confirm_mode() {
    let script = "shop basic.publish exchange= routing_key=q #id
        shop confirm.select";
    let words = "01234567 was published to `q` at 1.000 s without confirm mode (no confirm.select)";
    finds(script, Topic::Confirm, words);
}

/// A confirm of another message does not confirm this one.
#[test]
fn confirms_are_counted() {
    let publishes = "
        shop basic.publish exchange= routing_key=q #before
        shop confirm.select
        shop basic.publish exchange= routing_key=q #first
        shop basic.publish exchange= routing_key=q #id
        shop basic.publish exchange= routing_key=q #third";
    let never = |acks: &str| {
        let script = format!("{publishes}\n{acks}");
        finds(
            &script,
            Topic::Publish,
            "the broker never confirmed it (no basic.ack)",
        );
    };
    never("");
    never("shop <basic.ack delivery_tag=1 multiple\nshop <basic.ack delivery_tag=3");
    never("shop cut");
    let confirmed = format!("{publishes}\nshop <basic.ack delivery_tag=2 multiple");
    finds(
        &confirmed,
        Topic::Consume,
        "confirmed; no consumer got it from the queue",
    );
}

#[test]
fn refused_by_the_broker() {
    let published = "shop confirm.select
        shop basic.publish exchange=vieved routing_key= #id";
    let script = format!("{published}\nshop <basic.nack delivery_tag=1");
    finds(
        &script,
        Topic::Publish,
        "refused by the broker at 3.000 s (basic.nack)",
    );
    let script = format!("{published}\nshop <channel.close reply_code=404 reply_text=NOT_FOUND");
    let words =
        "never confirmed it: the broker closed shop's channel at 3.000 s (channel.close: NOT";
    finds(&script, Topic::Routing, words);
    let script = format!("{published}\nshop cut");
    let words = "before its connection ended at 3.000 s (lost: closed by the check)";
    finds(&script, Topic::Publish, words);
}

#[test]
fn returned() {
    let returned = |before: &str, publish: &str| {
        format!(
            "{before}\nshop confirm.select\nshop basic.publish mandatory {publish} #id
            shop basic.return #id\nshop <basic.ack delivery_tag=1"
        )
    };
    let script = returned("", "exchange= routing_key=q");
    let words = "returned as unroutable (basic.return) at 3.000 s: no service declared queue `q`";
    finds(&script, Topic::Routing, words);
    let script = returned(
        "shop exchange.declare exchange=viewed type=fanout",
        "exchange=viewed",
    );
    finds(
        &script,
        Topic::Routing,
        "no service bound a queue to exchange `viewed`",
    );
    let script = returned(HISTORY, "exchange= routing_key=viewed");
    finds(
        &script,
        Topic::Publish,
        "the default exchange, which looks for a queue `viewed`",
    );
    finds(
        &script.replace("shop basic.return", "wait 1"),
        Topic::Publish,
        "the default exchange",
    );
    // The services did all that was to do before: it is the publisher that must do something now.
    let script = returned(HISTORY, "exchange=viewed routing_key=");
    finds(&script, Topic::Publish, "shop did not publish it again");
    let script = format!(
        "{script}\nshop basic.publish exchange=viewed routing_key= mandatory #id
        shop <basic.ack delivery_tag=2"
    );
    finds(
        &script,
        Topic::Routing,
        "mandatory was set and nothing was returned",
    );
}

/// The check deletes a queue on purpose: the publisher must notice.
#[test]
fn the_check_deleted_the_queue() {
    let script = format!("shop queue.declare queue=q durable\ncheck deletes\n{DIRECT}");
    let words = "no consumer got it from the queue: the check deleted queue `q` at 2.000 s";
    let found = finds(&script, Topic::Publish, words);
    assert!(found.why.contains("without mandatory"));
    let back = script.replace("shop <basic.ack", "shop basic.return #id\nshop <basic.ack");
    finds(&back, Topic::Publish, "shop did not publish it again");
}

#[test]
fn bound_too_late_or_never() {
    let [exchange, declare, bind, consume] = [1, 2, 3, 4].map(|n| HISTORY.lines().nth(n).unwrap());
    let found = |order: &[&str], words| history_finds(&order.join("\n"), Topic::Routing, words);
    let late = found(
        &[exchange, FANOUT, declare, bind, consume],
        "history never got it: queue `q` was declared only at 5.000 s, by history itself",
    );
    assert!(late.why.contains("the producer must declare and bind"));
    let words =
        "queue `q` was bound to exchange `viewed` only at 6.000 s, by history itself (queue.bind)";
    found(&[exchange, declare, FANOUT, bind, consume], words);
    let never = "no service bound queue `q` to exchange `viewed` (no queue.bind)";
    found(&[exchange, declare, FANOUT, consume], never);
    let other = "shop queue.declare queue=other\nshop queue.bind queue=other exchange=viewed";
    found(
        &[exchange, other, declare, FANOUT, consume],
        "; only `other` got it",
    );
    let elsewhere = "history queue.bind queue=q exchange=sales";
    found(
        &[exchange, declare, elsewhere, FANOUT, consume],
        "it is bound to `sales`",
    );
    let removed = "history queue.unbind queue=q exchange=viewed routing_key=";
    let words =
        "history removed binding `` at 5.000 s (queue.unbind); `q` was bound again only at 9.000";
    found(&[HISTORY, removed, FANOUT, bind], words);
}

#[test]
fn bound_with_another_key() {
    let script = |kind: &str| {
        format!(
            "history exchange.declare exchange=logs type={kind}
            history queue.declare queue=q
            history queue.bind queue=q exchange=logs routing_key=log.*
            history basic.consume queue=q
            shop confirm.select
            shop basic.publish exchange=logs routing_key=log.disk.full #id
            shop <basic.ack delivery_tag=1"
        )
    };
    let topic = "queue `q` is bound with `log.*` only (queue.bind), to a topic exchange";
    history_finds(&script("topic"), Topic::Routing, topic);
    let direct = "to a direct exchange, where `*` and `#` have no meaning";
    history_finds(&script("direct"), Topic::Routing, direct);
}

/// What an administrator's definitions create leaves no trace: nothing follows.
#[test]
fn unknown_queues_explain_nothing() {
    let script = format!("history basic.consume queue=q\n{FANOUT}");
    history_finds(&script, Topic::Routing, "a queue took it");
}
