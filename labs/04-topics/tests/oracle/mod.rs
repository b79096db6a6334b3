//! The rules of a topic exchange, written down independently of any broker.

use check::{Outcome, Stop};
use rand::RngExt;
use rand::rngs::StdRng;

/// Whether a binding with this pattern matches this key: `*` is exactly one word, `#` any
/// number of words. The empty text has no words; between two dots stands an empty word.
pub fn matches(pattern: &str, key: &str) -> bool {
    fits(&words(pattern), &words(key))
}

fn words(text: &str) -> Vec<&str> {
    if text.is_empty() {
        Vec::new()
    } else {
        text.split('.').collect()
    }
}

fn fits(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => (0..=key.len()).any(|from| fits(rest, &key[from..])),
        ([word, pattern @ ..], [first, key @ ..]) => {
            (*word == "*" || word == first) && fits(pattern, key)
        }
        _ => false,
    }
}

/// Keys whose matches are easy to get wrong.
pub const NASTY_KEYS: [&str; 15] = [
    "",
    ".",
    "critical",
    "log.critical",
    "log.critical.",
    "log.critical.disk.full",
    ".critical",
    "log.",
    "log..critical",
    "log.critical ",
    "log.*",
    "log.#",
    "Log.critical",
    "ログ.критично",
    "critical.critical",
];
/// Patterns, and which of [`NASTY_KEYS`] each of them matches.
pub const NASTY: [(&str, &[&str]); 6] = [
    ("", &[""]),
    ("*", &["critical"]),
    (
        "*.*",
        &[
            ".",
            "log.critical",
            ".critical",
            "log.",
            "log.critical ",
            "log.*",
            "log.#",
            "Log.critical",
            "ログ.критично",
            "critical.critical",
        ],
    ),
    (
        "#.critical.#",
        &[
            "critical",
            "log.critical",
            "log.critical.",
            "log.critical.disk.full",
            ".critical",
            "log..critical",
            "Log.critical",
            "critical.critical",
        ],
    ),
    ("log.#.critical", &["log.critical", "log..critical"]),
    ("ログ.*", &["ログ.критично"]),
];

/// Whether [`matches`] agrees with [`NASTY`]; unknown when it does not.
pub fn is_sane() -> Outcome {
    for (pattern, all) in NASTY {
        let differs = |key: &&str| matches(pattern, key) != all.contains(key);
        if let Some(key) = NASTY_KEYS.into_iter().find(|key| differs(key)) {
            return Err(Stop::Unknown(format!(
                "the check's own oracle is wrong about pattern `{pattern}` and key `{key}`"
            )));
        }
    }
    Ok(())
}

/// Few words, so that many patterns match many keys. One is empty; `*` is a plain word in a
/// key.
const WORDS: [&str; 7] = ["log", "pr", "warning", "critical", "é", "", "*"];

/// A key of up to five words.
pub fn random_key(chance: &mut StdRng) -> String {
    let length = chance.random_range(0..=5);
    let word = |_| WORDS[chance.random_range(0..WORDS.len())];
    (0..length).map(word).collect::<Vec<_>>().join(".")
}

/// RabbitMQ since 4.3 refuses a binding key with more.
const MOST_HASHES: usize = 2;

/// A pattern of up to four words, about half of them wildcards.
pub fn random_pattern(chance: &mut StdRng) -> String {
    let length = chance.random_range(0..=4);
    let mut hashes = 0;
    let word = |_| match chance.random_range(0..4) {
        0 => "*",
        1 if hashes < MOST_HASHES => {
            hashes += 1;
            "#"
        }
        _ => WORDS[chance.random_range(0..WORDS.len())],
    };
    (0..length).map(word).collect::<Vec<_>>().join(".")
}
