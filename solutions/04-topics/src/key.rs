//! Routing keys, binding keys and queue names: AMQP sends them as *short strings*.

use lapin::types::ShortString;

/// Reads one from the command line. It may be empty; AMQP allows at most 255 bytes.
pub fn parse(text: &str) -> Result<ShortString, String> {
    // Not `text.into()`, which panics on a longer text.
    ShortString::try_new(text)
        .map_err(|_| format!("it has {} bytes, and at most 255 are allowed", text.len()))
}
