//! Parsers of values on a command line, for clap's `value_parser`.

/// The highest rate, in messages a second: tokio's clock has steps of a millisecond.
pub const HIGHEST_RATE: f64 = 1000.0;

/// Reads a rate, from one message in 1,000 seconds to 1,000 a second.
///
/// # Errors
/// When the text is not such a number; the error says what it should be.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=HIGHEST_RATE).contains(&rate) => Ok(rate),
        _ => Err("it should be a number from 0.001 to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_that_a_clock_can_keep() {
        for right in ["0.001", "1", "2.5", "1000"] {
            assert!(rate(right).is_ok(), "{right}");
        }
        for wrong in ["", "0", "-1", "1001", "NaN", "inf", "often"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
