//! Files with every kind of damage: reading never panics, gives each other entry back, and reports
//! the damage.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use wiretap::Entry;

use super::strategy::entries;
use super::{first_line, head, lines, read_bytes};

/// The longest line that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// A line of a damaged file.
#[derive(Debug, Clone)]
enum Line {
    Untouched(Entry),
    /// Bytes that are no entry.
    Rubbish(Vec<u8>),
    /// An entry and spaces: so many bytes more than a line may have. With 0 it can be read.
    Padded(Entry, usize),
}

impl Line {
    fn bytes(&self) -> Vec<u8> {
        let whole = |entry| lines(std::slice::from_ref(entry));
        match self {
            Self::Untouched(entry) => whole(entry),
            Self::Rubbish(bytes) => [bytes, &b"\n"[..]].concat(),
            Self::Padded(entry, more) => {
                let mut line = whole(entry);
                line.pop();
                line.resize(LONGEST + more, b' ');
                line.push(b'\n');
                line
            }
        }
    }

    /// What can be read of it.
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Untouched(entry) | Self::Padded(entry, 0) => Some(entry),
            Self::Padded(..) | Self::Rubbish(_) => None,
        }
    }
}

/// What no journal has, without a line feed.
fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    let whole = br#"{"t":1.5,"event":"check","what":{"note":"so"}}"#;
    const FOREIGN: [&str; 9] = [
        r#"{"t":1.5,"event":"unheard-of"}"#,
        r#"{"t":1.5,"event":"check","what":{"note":7}}"#,
        r#"{"t":1e999,"event":"check","what":"broker-back"}"#,
        r#"{"t":1,"t":2,"event":"check","what":"broker-back"}"#,
        r#"{"event":"check","what":"broker-back"}"#,
        r#"{"t":1.5,"event":"service","service":"web","what":"killed (SIGKILL)"}"#,
        r#"{"time":"2026-11-26","level":"info"}"#,
        "null",
        "{} {}",
    ];
    prop_oneof![
        vec(
            any::<u8>().prop_filter("one line", |&byte| byte != b'\n'),
            0..200
        ),
        select(&FOREIGN).prop_map(|text| text.as_bytes().to_vec()),
        (0..whole.len()).prop_map(|end| whole[..end].to_vec()),
        (1000..200_000_usize).prop_map(|depth| vec![b'['; depth]),
    ]
}

fn damaged() -> impl Strategy<Value = Vec<Line>> {
    let damage = prop_oneof![
        4 => Just(None),
        2 => rubbish().prop_map(|bytes| Some(Line::Rubbish(bytes))),
    ];
    let oversize =
        prop_oneof![8 => Just(None), 1 => Just(Some(0)), 2 => (1..LONGEST).prop_map(Some)];
    let all = (entries(12), vec((damage, oversize), 12)).prop_map(|(entries, damage)| {
        let line = |(entry, (damage, oversize))| match (damage, oversize) {
            (Some(rubbish), _) => rubbish,
            (None, Some(more)) => Line::Padded(entry, more),
            (None, None) => Line::Untouched(entry),
        };
        entries
            .into_iter()
            .zip(damage)
            .map(line)
            .collect::<Vec<_>>()
    });
    let all = all.boxed();
    prop_oneof![all.clone(), all.prop_shuffle()]
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 64,
        // A failure prints its smallest case; the tree stays as it is.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn all_that_is_written_is_read(entries in entries(20)) {
        let recorded = read_bytes(&[first_line(), lines(&entries)].concat()).unwrap();
        prop_assert_eq!(recorded.head, head());
        prop_assert_eq!(recorded.entries, entries);
        prop_assert_eq!(recorded.unread, []);
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_lines(entries in entries(8), place in any::<Index>()) {
        let file = [first_line(), lines(&entries)].concat();
        let cut = &file[..place.index(file.len())];
        // A line that lacks its line feed only is whole.
        let mut end = first_line().len() - 1;
        let Ok(recorded) = read_bytes(cut) else {
            prop_assert!(cut.len() < end);
            return Ok(());
        };
        let mut whole = 0;
        for entry in &entries {
            let next = end + lines(std::slice::from_ref(entry)).len();
            if next > cut.len() {
                break;
            }
            (end, whole) = (next, whole + 1);
        }
        prop_assert_eq!(recorded.entries, &entries[..whole]);
        let why: Vec<_> = recorded.unread.into_iter().map(|one| one.why).collect();
        let line = whole + 2;
        let cut_off = format!("line {line} is cut off: its run was killed, or still goes on");
        // Beyond the line feed, something of the next line is there.
        let expected = if cut.len() > end + 1 { vec![cut_off] } else { vec![] };
        prop_assert_eq!(why, expected);
    }

    #[test]
    fn damage_costs_the_damaged_lines_only(damaged in damaged()) {
        let body: Vec<_> = damaged.iter().map(Line::bytes).collect();
        let recorded = read_bytes(&[first_line(), body.concat()].concat()).unwrap();
        let entries: Vec<_> = damaged.iter().filter_map(Line::entry).cloned().collect();
        prop_assert_eq!(recorded.entries, entries);
        let mut before = 0.0;
        let wrong = damaged.iter().zip(2..).filter(|(line, _)| match line.entry() {
            None => true,
            Some(entry) => entry.t < std::mem::replace(&mut before, entry.t),
        });
        let wrong: Vec<usize> = wrong.map(|(_, number)| number).collect();
        let reported: Vec<usize> = recorded.unread.iter().map(|one| one.line).collect();
        prop_assert_eq!(reported, wrong);
        for one in &recorded.unread {
            let begins = format!("line {} ", one.line);
            prop_assert!(one.why.starts_with(&begins), "{}", one.why);
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in vec(any::<u8>(), 0..3000)) {
        prop_assert!(read_bytes(&bytes).is_err());
        let recorded = read_bytes(&[first_line(), bytes.clone()].concat()).unwrap();
        prop_assert!(recorded.entries.is_empty());
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        prop_assert_eq!(recorded.unread.len(), lines.count());
    }
}
