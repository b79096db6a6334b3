//! Builds the topology from the journal, entry by entry.

use std::collections::HashMap;

use wiretap::{CheckEvent, Entry, Event, Method, Side};

use super::endings::Now;
use super::{At, Fact, Topology, deed, word};
use crate::frames::after;

pub(super) struct Replay<'a, 'f> {
    frames: &'f [At<'a>],
    pub(super) facts: Vec<Fact<'a>>,
    /// The queue that was declared last on a channel: an empty name stands for it.
    declared: HashMap<(&'a str, u32, u16), &'a str>,
    /// Whether some queue has `x-expires`.
    expires: bool,
}

impl<'a> Topology<'a> {
    pub(crate) fn new(entries: &'a [Entry], frames: &[At<'a>]) -> Self {
        let mut replay = Replay {
            frames,
            facts: Vec::new(),
            declared: HashMap::new(),
            expires: false,
        };
        for (index, &Entry { t, ref event }) in entries.iter().enumerate() {
            let now = Now { index, t };
            if replay.expires {
                replay.expire(now);
            }
            match event {
                Event::Amqp(frame)
                | Event::Check {
                    what: CheckEvent::QueueDeclared(frame),
                } => replay.frame(now, At { index, t, frame }),
                Event::Connection {
                    service,
                    connection,
                    what,
                } if what.is_end() => {
                    let how = format!("{service}'s connection ended at {t:.3} s ({what})");
                    replay.connection_ends(now, service, *connection, &how);
                }
                Event::Check {
                    what: CheckEvent::QueueDeleted(name),
                } => {
                    let how = format!("the check deleted queue `{name}` at {t:.3} s");
                    replay.queue_ends(now, name, &how);
                }
                Event::Check {
                    what: CheckEvent::BrokerKilled,
                } => replay.broker_dies(now),
                _ => {}
            }
        }
        Self {
            facts: replay.facts,
        }
    }
}

impl<'a> Replay<'a, '_> {
    fn frame(&mut self, now: Now, at: At<'a>) {
        let frame = at.frame;
        match (frame.from, frame.method) {
            (Side::Client, Method::QueueDeclare) => self.begins(at, Method::QueueDeclareOk),
            (Side::Client, Method::ExchangeDeclare) => self.begins(at, Method::ExchangeDeclareOk),
            (Side::Client, Method::QueueBind) => self.begins(at, Method::QueueBindOk),
            (Side::Client, Method::BasicConsume) => self.begins(at, Method::BasicConsumeOk),
            (Side::Client, Method::QueueUnbind) => {
                let queue = self.queue_of(at);
                self.end(now, &deed(at), |fact| {
                    fact.is(Method::QueueBind)
                        && fact.queue == queue
                        && fact.exchange() == word(frame, "exchange")
                        && fact.key() == word(frame, "routing_key")
                });
            }
            (Side::Client, Method::QueueDelete) => {
                self.queue_ends(now, self.queue_of(at), &deed(at))
            }
            (Side::Client, Method::ExchangeDelete) => {
                let name = word(frame, "exchange");
                self.end(now, &deed(at), |fact| fact.exchange() == name);
            }
            (_, Method::BasicCancel) => self.cancelled(now, at),
            (_, Method::ChannelClose) => {
                let same = |fact: &Fact<'_>| fact.request.frame.same_channel(frame);
                self.consumers_end(now, &deed(at), same);
            }
            (_, Method::ConnectionClose) => {
                self.connection_ends(now, &frame.service, frame.connection, &deed(at));
            }
            _ => {}
        }
    }

    /// Adds what this request asks for, unless it exists, or the broker refuses it.
    fn begins(&mut self, request: At<'a>, ok: Method) {
        let Some(from) = self.granted(request, ok) else {
            return;
        };
        let (frame, method) = (request.frame, request.frame.method);
        let queue = match method {
            Method::ExchangeDeclare => "",
            // The broker's answer has the name that the broker has chosen.
            Method::QueueDeclare if word(frame, "queue").is_empty() => word(from.frame, "queue"),
            _ => self.queue_of(request),
        };
        if method == Method::QueueDeclare {
            let channel = (&*frame.service, frame.connection, frame.channel);
            self.declared.insert(channel, queue);
        }
        let fact = Fact {
            request,
            queue,
            from,
            end: None,
        };
        let same = |own: &Fact<'_>| {
            own.lives()
                && own.is(method)
                && (own.queue, own.exchange(), own.key()) == (queue, fact.exchange(), fact.key())
        };
        let there = method != Method::BasicConsume && self.facts.iter().any(same);
        if !there && !frame.flag("passive") {
            self.expires |= fact.number("x-expires").is_some();
            self.facts.push(fact);
        }
    }

    /// The broker's answer to a request, or the request while it has none. `None` when it refused.
    fn granted(&self, request: At<'a>, ok: Method) -> Option<At<'a>> {
        let own = request.frame;
        let mut later = after(self.frames, request.index).iter();
        let answer = later.find(|at| match at.frame.method {
            Method::ConnectionClose => {
                at.frame.service == own.service && at.frame.connection == own.connection
            }
            Method::ChannelOpen | Method::ChannelClose => at.frame.same_channel(own),
            method => method == ok && at.frame.same_channel(own),
        });
        match answer.filter(|at| at.frame.from == Side::Server) {
            Some(at) => Some(*at).filter(|at| at.frame.method == ok),
            None => Some(request),
        }
    }

    fn cancelled(&mut self, now: Now, at: At<'a>) {
        let tag = word(at.frame, "consumer_tag");
        let own = |fact: &Fact<'_>| fact.has_tag(tag) && fact.request.frame.same_channel(at.frame);
        let consumes = |fact: &&Fact<'_>| fact.is(Method::BasicConsume);
        let mut all = self.facts.iter().rev().filter(consumes);
        let queue = all.find(|fact| own(fact)).map(|fact| fact.queue);
        self.consumers_end(now, &deed(at), own);
        if let (Side::Server, Some(queue)) = (at.frame.from, queue) {
            let how = format!("queue `{queue}` was deleted, and {}", deed(at));
            self.queue_ends(now, queue, &how);
        }
    }

    /// The queue that this frame names, if need be as the last one declared on its channel.
    fn queue_of(&self, at: At<'a>) -> &'a str {
        let channel = (&*at.frame.service, at.frame.connection, at.frame.channel);
        match word(at.frame, "queue") {
            "" => self.declared.get(&channel).copied().unwrap_or_default(),
            name => name,
        }
    }
}
