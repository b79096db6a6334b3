//! The queue as a bar.

/// The bar's width in columns, and how many messages one column is.
const BAR: u64 = 52;
const STEP: u64 = 2;

/// So many messages, always in the same width.
pub fn bar(depth: u64) -> String {
    let full = depth.div_ceil(STEP);
    let shown = full.min(BAR);
    let mut bar = "█".repeat(usize::try_from(shown).unwrap_or_default());
    bar += &"░".repeat(usize::try_from(BAR - shown).unwrap_or_default());
    bar.push(if full > BAR { '▶' } else { ' ' });
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_always_the_same_width() {
        for depth in [0, 1, 2, 50, 104, 105, 100_000] {
            assert_eq!(bar(depth).chars().count(), 53, "{depth}");
        }
        assert!(bar(1).starts_with("█░") && bar(0).starts_with('░'));
        assert!(bar(104).ends_with("█ ") && bar(105).ends_with("█▶"));
    }
}
