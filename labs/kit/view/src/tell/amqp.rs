//! The rows of AMQP methods.

use wiretap::{Frame, Method, Side};

use super::Teller;
use super::words::{brief, names, several, subject, tip, word};
use crate::confirms::Published;
use crate::depth::{Channel, Delivery};
use crate::story::{Arrow, Kind, Row, Sort, What};

impl<'a> Teller<'a> {
    pub(super) fn frame(&mut self, index: usize, frame: &'a Frame) -> Option<Row> {
        let service = self.lanes.of(Kind::Service, &frame.service);
        let channel = channel(frame);
        match (frame.from, frame.method) {
            (_, Method::BasicPublish) => Some(self.publish(index, frame, service)),
            (Side::Server, Method::BasicDeliver | Method::BasicGetOk) => {
                Some(self.deliver(index, frame, service))
            }
            (Side::Client, Method::BasicAck | Method::BasicNack | Method::BasicReject) => {
                Some(self.settle(frame, service))
            }
            (Side::Server, Method::BasicAck | Method::BasicNack) => {
                Some(self.confirm(frame, service))
            }
            (Side::Server, Method::BasicReturn) => {
                let exchange = self.lanes.of(Kind::Exchange, word(frame, "exchange"));
                let text = format!("returned: {}", word(frame, "reply_text"));
                Some(arrow(Sort::Refusal, exchange, service, frame, text))
            }
            (Side::Client, Method::ConfirmSelect) => {
                self.confirms.select(channel);
                None
            }
            (Side::Client, Method::BasicQos) => {
                let count = frame.args["prefetch_count"].as_u64().unwrap_or_default();
                self.prefetch.insert(channel, count);
                None
            }
            (Side::Client, method) if is_setup(method) => self.setup(index, frame, service),
            (Side::Server, Method::QueueDeclareOk) => {
                let queue = self.lanes.of(Kind::Queue, word(frame, "queue"));
                let count = frame.args["message_count"].as_u64().unwrap_or_default();
                self.depths.set_ready(queue, count);
                None
            }
            (from, Method::ChannelClose) => {
                self.depths.give_back(|held| *held == channel);
                self.confirms.forget(|other| *other == channel);
                (from == Side::Server).then(|| self.refusal(frame, service))
            }
            (from, Method::ConnectionClose) => {
                self.connection_gone(&frame.service, frame.connection);
                (from == Side::Server).then(|| self.refusal(frame, service))
            }
            (Side::Server, Method::BasicCancel | Method::ConnectionBlocked) => {
                Some(self.refusal(frame, service))
            }
            _ => None,
        }
    }

    pub(super) fn publish(&mut self, index: usize, frame: &'a Frame, by: usize) -> Row {
        let (name, key) = (word(frame, "exchange"), word(frame, "routing_key"));
        let exchange = self.lanes.of(Kind::Exchange, name);
        let queues = match self.routes.is_hidden(name) {
            false => self.routes.took(index),
            // Bound by an administrator: what is delivered tells where it went.
            true => frame
                .message_id()
                .and_then(|id| self.came_from.get(id))
                .cloned()
                .unwrap_or_default(),
        };
        let routed: Vec<_> = queues
            .iter()
            .map(|queue| self.lanes.of(Kind::Queue, queue))
            .collect();
        for &queue in &routed {
            self.depths.add(queue);
        }
        let id = names(frame).into_iter().next();
        self.confirms
            .publish(&channel(frame), Published { id, exchange });
        let text = match key {
            "" => format!("publish {}", subject(frame)),
            _ => format!("publish {}, key {}", subject(frame), brief(key)),
        };
        let seen = !self.routes.is_hidden(name) && !self.watched.contains(name);
        let lost = routed.is_empty() && seen;
        let mut row = arrow(Sort::Publish, by, exchange, frame, text);
        if let What::Arrow(arrow) = &mut row.what {
            (arrow.routed, arrow.lost) = (routed, lost);
        }
        row
    }

    fn deliver(&mut self, index: usize, frame: &Frame, to: usize) -> Row {
        // The queue's name, if the consume was not seen, as far as it can be told.
        let (queue, no_ack) = match self.routes.source(index) {
            Some(source) => source,
            None if word(frame, "exchange").is_empty() => (word(frame, "routing_key"), false),
            None => ("?", false),
        };
        let queue = self.lanes.of(Kind::Queue, queue);
        let delivery = Delivery {
            queue,
            id: names(frame).into_iter().next(),
        };
        let holder = frame.tag().filter(|_| !no_ack);
        self.depths
            .deliver(delivery, holder.map(|tag| (channel(frame), tag)));
        let (sort, verb) = match frame.flag("redelivered") {
            true => (Sort::Redeliver, "redeliver"),
            false => (Sort::Deliver, "deliver"),
        };
        let how = if no_ack { ", no_ack" } else { "" };
        let text = format!("{verb} {}{how}", subject(frame));
        arrow(sort, queue, to, frame, text)
    }

