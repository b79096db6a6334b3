//! The last page: what was sent, what came of it, and whether anything was lost.

use std::collections::BTreeSet;

use check::Row;

use super::said::{Received, Sent};
use super::talk::Talk;

/// How many missing messages are named.
const NAMED: usize = 10;

/// What is counted when all is over.
#[derive(Debug)]
pub struct Page {
    /// By the producer.
    pub sent: Sent,
    /// By the consumer.
    pub received: Received,
    /// What stands in the consumer's database.
    pub rows: Vec<Row>,
    /// What lies in the queue of dead letters.
    pub dead: u64,
}

/// Prints the page. False when something was lost.
pub fn page(page: &Page, talk: &Talk) -> bool {
    let Page {
        sent: Sent { sent, confirmed },
        received: Received {
            received,
            duplicates,
            ..
        },
        rows,
        dead,
    } = page;
    for (label, number, words) in [
        ("sent", *sent, "by the producer on VM A"),
        ("confirmed", *confirmed, "to the producer, by the broker"),
        ("received", *received, "by the consumer on VM B"),
        ("duplicates", *duplicates, "of these, known by their ids"),
        (
            "effects",
            rows.len() as u64,
            "rows in the consumer's database",
        ),
    ] {
        talk.count(label, number, words);
    }
    let lost = lost(*confirmed, rows);
    match (lost.is_empty(), *dead) {
        (true, 0) => {
            talk.good("Nothing lost: each confirmed message had its effect, once.");
            true
        }
        (true, dead) => {
            talk.bad(&format!("{dead} messages are in the queue of dead letters"));
            false
        }
        (false, _) => {
            talk.bad(&format!(
                "LOST: {} of {confirmed} confirmed messages",
                lost.len()
            ));
            talk.part("missing", &named(&lost));
            false
        }
    }
}

/// The numbers of the confirmed messages that had no effect. Each says its number, as in
/// `message 17`; without restarts of the producer the confirmed ones are the first.
pub fn lost(confirmed: u64, rows: &[Row]) -> Vec<u64> {
    let there: BTreeSet<u64> = rows
        .iter()
        .filter_map(|row| row.value.rsplit_once(' ')?.1.parse().ok())
        .collect();
    (1..=confirmed).filter(|n| !there.contains(n)).collect()
}

fn named(lost: &[u64]) -> String {
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

    fn rows(numbers: &[u64]) -> Vec<Row> {
        let row = |n: &u64| Row {
            id: format!("id-{n}"),
            value: format!("message {n}"),
        };
        numbers.iter().map(row).collect()
    }

    #[test]
    fn what_was_confirmed_and_had_no_effect_is_lost() {
        assert!(lost(3, &rows(&[1, 2, 3])).is_empty());
        // Sent, and its confirm lost: no matter that it arrived.
        assert!(lost(3, &rows(&[3, 1, 2, 4])).is_empty());
        assert_eq!(lost(4, &rows(&[1, 3])), [2, 4]);
    }

    #[test]
    fn of_many_the_first_are_named() {
        assert_eq!(named(&[2, 4]), "message 2, 4");
        let many: Vec<u64> = (1..=12).collect();
        assert_eq!(
            named(&many),
            "message 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"
        );
    }
}
