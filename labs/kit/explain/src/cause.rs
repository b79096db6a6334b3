//! Why a message that was published reached no consumer: each cause has a module, and
//! [`undelivered`] tries them in turn.

mod lost_in_queue;
mod refused;
mod unconsumed;
mod unrouted;

use super::broker_loss::lost_with_broker;
use super::frames::{At, confirm_number, direct_to, holders, sent, waits_behind};
use super::topology::Topology;
use super::{Finding, PREFETCH_FULL, Topic};
use wiretap::{CheckEvent, Entry, Event, Method};

pub(super) use lost_in_queue::lost_in_queue;
pub(super) use unconsumed::aftermath;

/// A message that was published, and the consumer that should have got it, if one is named.
#[derive(Clone, Copy)]
pub(super) struct Case<'a, 'f> {
    pub(super) entries: &'a [Entry],
    pub(super) frames: &'f [At<'a>],
    pub(super) topology: &'f Topology<'a>,
    pub(super) publish: At<'a>,
    pub(super) consumer: Option<&'f str>,
}

/// The finding for a message that was published, but not delivered to any consumer. What is
/// certain comes first: what the broker said, then what the queue did with the message.
pub(super) fn undelivered(case: &Case<'_, '_>) -> Finding {
    refused::returned(case)
        .or_else(|| lost_with_broker(case.entries, case.frames, case.publish))
        .or_else(|| refused::refused(case))
        .or_else(|| lost_in_queue(case))
        .or_else(|| unrouted::unrouted(case))
        .or_else(|| unconsumed::unconsumed(case))
        .or_else(|| waits(case))
        .unwrap_or_else(|| unexplained(case))
}

impl Case<'_, '_> {
    /// When and where the message was published and whether it was confirmed: the beginning of
    /// what is observed.
    fn sent(&self) -> String {
        let confirms = self.by_check() || confirm_number(self.frames, self.publish).is_some();
        let end = if confirms { " and confirmed" } else { "" };
        sent(&self.publish) + end
    }

    /// What is observed of a message that no consumer got.
    fn observed(&self) -> String {
        let nobody = match self.consumer {
            _ if direct_to(self.publish.frame).is_some() => "no consumer got it from the queue",
            Some(name) => &format!("{name} never got it"),
            None => "no consumer got it",
        };
        format!("{}; {nobody}", self.sent())
    }

    fn finding(&self, topic: Topic, cause: &str, why: &'static str) -> Finding {
        Finding::new(topic, format!("{}: {cause}", self.observed()), why)
    }

    /// Whether the check itself deleted the queue before the publish: then no service is at fault
    /// that the queue is missing, and the publisher must notice.
    fn queue_taken_away(&self) -> bool {
        let queue = direct_to(self.publish.frame).unwrap_or_default();
        let mut before = self.entries[..self.publish.index].iter();
        before.any(|entry| {
            matches!(&entry.event, Event::Check { what: CheckEvent::QueueDeleted(name) }
                if name == queue)
        })
    }

    fn by_check(&self) -> bool {
        self.publish.frame.connection == 0
    }

    /// The services that should have got the message: the named one, or all that ever consumed.
    fn consumers(&self) -> Vec<&str> {
        if let Some(name) = self.consumer {
            return vec![name];
        }
        let all = self.topology.all(Method::BasicConsume);
        let mut names: Vec<_> = all.map(|fact| fact.service()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// It waits behind others that its consumer holds.
fn waits(case: &Case<'_, '_>) -> Option<Finding> {
    let holders = holders(case.entries, case.frames, case.publish, case.consumer)?;
    let observed = format!("{}; {}", case.sent(), waits_behind(&holders));
    Some(Finding::new(Topic::Settle, observed, PREFETCH_FULL))
}

fn unexplained(case: &Case<'_, '_>) -> Finding {
    if !case.by_check() && confirm_number(case.frames, case.publish).is_none() {
        return Finding::new(
            Topic::Confirm,
            format!("{} without confirm mode (no confirm.select)", case.sent()),
            "without a confirm the service cannot know whether the broker has the message",
        );
    }
    let named = direct_to(case.publish.frame).is_none();
    let topic = if named {
        Topic::Routing
    } else {
        Topic::Consume
    };
    if case.publish.frame.flag("mandatory") {
        let taken = "mandatory was set and nothing was returned, so a queue took it";
        let why = "a message stays in its queue until a consumer of that queue gets and acks it";
        return case.finding(topic, taken, why);
    }
    let why = if named {
        "a queue gets only what its bindings match, and only what is published after they exist"
    } else if case.by_check() || !case.consumers().is_empty() {
        "a consumer whose channel has closed gets no messages until it consumes again"
    } else {
        "without mandatory the broker confirms a message that no queue takes, and drops it"
    };
    Finding::new(topic, case.observed(), why)
}
