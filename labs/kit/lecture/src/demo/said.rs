//! What the programs say of themselves in their logs.

/// What a producer counted, over all its lives: a container may have been started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Messages, not tries.
    pub sent: u64,
    /// Of these, those that the broker has confirmed.
    pub confirmed: u64,
}

/// What a consumer counted, over all its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Messages settled.
    pub received: u64,
    /// Of these, those that had their effect before.
    pub duplicates: u64,
    /// Of these, those that had an effect.
    pub effects: u64,
}

/// The producer's count, in what it printed.
pub fn sent(log: &str) -> Sent {
    let [sent, confirmed] = total(log, ["sent ", ", confirmed "]);
    Sent { sent, confirmed }
}

/// The consumer's count, in what it printed.
pub fn received(log: &str) -> Received {
    let [received, duplicates, effects] = total(log, ["received ", ", duplicates ", ", effects "]);
    Received {
        received,
        duplicates,
        effects,
    }
}

/// What a line says that is no count, without its time and level.
pub fn event(line: &str) -> Option<&str> {
    let is_count = received_line(line).is_some() || sent_line(line).is_some();
    let words = line
        .split_once(": ")
        .map_or(line, |(_, words)| words)
        .trim();
    (!is_count && !words.is_empty()).then_some(words)
}

fn sent_line(line: &str) -> Option<[u64; 2]> {
    numbers(line, ["sent ", ", confirmed "])
}

fn received_line(line: &str) -> Option<[u64; 3]> {
    numbers(line, ["received ", ", duplicates ", ", effects "])
}

/// Adds up the last counts of each life.
fn total<const N: usize>(log: &str, words: [&str; N]) -> [u64; N] {
    let mut lives = [0; N];
    let mut last = [0; N];
    for now in log.lines().filter_map(|line| numbers(line, words)) {
        if now[0] < last[0] {
            add(&mut lives, last);
        }
        last = now;
    }
    add(&mut lives, last);
    lives
}

fn add<const N: usize>(sum: &mut [u64; N], more: [u64; N]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// The numbers after each of `words`, where the line ends with just these.
fn numbers<const N: usize>(line: &str, words: [&str; N]) -> Option<[u64; N]> {
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

    #[test]
    fn the_last_count_of_each_life_counts() {
        let log = "\
18:20:52.784 INFO  producer: sent 1, confirmed 1
18:20:52.851 WARN  producer: gone; trying again in 0.2s
18:20:52.956 INFO  producer: sent 7, confirmed 6
18:20:53.066 INFO  producer: sent 1, confirmed 0
18:20:53.149 INFO  producer: sent 2, confirmed 2
";
        let Sent { sent, confirmed } = sent(log);
        assert_eq!((sent, confirmed), (9, 8));
        assert_eq!(super::sent("nothing yet"), Sent::default());
        let log = "x INFO  consumer: received 12, duplicates 1, effects 11\n";
        let Received {
            received,
            duplicates,
            effects,
        } = received(log);
        assert_eq!((received, duplicates, effects), (12, 1, 11));
    }

    #[test]
    fn an_event_is_a_line_that_counts_nothing() {
        let line = "18:21:15.759 WARN  consumer: no heartbeat; trying again in 197.0ms";
        assert_eq!(event(line), Some("no heartbeat; trying again in 197.0ms"));
        assert_eq!(
            event("x INFO  consumer: received 1, duplicates 0, effects 1"),
            None
        );
        assert_eq!(event("x INFO  producer: sent 1, confirmed 1"), None);
        assert_eq!(event(""), None);
    }
}
