//! Prints the counts at the end of the story, and whether a message was lost.

use crate::testbed::{Counts, ReceivedCounts, SentCounts};

use super::narrator::Narrator;

/// How many lost messages are named.
const NAMED: usize = 10;

/// Prints the counts. False when a message was lost or dead-lettered.
pub fn print_summary(counts: &Counts, narrator: &Narrator) -> bool {
    let SentCounts { sent, confirmed } = counts.sent;
    let ReceivedCounts {
        received,
        duplicates,
        ..
    } = counts.received;
    let effects = counts.rows.len() as u64;
    for (label, number, words) in [
        ("sent", sent, "by the producer on VM A"),
        ("confirmed", confirmed, "by the broker, to the producer"),
        ("received", received, "by the consumer on VM B"),
        ("duplicates", duplicates, "among them, known by their ids"),
        ("effects", effects, "rows in the consumer's database"),
    ] {
        narrator.print_count(label, number, words);
    }
    let lost = counts.lost();
    match (lost.is_empty(), counts.dead) {
        (true, 0) => {
            narrator.report_good("Nothing lost: each confirmed message had its effect, once.");
            true
        }
        (true, dead) => {
            narrator.report_bad(&format!("{dead} messages were dead-lettered"));
            false
        }
        (false, _) => {
            let number = lost.len();
            narrator.report_bad(&format!("LOST: {number} of {confirmed} confirmed messages"));
            narrator.print_part("missing", &name_first(&lost));
            false
        }
    }
}

fn name_first(lost: &[u64]) -> String {
    let first: Vec<String> = lost.iter().take(NAMED).map(u64::to_string).collect();
    let more = match lost.len() > NAMED {
        true => format!(" and {} more", lost.len() - NAMED),
        false => String::new(),
    };
    format!("message {}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_lost_messages_are_named() {
        assert_eq!(name_first(&[2, 4]), "message 2, 4");
        let many: Vec<u64> = (1..=12).collect();
        assert_eq!(
            name_first(&many),
            "message 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"
        );
    }
}
