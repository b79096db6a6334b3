//! Logging to standard error, one line an event: `12:04:11.123 INFO  history: text`.

use std::io::Write;
use std::sync::OnceLock;

use anyhow::Error;
use env_logger::Builder;
use log::LevelFilter;

static NAME: OnceLock<String> = OnceLock::new();

/// Starts logging as `name`, at level info or as `RUST_LOG` says (`RUST_LOG=info,lapin=debug`
/// shows lapin's own log). Times are UTC. A second call changes nothing.
pub fn init(name: impl Into<String>) {
    let name = NAME.get_or_init(|| name.into());
    let outcome = Builder::new()
        .filter_level(LevelFilter::Info)
        // Actix logs each of its threads at level info, which says nothing about the service.
        .filter_module("actix_server", LevelFilter::Warn)
        // lapin logs each span that it enters.
        .filter_module("tracing::span", LevelFilter::Warn)
        // lapin returns its failures to us as errors, and we log each once. Its own log also shows
        // the body of each returned message, which may be private.
        .filter_module("lapin", LevelFilter::Off)
        .parse_env("RUST_LOG")
        .format(move |out, record| {
            let now = out.timestamp_millis().to_string();
            let level = record.level();
            let style = out.default_level_style(level);
            let text = one_line(&record.args().to_string());
            let time = clock(&now);
            writeln!(out, "{time} {style}{level:<5}{style:#} {name}: {text}")
        })
        .try_init();
    if outcome.is_err() {
        log::debug!("logging was set up before");
    }
}

/// The beginning of a body, for an error that says why nobody can read it.
#[must_use]
pub fn excerpt(body: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text = one_line(&String::from_utf8_lossy(body));
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The name that [`init`] got, which tells this program from others: `worker ada`. Give it to the
/// connection too: the broker's list of connections shows it.
#[must_use]
pub fn name() -> &'static str {
    NAME.get().map_or("", String::as_str)
}

/// The error and its causes on one line, each once. `{error:#}` repeats a broker's error, because
/// the text of lapin's errors contains the text of their causes.
#[must_use]
pub fn causes(error: &Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line += &format!(": {cause}");
        }
    }
    line
}

/// `12:04:11.123` out of `2026-01-31T12:04:11.123Z`.
fn clock(timestamp: &str) -> &str {
    timestamp
        .split_once('T')
        .map_or(timestamp, |(_, time)| time.trim_end_matches('Z'))
}

/// Text with its control characters escaped, so that no client can forge a line of the log.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_was_quoted_is_not_repeated() {
        let quoted = anyhow::anyhow!("no such vhost").context("refused: no such vhost");
        assert_eq!(
            causes(&quoted.context("cannot connect")),
            "cannot connect: refused: no such vhost"
        );
    }

    #[test]
    fn a_line_shows_only_the_time_of_day() {
        assert_eq!(clock("2026-01-31T12:04:11.123Z"), "12:04:11.123");
    }

    #[test]
    fn an_event_stays_on_one_line() {
        assert_eq!(one_line("naïve \"café\" 🎬"), "naïve \"café\" 🎬");
        assert_eq!(
            one_line("a\nERROR b\r\u{1b}[2J"),
            "a\\nERROR b\\r\\u{1b}[2J"
        );
    }

    #[test]
    fn a_body_is_shown_shortened_and_on_one_line() {
        assert_eq!(excerpt(b"Ada\n\xff"), "Ada\\n\u{fffd}");
        assert_eq!(excerpt("é".repeat(60).as_bytes()), "é".repeat(60));
        let long = "é".repeat(61);
        assert_eq!(excerpt(long.as_bytes()), "é".repeat(60) + "…");
    }
}
