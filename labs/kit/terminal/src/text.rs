//! Text broken into lines.

/// The columns of a terminal that all output fits.
pub const WIDTH: usize = 80;

/// How many columns a text takes; the lab prints no wide characters of its own.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// Breaks a text at spaces so that no line is wider than `limit`, words longer than that apart.
#[must_use]
pub fn wrap(text: &str, limit: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| width(line));
        if line > 0 && line + 1 + width(word) > limit {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn text_is_broken_at_spaces_and_loses_no_word() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(
            wrap("a-word-that-is-too-long b", 8),
            ["a-word-that-is-too-long", "b"]
        );
    }
}
