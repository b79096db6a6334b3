//! The mail shot: one message to each customer, under a key made of the postcode.

use crate::message::Message;

/// Our customers and their postcodes, around Preston (PR) and Manchester (M).
const CUSTOMERS: [(&str, &str); 6] = [
    ("Ada", "PR1 2HE"),
    ("Grace", "PR1 8BU"),
    ("Edsger", "PR2 8DY"),
    ("Barbara", "PR25 1DH"),
    ("Alan", "M13 9PL"),
    ("Tom", "M1 7JA"),
];

/// One message to each customer.
pub fn to_all(text: &str) -> Vec<Message> {
    let to = |(name, postcode)| Message::new(key(postcode).into(), format!("{name}: {text}"));
    CUSTOMERS.map(to).into()
}

/// The key of a postcode, the most general word first: `PR1 2HE` is `pr.1.2he`. So `pr.#`
/// is all of Preston, and `pr.1.*` one district of it.
fn key(postcode: &str) -> String {
    // HOLE 4: put a dot between area, district and the rest, all in lower case.
    let postcode = postcode.to_lowercase();
    let digit = postcode.find(|sign: char| sign.is_ascii_digit());
    let (area, rest) = postcode.split_at(digit.unwrap_or(postcode.len()));
    format!("{area}.{}", rest.replace(' ', "."))
    // END HOLE 4
}
