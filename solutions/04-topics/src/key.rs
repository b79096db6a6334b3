//! Routing keys, binding keys and queue names: AMQP sends them as *short strings*.

use lapin::types::ShortString;

/// Reads one from the command line. It may be empty.
pub fn parse(text: &str) -> Result<ShortString, String> {
    // HOLE 5: a short string has at most 255 bytes; a longer one is an error, not a panic.
    ShortString::try_new(text)
        .map_err(|_| format!("it has {} bytes, and at most 255 are allowed", text.len()))
    // END HOLE 5
}
