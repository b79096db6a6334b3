//! What a topic exchange should do, written down independently of any broker.

use check::{Outcome, Stop};
use rand::RngExt;
use rand::rngs::StdRng;

/// Whether a binding with this pattern matches this key: `*` is exactly one word, `#` any
/// number of them. The empty text has no words; between two dots there is an empty one.
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

/// Patterns, and which of these keys each of them matches, for the cases in which it is easy to
/// be wrong.
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
/// See [`NASTY_KEYS`].
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

/// Whether the oracle itself agrees with the table above.
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

/// A few words, so that many keys and patterns meet. One is empty; two look like wildcards
/// and are none in a key.
const WORDS: [&str; 7] = ["log", "pr", "warning", "critical", "é", "", "*"];

/// A key of no to five words.
pub fn random_key(chance: &mut StdRng) -> String {
    let length = chance.random_range(0..=5);
    let word = |_| WORDS[chance.random_range(0..WORDS.len())];
    (0..length).map(word).collect::<Vec<_>>().join(".")
}

/// A pattern of no to four words, half of them wildcards.
pub fn random_pattern(chance: &mut StdRng) -> String {
    let length = chance.random_range(0..=4);
    let word = |_| match chance.random_range(0..4) {
        0 => "*",
        1 => "#",
        _ => WORDS[chance.random_range(0..WORDS.len())],
    };
    (0..length).map(word).collect::<Vec<_>>().join(".")
}
