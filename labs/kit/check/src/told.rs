//! What became of something that one service told another over HTTP, from the journal: the
//! counterpart of [`fate`](super::fate()) for a chapter without a broker.

use wiretap::{Entry, Event, Journal, Side};

/// Tells which requests carried `id` in their body, and what was answered.
#[must_use]
pub fn told(journal: &Journal, id: &str) -> String {
    journal.read(|entries| {
        let requests: Vec<_> = (0..entries.len())
            .filter_map(|at| Some((at, request(&entries[at])?)))
            .collect();
        let carrying: Vec<_> = requests
            .iter()
            .filter(|(_, request)| request.body.contains(id))
            .map(|(at, request)| format!("{}: {}", request.line, answer(&entries[*at..])))
            .collect();
        match (carrying.len(), requests.len()) {
            (0, 0) => "nothing was sent at all".to_owned(),
            (0, all) => format!("none of the {all} request(s) sent carries its id"),
            (1, _) => format!("it was sent once, {}", carrying[0]),
            (n, _) => format!("it was sent {n} times, {}", carrying.join(", ")),
        }
    })
}

struct Request<'a> {
    line: &'a str,
    body: &'a str,
}

fn request(entry: &Entry) -> Option<Request<'_>> {
    match &entry.event {
        Event::Http {
            from: Side::Client,
            line,
            body,
            ..
        } => Some(Request { line, body }),
        _ => None,
    }
}

/// The answer to the request that is the first of these entries.
fn answer(entries: &[Entry]) -> String {
    let connection_of = |entry: &Entry| match &entry.event {
        Event::Http {
            service,
            connection,
            ..
        } => Some((service.clone(), *connection)),
        Event::Link {
            service,
            connection,
            ..
        } => Some((service.clone(), (*connection)?)),
        _ => None,
    };
    let own = entries.first().and_then(connection_of);
    let next = entries.iter().skip(1).find(|e| connection_of(e) == own);
    match next.map(|entry| &entry.event) {
        Some(Event::Http {
            from: Side::Server,
            line,
            ..
        }) => line.clone(),
        Some(Event::Link { what, .. }) => format!("no answer ({what})"),
        _ => "no answer yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proof::Scratch;

    fn http(connection: u32, from: Side, line: &str, body: &str) -> Event {
        Event::Http {
            service: "video-streaming".to_owned(),
            connection,
            from,
            line: line.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn it_says_what_was_sent_and_what_was_answered() {
        let scratch = Scratch::new("told");
        let journal = Journal::create(scratch.path(), "01", "told", 1).expect("a journal");
        assert_eq!(told(&journal, "a"), "nothing was sent at all");
        journal.record(http(1, Side::Client, "POST /viewed", r#"{"viewId":"a"}"#));
        journal.record(http(2, Side::Client, "POST /viewed", r#"{"viewId":"b"}"#));
        assert!(told(&journal, "a").ends_with("POST /viewed: no answer yet"));
        journal.record(http(2, Side::Server, "200 OK", ""));
        journal.record(Event::Link {
            service: "video-streaming".to_owned(),
            connection: Some(1),
            what: "lost: cut".to_owned(),
        });
        journal.record(http(3, Side::Client, "POST /viewed", r#"{"viewId":"a"}"#));
        journal.record(http(3, Side::Server, "409 Conflict", ""));
        assert_eq!(
            told(&journal, "a"),
            "it was sent 2 times, POST /viewed: no answer (lost: cut), POST /viewed: 409 Conflict"
        );
        assert!(told(&journal, "c").starts_with("none of the 3"));
    }
}
