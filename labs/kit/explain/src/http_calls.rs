//! Explains from the journal what became of a message that one service sent another over HTTP: as
//! [`fate`](crate::fate()) does, for a chapter without a broker.

use wiretap::{Entry, Event, HttpLine, Journal, Side};

/// Says which requests carried `id` in their body, and how each was answered.
#[must_use]
pub fn http_fate(journal: &Journal, id: &str) -> String {
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
            (0, 0) => "the service sent no request".to_owned(),
            (0, all) => format!("none of the {all} request(s) carries its id"),
            (1, _) => format!("one request carried it: {}", carrying[0]),
            (n, _) => format!("{n} requests carried it: {}", carrying.join(", ")),
        }
    })
}

struct Request<'a> {
    line: &'a HttpLine,
    body: &'a str,
}

fn request(entry: &Entry) -> Option<Request<'_>> {
    match &entry.event {
        Event::Http { line, body, .. } if line.from() == Side::Client => {
            Some(Request { line, body })
        }
        _ => None,
    }
}

/// How the request that is the first of these entries was answered.
fn answer(entries: &[Entry]) -> String {
    let connection_of = |entry: &Entry| match &entry.event {
        Event::Http {
            service,
            connection,
            ..
        } => Some((service.clone(), *connection)),
        Event::Connection {
            service,
            connection,
            ..
        } => Some((service.clone(), *connection)),
        _ => None,
    };
    let own = entries.first().and_then(connection_of);
    let next = entries.iter().skip(1).find(|e| connection_of(e) == own);
    match next.map(|entry| &entry.event) {
        Some(Event::Http { line, .. }) if line.from() == Side::Server => line.to_string(),
        Some(Event::Connection { what, .. }) => format!("no answer ({what})"),
        _ => "no answer yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proof::Scratch;
    use wiretap::{ConnectionEvent, Loss};

    fn request(connection: u32, body: &str) -> Event {
        let (method, path) = ("POST".to_owned(), "/viewed".to_owned());
        http(connection, HttpLine::Request { method, path }, body)
    }

    fn response(connection: u32, status: u16, reason: &str) -> Event {
        let reason = reason.to_owned();
        http(connection, HttpLine::Response { status, reason }, "")
    }

    fn http(connection: u32, line: HttpLine, body: &str) -> Event {
        Event::Http {
            service: "video-streaming".to_owned(),
            connection,
            line,
            body: body.to_owned(),
        }
    }

    #[test]
    fn requests_are_listed_with_their_answers() {
        let scratch = Scratch::new("http-fate");
        let journal = Journal::create(scratch.path(), "01", "http-fate", 1).expect("a journal");
        assert_eq!(http_fate(&journal, "a"), "the service sent no request");
        journal.record(request(1, r#"{"viewId":"a"}"#));
        journal.record(request(2, r#"{"viewId":"b"}"#));
        assert!(http_fate(&journal, "a").ends_with("POST /viewed: no answer yet"));
        journal.record(response(2, 200, "OK"));
        journal.record(Event::Connection {
            service: "video-streaming".to_owned(),
            connection: 1,
            what: ConnectionEvent::Lost(Loss::CutByCheck),
        });
        journal.record(request(3, r#"{"viewId":"a"}"#));
        journal.record(response(3, 409, "Conflict"));
        assert_eq!(
            http_fate(&journal, "a"),
            "2 requests carried it: POST /viewed: no answer (lost: cut by the check), \
              POST /viewed: 409 Conflict"
        );
        assert!(http_fate(&journal, "c").starts_with("none of the 3"));
    }
}
