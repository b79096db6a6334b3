//! To which queues an exchange routes a message.

use wiretap::{Frame, Method};

use super::{At, Fact, Topology, word};
use crate::frames::direct_to;

impl<'a> Topology<'a> {
    /// The queues that took the message when it was published, as far as the journal shows.
    pub(crate) fn took(&self, publish: At<'a>) -> Vec<&'a str> {
        if let Some(queue) = direct_to(publish.frame) {
            let unknown = self.queue(queue).next().is_none();
            let lived = self.queue(queue).any(|fact| fact.lived_at(publish.index));
            return if unknown || lived {
                vec![queue]
            } else {
                Vec::new()
            };
        }
        let bound = self
            .all(Method::QueueBind)
            .filter(|fact| fact.lived_at(publish.index) && self.routes(fact, publish.frame));
        let mut queues: Vec<_> = bound.map(|fact| fact.queue).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    /// The type with which a service declared this exchange.
    pub(crate) fn kind(&self, exchange: &str) -> Option<&'a str> {
        let mut all = self.all(Method::ExchangeDeclare);
        let found = all.rfind(|fact| fact.exchange() == exchange)?;
        Some(word(found.request.frame, "type"))
    }

    /// Whether this binding, while it exists, routes the message.
    pub(crate) fn routes(&self, binding: &Fact<'_>, publish: &Frame) -> bool {
        let (exchange, key) = (word(publish, "exchange"), word(publish, "routing_key"));
        let kind = self.kind(exchange).or(exchange.strip_prefix("amq."));
        binding.exchange() == exchange
            && match kind {
                Some("direct") => binding.key() == key,
                Some("topic") => matches(&words(binding.key()), &words(key)),
                _ => true,
            }
    }
}

/// The words of a key; an empty key has none.
fn words(key: &str) -> Vec<&str> {
    if key.is_empty() {
        Vec::new()
    } else {
        key.split('.').collect()
    }
}

fn matches(pattern: &[&str], key: &[&str]) -> bool {
    match pattern {
        [] => key.is_empty(),
        ["#", rest @ ..] => (0..=key.len()).any(|from| matches(rest, &key[from..])),
        [word, rest @ ..] => {
            key.first()
                .is_some_and(|first| *word == "*" || word == first)
                && matches(rest, &key[1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{matches, words};

    #[test]
    fn topic_patterns_match_as_amqp_says() {
        for (pattern, key, hit) in [
            ("log.*", "log.debug", true),
            ("log.*", "log", false),
            ("log.#", "log", true),
            ("#", "", true),
            ("*", "", false),
            ("#.critical", "log.disk.critical", true),
            ("pr*", "pr.1", false),
        ] {
            assert_eq!(
                matches(&words(pattern), &words(key)),
                hit,
                "{pattern} {key}"
            );
        }
    }
}