    fn settle(&mut self, frame: &Frame, by: usize) -> Row {
        let settled = self.depths.settle(&channel(frame), |tag| frame.covers(tag));
        let requeue = frame.flag("requeue");
        let (sort, verb) = match (frame.method, requeue) {
            (Method::BasicAck, _) => (Sort::Ack, "ack"),
            (_, true) => (Sort::Reject, "requeue"),
            (_, false) => (Sort::Reject, "reject"),
        };
        let ids: Vec<_> = settled.iter().filter_map(|one| one.id.clone()).collect();
        let text = several(verb, settled.len(), &ids);
        let queue = settled.first().map(|one| one.queue);
        let mut routed = Vec::new();
        for one in &settled {
            let dead = self.lanes.name(one.queue).to_owned();
            match self.routes.dead_letters(&dead).map(str::to_owned) {
                Some(dead) if sort == Sort::Reject && !requeue => {
                    let dead = self.lanes.of(Kind::Queue, &dead);
                    self.depths.add(dead);
                    routed = vec![dead];
                }
                _ if requeue => self.depths.add(one.queue),
                _ => {}
            }
        }
        let to = queue.unwrap_or_else(|| self.lanes.any_broker());
        let mut row = arrow(sort, by, to, frame, text);
        row.ids = ids;
        if let What::Arrow(arrow) = &mut row.what {
            arrow.routed = routed;
        }
        row
    }

    fn confirm(&mut self, frame: &Frame, to: usize) -> Row {
        let settled = self.confirms.take(&channel(frame), |tag| frame.covers(tag));
        let exchange = settled.first().map(|publish| publish.exchange);
        let (sort, verb) = match frame.method {
            Method::BasicAck => (Sort::Confirm, "confirm"),
            _ => (Sort::Refusal, "nack"),
        };
        let ids: Vec<_> = settled
            .iter()
            .filter_map(|publish| publish.id.clone())
            .collect();
        let text = several(verb, settled.len(), &ids);
        let from = exchange.unwrap_or_else(|| self.lanes.any_broker());
        Row {
            ids,
            ..arrow(sort, from, to, frame, text)
        }
    }

    fn setup(&mut self, index: usize, frame: &Frame, by: usize) -> Option<Row> {
        let queue = self.routes.queue(index);
        let key = word(frame, "routing_key");
        let (lane, text) = match (frame.method, queue) {
            (Method::ExchangeDeclare | Method::ExchangeDelete, _) => {
                let lane = self.lanes.of(Kind::Exchange, word(frame, "exchange"));
                let kind = word(frame, "type");
                let verb = if kind.is_empty() { "delete" } else { "declare" };
                (lane, format!("{verb} {kind}").trim_end().to_owned())
            }
            (method, Some(queue)) => {
                let lane = self.lanes.of(Kind::Queue, queue);
                let text = match method {
                    Method::QueueBind if key.is_empty() => {
                        format!("bind to {}", word(frame, "exchange"))
                    }
                    Method::QueueBind => format!("bind to {}, key {key}", word(frame, "exchange")),
                    Method::BasicConsume => match self.prefetch.get(&channel(frame)) {
                        Some(0) | None => "consume".to_owned(),
                        Some(count) => format!("consume, prefetch {count}"),
                    },
                    Method::QueueDeclare => "declare".to_owned(),
                    _ => method.name().replace("queue.", ""),
                };
                if matches!(method, Method::QueuePurge | Method::QueueDelete) {
                    self.depths.empty(lane);
                }
                (lane, text)
            }
            _ => return None,
        };
        Some(arrow(Sort::Setup, by, lane, frame, text))
    }

    fn refusal(&mut self, frame: &Frame, to: usize) -> Row {
        let text = match frame.method {
            Method::BasicCancel => "consumer cancelled".to_owned(),
            Method::ConnectionBlocked => "connection blocked".to_owned(),
            method => {
                let what = if method == Method::ChannelClose {
                    "channel"
                } else {
                    "connection"
                };
                let why = word(frame, "reply_text");
                let why = why.split_once(" - ").map_or(why, |(code, _)| code);
                format!("{what} closed: {why}")
            }
        };
        arrow(Sort::Refusal, self.lanes.any_broker(), to, frame, text)
    }
}

fn is_setup(method: Method) -> bool {
    matches!(
        method,
        Method::ExchangeDeclare
            | Method::ExchangeDelete
            | Method::QueueDeclare
            | Method::QueueDelete
            | Method::QueuePurge
            | Method::QueueBind
            | Method::QueueUnbind
            | Method::BasicConsume
    )
}

fn arrow(sort: Sort, from: usize, to: usize, frame: &Frame, text: String) -> Row {
    let arrow = Arrow::new(sort, from, to);
    Row {
        tip: tip(frame),
        ids: names(frame),
        key: frame
            .message
            .as_ref()
            .map(|_| word(frame, "routing_key").to_owned()),
        ..Row::new(What::Arrow(arrow), text)
    }
}

fn channel(frame: &Frame) -> Channel {
    (frame.service.clone(), frame.connection, frame.channel)
}
