//! What ends with a connection, a consumer, a queue or the broker.

use wiretap::Method;

use super::replay::Replay;
use super::{End, Fact};

/// When the entry under replay was recorded.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) index: usize,
    pub(super) t: f64,
}

impl<'a> Replay<'a, '_> {
    pub(super) fn broker_dies(&mut self, now: Now) {
        let died = format!("the broker died at {:.3} s", now.t);
        self.consumers_end(now, &died, |_| true);
        let queue = |fact: &Fact<'_>| fact.is(Method::QueueDeclare) && !fact.flag("durable");
        for name in self.living(queue) {
            let how = format!("queue `{name}` was not durable, and {died}");
            self.queue_ends(now, name, &how);
        }
        let living = self.facts.iter().filter(|fact| fact.lives());
        let lost = living.filter(|fact| fact.is(Method::ExchangeDeclare) && !fact.flag("durable"));
        for name in lost.map(Fact::exchange).collect::<Vec<_>>() {
            let how = format!("exchange `{name}` was not durable, and {died}");
            self.end(now, &how, |fact| fact.exchange() == name);
        }
    }

    /// Ends the consumers of a connection, and its exclusive queues.
    pub(super) fn connection_ends(&mut self, now: Now, service: &str, connection: u32, how: &str) {
        let own = |fact: &Fact<'_>| {
            fact.service() == service && fact.request.frame.connection == connection
        };
        self.consumers_end(now, how, own);
        let exclusive =
            |fact: &Fact<'_>| own(fact) && fact.is(Method::QueueDeclare) && fact.flag("exclusive");
        for name in self.living(exclusive) {
            let why = "was exclusive: the broker deleted it with its connection";
            self.queue_ends(now, name, &format!("queue `{name}` {why}, as {how}"));
        }
    }

    /// Ends these consumers, and the auto-delete queues that have none left.
    pub(super) fn consumers_end(&mut self, now: Now, how: &str, which: impl Fn(&Fact<'a>) -> bool) {
        let these = |fact: &Fact<'a>| fact.is(Method::BasicConsume) && which(fact);
        let left = self.living(these);
        self.end(now, how, these);
        for name in left {
            let used = |fact: &Fact<'_>| fact.is(Method::BasicConsume) && fact.queue == name;
            let auto = |fact: &Fact<'_>| fact.queue == name && fact.flag("auto_delete");
            if self.living(used).is_empty() && !self.living(auto).is_empty() {
                let why = "was auto_delete: the broker deleted it with its last consumer";
                self.queue_ends(now, name, &format!("queue `{name}` {why}, as {how}"));
            }
        }
    }

    /// Ends each queue whose `x-expires` has passed since it was declared or lost a consumer.
    pub(super) fn expire(&mut self, now: Now) {
        let mut gone = Vec::new();
        for queue in self.facts.iter().filter(|fact| fact.lives()) {
            let Some(limit) = queue.number("x-expires") else {
                continue;
            };
            let uses =
                |fact: &&Fact<'_>| fact.is(Method::BasicConsume) && fact.queue == queue.queue;
            let ends = self.facts.iter().filter(uses).map(|fact| fact.end.as_ref());
            let ends: Option<Vec<_>> = ends.map(|end| Some(end?.t)).collect();
            let Some(ends) = ends else { continue };
            let idle = ends.into_iter().fold(queue.from.t, f64::max);
            if now.t > idle + limit as f64 / 1000.0 {
                gone.push((queue.queue, limit));
            }
        }
        for (name, limit) in gone {
            let why = "(milliseconds): the broker deleted it after that time without a consumer";
            self.queue_ends(
                now,
                name,
                &format!("queue `{name}` had x-expires {limit} {why}"),
            );
        }
    }

    pub(super) fn queue_ends(&mut self, now: Now, name: &str, how: &str) {
        self.end(now, how, |fact| {
            fact.queue == name && !fact.is(Method::BasicConsume)
        });
    }

    pub(super) fn end(&mut self, now: Now, how: &str, which: impl Fn(&Fact<'a>) -> bool) {
        for fact in self.facts.iter_mut().filter(|fact| fact.lives()) {
            if which(fact) {
                fact.end = Some(End {
                    index: now.index,
                    t: now.t,
                    how: how.to_owned(),
                });
            }
        }
    }

    /// The queues of these facts, as far as they live.
    pub(super) fn living(&self, which: impl Fn(&Fact<'a>) -> bool) -> Vec<&'a str> {
        let living = self.facts.iter().filter(|fact| fact.lives() && which(fact));
        living.map(|fact| fact.queue).collect()
    }
}
