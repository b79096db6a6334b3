//! Counts what became of the messages: from the programs' logs, the consumer's database and the
//! queue of dead letters.

use std::collections::BTreeSet;

use check::Row;

/// The counts at the end.
#[derive(Debug)]
pub struct Counts {
    /// What the producer counted.
    pub sent: SentCounts,
    /// What the consumer counted.
    pub received: ReceivedCounts,
    /// The consumer's database.
    pub rows: Vec<Row>,
    /// How many messages are in the queue of dead letters.
    pub dead: u64,
}

impl Counts {
    /// The numbers of the confirmed messages without an effect. A message's text ends with its
    /// number, as in `message 17`. The producer was not restarted, so the confirmed messages
    /// are the first ones.
    pub fn lost(&self) -> Vec<u64> {
        find_lost(self.sent.confirmed, &self.rows)
    }
}

fn find_lost(confirmed: u64, rows: &[Row]) -> Vec<u64> {
    let recorded: BTreeSet<u64> = rows
        .iter()
        .filter_map(|row| row.value.rsplit_once(' ')?.1.parse().ok())
        .collect();
    (1..=confirmed).filter(|n| !recorded.contains(n)).collect()
}

/// What a producer counted, over all its runs: its container may have been restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SentCounts {
    /// Messages, each counted once however often it was published.
    pub sent: u64,
    /// How many of them the broker has confirmed.
    pub confirmed: u64,
}

/// What a consumer counted, over all its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceivedCounts {
    /// Settled messages.
    pub received: u64,
    /// How many of them had had their effect before.
    pub duplicates: u64,
    /// How many of them had an effect.
    pub effects: u64,
}

const SENT: [&str; 2] = ["sent ", ", confirmed "];
const RECEIVED: [&str; 3] = ["received ", ", duplicates ", ", effects "];

/// The counts in a producer's log.
pub fn count_sent(log: &str) -> SentCounts {
    let [sent, confirmed] = add_up(log, SENT);
    SentCounts { sent, confirmed }
}

/// The counts in a consumer's log.
pub fn count_received(log: &str) -> ReceivedCounts {
    let [received, duplicates, effects] = add_up(log, RECEIVED);
    ReceivedCounts {
        received,
        duplicates,
        effects,
    }
}

/// The event that a line of a log tells, without time and level; none where the line holds
/// counts.
pub fn event_in(line: &str) -> Option<&str> {
    let has_counts = numbers_in(line, SENT).is_some() || numbers_in(line, RECEIVED).is_some();
    let event = line
        .split_once(": ")
        .map_or(line, |(_, event)| event)
        .trim();
    (!has_counts && !event.is_empty()).then_some(event)
}

/// Adds up the last counts of each run. A first count that is smaller than before begins a run.
fn add_up<const N: usize>(log: &str, words: [&str; N]) -> [u64; N] {
    let mut sum = [0; N];
    let mut last = [0; N];
    for now in log.lines().filter_map(|line| numbers_in(line, words)) {
        if now[0] < last[0] {
            add(&mut sum, last);
        }
        last = now;
    }
    add(&mut sum, last);
    sum
}

fn add<const N: usize>(sum: &mut [u64; N], more: [u64; N]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// The numbers behind each of `words`, where the line ends with these.
fn numbers_in<const N: usize>(line: &str, words: [&str; N]) -> Option<[u64; N]> {
    let mut rest = line.trim_end();
    let mut numbers = [0; N];
    for (index, word) in words.into_iter().enumerate().rev() {
        let (before, number) = rest.rsplit_once(word)?;
        numbers[index] = number.parse().ok()?;
        rest = before;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(numbers: &[u64]) -> Vec<Row> {
        let row = |n: &u64| Row {
            id: format!("id-{n}"),
            value: format!("message {n}"),
        };
        numbers.iter().map(row).collect()
    }

    #[test]
    fn a_confirmed_message_without_an_effect_is_lost() {
        assert!(find_lost(3, &rows(&[1, 2, 3])).is_empty());
        // Message 4 arrived, and its confirm did not.
        assert!(find_lost(3, &rows(&[3, 1, 2, 4])).is_empty());
        assert_eq!(find_lost(4, &rows(&[1, 3])), [2, 4]);
    }

    #[test]
    fn the_last_counts_of_each_run_are_added() {
        let log = "\
18:20:52.784 INFO  producer: sent 1, confirmed 1
18:20:52.851 WARN  producer: gone; trying again in 0.2s
18:20:52.956 INFO  producer: sent 7, confirmed 6
18:20:53.066 INFO  producer: sent 1, confirmed 0
18:20:53.149 INFO  producer: sent 2, confirmed 2
";
        let SentCounts { sent, confirmed } = count_sent(log);
        assert_eq!((sent, confirmed), (9, 8));
        assert_eq!(count_sent("nothing yet"), SentCounts::default());
        let log = "x INFO  consumer: received 12, duplicates 1, effects 11\n";
        let ReceivedCounts {
            received,
            duplicates,
            effects,
        } = count_received(log);
        assert_eq!((received, duplicates, effects), (12, 1, 11));
    }

    #[test]
    fn a_line_without_counts_is_an_event() {
        let line = "18:21:15.759 WARN  consumer: no heartbeat; trying again in 197.0ms";
        let event = "no heartbeat; trying again in 197.0ms";
        assert_eq!(event_in(line), Some(event));
        let counts = "x INFO  consumer: received 1, duplicates 0, effects 1";
        assert_eq!(event_in(counts), None);
        assert_eq!(event_in("x INFO  producer: sent 1, confirmed 1"), None);
        assert_eq!(event_in(""), None);
    }
}
