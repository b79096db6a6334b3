//! The rows of AMQP methods.

use wiretap::{Frame, Method, Side};

use super::Teller;
use super::words::{brief, names, several, subject, tip, word};
use crate::confirms::Published;
use crate::depth::{Channel, Delivery};
use crate::story::{Arrow, Kind, Row, Sort, What};

/// What moves with a frame.
pub(crate) struct Moved {
    pub(crate) arrow: Arrow,
    /// The messages that it settles, by id where they have one.
    settled: Vec<Option<String>>,
    no_ack: bool,
}

impl Moved {
    fn new(arrow: Arrow) -> Self {
        Self {
            arrow,
            settled: Vec::new(),
            no_ack: false,
        }
    }
}

impl<'a> Teller<'a> {
    pub(super) fn frame(&mut self, index: usize, frame: &'a Frame) -> Option<Row> {
        if let Some(moved) = self.moves(index, frame) {
            return Some(told(frame, moved));
        }
        let service = self.known.lanes.of(Kind::Service, &frame.service);
        let channel = channel(frame);
        match (frame.from, frame.method) {
            (Side::Server, Method::BasicReturn) => {
                let name = word(frame, "exchange");
                let exchange = self.known.lanes.of(Kind::Exchange, name);
                if name.is_empty() {
                    // Its key names a queue that does not exist, and was thought to take it.
                    let queue = word(frame, "routing_key");
                    let queue = self.known.lanes.of(Kind::Queue, queue);
                    self.known.depths.take_back(queue);
                }
                let text = format!("returned: {}", word(frame, "reply_text"));
                Some(row(
                    Arrow::new(Sort::Refusal, exchange, service),
                    frame,
                    text,
                ))
            }
            (Side::Client, Method::ConfirmSelect) => {
                self.known.confirms.select(channel);
                None
            }
            (Side::Client, Method::BasicQos) => {
                let count = frame.args["prefetch_count"].as_u64().unwrap_or_default();
                self.known.prefetch.insert(channel, count);
                None
            }
            (Side::Client, method) if is_setup(method) => self.setup(index, frame, service),
            (Side::Server, Method::QueueDeclareOk) => {
                let queue = self.known.lanes.of(Kind::Queue, word(frame, "queue"));
                let count = frame.args["message_count"].as_u64().unwrap_or_default();
                self.known.depths.set_ready(queue, count);
                None
            }
            (from, Method::ChannelClose) => {
                self.known.depths.give_back(|held| *held == channel);
                self.known.confirms.forget(|other| *other == channel);
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

    /// Counts what a frame moves, if it moves messages.
    pub(crate) fn moves(&mut self, index: usize, frame: &'a Frame) -> Option<Moved> {
        let service = |teller: &mut Self| teller.known.lanes.of(Kind::Service, &frame.service);
        Some(match (frame.from, frame.method) {
            (_, Method::BasicPublish) => {
                let by = service(self);
                self.publish(index, frame, by)
            }
            (Side::Server, Method::BasicDeliver | Method::BasicGetOk) => {
                let to = service(self);
                self.deliver(index, frame, to)
            }
            (Side::Client, Method::BasicAck | Method::BasicNack | Method::BasicReject) => {
                let by = service(self);
                self.settle(frame, by)
            }
            (Side::Server, Method::BasicAck | Method::BasicNack) => {
                let to = service(self);
                self.confirm(frame, to)
            }
            _ => return None,
        })
    }

    pub(super) fn publish(&mut self, index: usize, frame: &'a Frame, by: usize) -> Moved {
        let name = word(frame, "exchange");
        let exchange = self.known.lanes.of(Kind::Exchange, name);
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
            .map(|queue| self.known.lanes.of(Kind::Queue, queue))
            .collect();
        for &queue in &routed {
            self.known.depths.add(queue);
        }
        let id = names(frame).into_iter().next();
        self.known
            .confirms
            .publish(&channel(frame), Published { id, exchange });
        let message = frame.message.as_ref();
        if message.is_some_and(|message| message.reply_to.is_some()) {
            self.known.parties.ask.insert(by);
        }
        let seen = !self.routes.is_hidden(name) && !self.known.watched.contains(name);
        let lost = routed.is_empty() && seen;
        Moved::new(Arrow {
            routed,
            lost,
            ..Arrow::new(Sort::Publish, by, exchange)
        })
    }

    fn deliver(&mut self, index: usize, frame: &Frame, to: usize) -> Moved {
        // The queue's name, if the consume was not seen, as far as it can be told.
        let (queue, no_ack) = match self.routes.source(index) {
            Some(source) => source,
            None if word(frame, "exchange").is_empty() => (word(frame, "routing_key"), false),
            None => ("?", false),
        };
        let queue = self.known.lanes.of(Kind::Queue, queue);
        let delivery = Delivery {
            queue,
            id: names(frame).into_iter().next(),
        };
        let holder = frame.tag().filter(|_| !no_ack);
        self.known
            .depths
            .deliver(delivery, holder.map(|tag| (channel(frame), tag)));
        let sort = match frame.flag("redelivered") {
            true => Sort::Redeliver,
            false => Sort::Deliver,
        };
        Moved {
            no_ack,
            ..Moved::new(Arrow::new(sort, queue, to))
        }
    }

    fn settle(&mut self, frame: &Frame, by: usize) -> Moved {
        let depths = &mut self.known.depths;
        let settled = depths.settle(&channel(frame), |tag| frame.covers(tag));
        let requeue = frame.flag("requeue");
        let sort = match frame.method {
            Method::BasicAck => Sort::Ack,
            _ => Sort::Reject,
        };
        let mut routed = Vec::new();
        for one in &settled {
            let dead = self.known.lanes.name(one.queue).to_owned();
            match self.routes.dead_letters(&dead).map(str::to_owned) {
                Some(dead) if sort == Sort::Reject && !requeue => {
                    let dead = self.known.lanes.of(Kind::Queue, &dead);
                    self.known.depths.add(dead);
                    routed = vec![dead];
                }
                _ if requeue => self.known.depths.add(one.queue),
                _ => {}
            }
        }
        let queue = settled.first().map(|one| one.queue);
        let to = queue.unwrap_or_else(|| self.known.lanes.any_broker());
        let arrow = Arrow {
            routed,
            ..Arrow::new(sort, by, to)
        };
        Moved {
            settled: settled.into_iter().map(|one| one.id).collect(),
            ..Moved::new(arrow)
        }
    }

    fn confirm(&mut self, frame: &Frame, to: usize) -> Moved {
        let confirms = &mut self.known.confirms;
        let settled = confirms.take(&channel(frame), |tag| frame.covers(tag));
        let exchange = settled.first().map(|publish| publish.exchange);
        let sort = match frame.method {
            Method::BasicAck => Sort::Confirm,
            _ => Sort::Refusal,
        };
        let from = exchange.unwrap_or_else(|| self.known.lanes.any_broker());
        Moved {
            settled: settled.into_iter().map(|publish| publish.id).collect(),
            ..Moved::new(Arrow::new(sort, from, to))
        }
    }

    fn setup(&mut self, index: usize, frame: &Frame, by: usize) -> Option<Row> {
        let queue = self.routes.queue(index);
        let key = word(frame, "routing_key");
        let (lane, text) = match (frame.method, queue) {
            (Method::ExchangeDeclare | Method::ExchangeDelete, _) => {
                let lane = self.known.lanes.of(Kind::Exchange, word(frame, "exchange"));
                let kind = word(frame, "type");
                let verb = if kind.is_empty() { "delete" } else { "declare" };
                (lane, format!("{verb} {kind}").trim_end().to_owned())
            }
            (method, Some(queue)) => {
                let lane = self.known.lanes.of(Kind::Queue, queue);
                let text = match method {
                    Method::QueueBind if key.is_empty() => {
                        format!("bind to {}", word(frame, "exchange"))
                    }
                    Method::QueueBind => format!("bind to {}, key {key}", word(frame, "exchange")),
                    Method::BasicConsume => match self.known.prefetch.get(&channel(frame)) {
                        Some(0) | None => "consume".to_owned(),
                        Some(count) => format!("consume, prefetch {count}"),
                    },
                    Method::QueueDeclare => "declare".to_owned(),
                    _ => method.name().replace("queue.", ""),
                };
                if method == Method::BasicConsume {
                    self.known.parties.consume.insert(by);
                }
                if matches!(method, Method::QueuePurge | Method::QueueDelete) {
                    self.known.depths.empty(lane);
                }
                (lane, text)
            }
            _ => return None,
        };
        Some(row(Arrow::new(Sort::Setup, by, lane), frame, text))
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
        let from = self.known.lanes.any_broker();
        row(Arrow::new(Sort::Refusal, from, to), frame, text)
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

/// The row of a frame that moves messages.
pub(super) fn told(frame: &Frame, moved: Moved) -> Row {
    let text = match moved.arrow.sort {
        Sort::Publish => match word(frame, "routing_key") {
            "" => format!("publish {}", subject(frame)),
            key => format!("publish {}, key {}", subject(frame), brief(key)),
        },
        Sort::Deliver | Sort::Redeliver => {
            let again = if moved.arrow.sort == Sort::Redeliver {
                "re"
            } else {
                ""
            };
            let how = if moved.no_ack { ", no_ack" } else { "" };
            format!("{again}deliver {}{how}", subject(frame))
        }
        sort => {
            let verb = match (sort, frame.from) {
                (Sort::Confirm, _) => "confirm",
                (_, Side::Server) => "nack",
                (Sort::Ack, _) => "ack",
                _ if frame.flag("requeue") => "requeue",
                _ => "reject",
            };
            let count = moved.settled.len();
            let ids: Vec<_> = moved.settled.into_iter().flatten().collect();
            return Row {
                ids: ids.clone(),
                ..row(moved.arrow, frame, several(verb, count, &ids))
            };
        }
    };
    row(moved.arrow, frame, text)
}

fn row(arrow: Arrow, frame: &Frame, text: String) -> Row {
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
