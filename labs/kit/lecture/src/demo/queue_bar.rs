//! Draws the queue as a bar of constant width.

/// The bar's width in columns.
const COLUMNS: u64 = 52;
/// How many messages a column stands for.
const STEP: u64 = 2;

/// A bar for `depth` messages; `▶` at its end means more.
pub fn draw_bar(depth: u64) -> String {
    let full = depth.div_ceil(STEP);
    let shown = full.min(COLUMNS);
    let mut bar = "█".repeat(usize::try_from(shown).unwrap_or_default());
    bar += &"░".repeat(usize::try_from(COLUMNS - shown).unwrap_or_default());
    bar.push(if full > COLUMNS { '▶' } else { ' ' });
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_always_has_the_same_width() {
        for depth in [0, 1, 2, 50, 104, 105, 100_000] {
            assert_eq!(draw_bar(depth).chars().count(), 53, "{depth}");
        }
        assert!(draw_bar(1).starts_with("█░") && draw_bar(0).starts_with('░'));
        assert!(draw_bar(104).ends_with("█ ") && draw_bar(105).ends_with("█▶"));
    }
}
