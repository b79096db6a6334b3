//! Lays out text in lines that fit a terminal.

use anstream::adapter::strip_str;

/// The columns of a terminal that all output fits.
pub const WIDTH: usize = 80;

/// How many columns a text takes; the lab prints no wide characters of its own.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// Breaks a text at spaces so that only a single word can be wider than `limit`. Spaces at the
/// text's beginning stay.
#[must_use]
pub fn wrap(text: &str, limit: usize) -> Vec<String> {
    let words = text.trim_start_matches(' ');
    let mut line = text[..text.len() - words.len()].to_owned();
    let mut lines = Vec::new();
    for (index, word) in words.split(' ').enumerate() {
        if index > 0 && width(&line) + 1 + width(word) > limit {
            lines.push(std::mem::take(&mut line));
        } else if index > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// `text` after `label`, wrapped to [`WIDTH`]; all its lines begin at `column`. The label may
/// be styled.
#[must_use]
pub fn labelled(label: &str, column: usize, text: &str) -> String {
    let paragraphs = text.lines().map(str::trim_end);
    let lines = paragraphs.flat_map(|paragraph| wrap(paragraph, WIDTH - column));
    let lines = lines.collect::<Vec<_>>().join(&format!("\n{:column$}", ""));
    let gap = column.saturating_sub(width(&strip_str(label).to_string()));
    format!("{label}{:gap$}{lines}", "")
}

#[cfg(test)]
mod tests {
    use super::{labelled, wrap};

    #[test]
    fn text_is_broken_at_spaces_and_loses_no_word() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("  one two three", 8), ["  one", "two", "three"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(
            wrap("a-word-that-is-too-long b", 8),
            ["a-word-that-is-too-long", "b"]
        );
    }

    #[test]
    fn all_lines_of_a_labelled_text_begin_at_one_column() {
        let styled = "\x1b[1mdo\x1b[0m";
        let text = labelled(styled, 72, "one two three\n  four");
        let begin = format!("\n{:72}", "");
        let expected = ["one two", "three", "  four"].join(&begin);
        assert_eq!(text, format!("{styled}{:70}{expected}", ""));
    }
}
