//! The space-time diagram: lanes from left to right, time downwards.

mod layout;
mod style;

use std::fmt::{Display, Write};

use crate::depth::Depth;
use crate::story::{Arrow, Change, Kind, Lane, Row, Sort, Story, What};
use crate::{Caption, cut};
use layout::{Layout, Placed};

/// The most characters of a row's tip.
const LONGEST_TIP: usize = 700;

/// The width of a letter.
const LETTER: i32 = 7;

/// A story as an SVG document of at most 300 KB.
#[must_use]
pub fn svg(story: &Story, caption: &Caption) -> String {
    let rows = caption.rows(story);
    let layout = Layout::of(story, caption, rows);
    let mut page = Page(String::new());
    page.open(&layout, caption);
    page.header(&layout);
    for placed in layout.rows.iter().filter(|placed| placed.told) {
        page.band("told", &layout, placed.y);
    }
    page.lane_lines(story, &layout);
    for placed in &layout.rows {
        page.row(&layout, placed);
    }
    page.verdict(&layout);
    page.legend(&layout);
    page.0.push_str("</svg>\n");
    page.0
}

struct Page(String);

impl Page {
    fn add(&mut self, text: impl Display) {
        // Writing to a string never fails.
        let _ = writeln!(self.0, "{text}");
    }

    fn open(&mut self, layout: &Layout, caption: &Caption) {
        let (width, height) = (layout.width, layout.height);
        self.add(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title">"#
        ));
        self.add(format_args!(
            r#"<title id="title">{}: {}</title>"#,
            escaped(&caption.place),
            escaped(&caption.says)
        ));
        self.add(style::STYLE);
        self.add(format_args!(
            r#"<rect class="page" width="{width}" height="{height}"/>"#
        ));
    }

    fn text(&mut self, class: &str, (x, y): (i32, i32), text: &str) {
        self.add(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#,
            escaped(text)
        ));
    }

    fn line(&mut self, class: &str, (x1, y1): (i32, i32), (x2, y2): (i32, i32)) {
        self.add(format_args!(
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    fn header(&mut self, layout: &Layout) {
        for (y, class, text) in &layout.header {
            self.text(class, (layout::EDGE, *y), text);
        }
        for (number, lane) in layout.lanes.iter().enumerate() {
            let x = layout.x(number);
            let (name, kind) = heading(lane);
            let room = usize::try_from(layout.gap / LETTER).unwrap_or_default();
            self.add(format_args!(
                r#"<g class="head"><title>{} {}</title>"#,
                kind,
                escaped(&lane.name)
            ));
            self.text("name", (x, layout.top - 22), &cut(&name, room));
            self.text("kind", (x, layout.top - 9), kind);
            self.add("</g>");
        }
    }

    /// The line of each lane: solid while it lives, thick while it is frozen, dotted when it is gone.
    fn lane_lines(&mut self, story: &Story, layout: &Layout) {
        for (number, lane) in story.lanes.iter().enumerate() {
            let x = layout.x(number);
            let mut since = layout.top;
            let mut class = match lane.kind {
                Kind::Service => "life gone",
                Kind::Check | Kind::Exchange | Kind::Queue => "life",
            };
            // A service whose start the journal does not have was there before.
            if !layout.rows.iter().any(|placed| starts(&placed.row, number)) {
                class = "life";
            }
            for placed in &layout.rows {
                let Some(change) = change_of(&placed.row, number, lane.kind) else {
                    continue;
                };
                self.line(class, (x, since), (x, placed.y));
                (since, class) = match change {
                    Change::Runs => (placed.y, "life"),
                    Change::Frozen => (placed.y, "life frozen"),
                    Change::Left | Change::Ended => (placed.y, "life gone"),
                    Change::Told => (placed.y, class),
                };
            }
            self.line(class, (x, since), (x, layout.bottom));
        }
    }

    fn row(&mut self, layout: &Layout, placed: &Placed) {
        let Placed { row, y, told, gap } = placed;
        if let Some(gap) = gap {
            self.text("gap", (layout::EDGE, y - 19), &format!("{gap} later"));
        }
        let class = match (layout.dims, told) {
            (true, false) => "row dim",
            (_, true) => "row told",
            _ => "row",
        };
        self.add(format_args!(
            r#"<g class="{class}"><title>{}</title>"#,
            tip(row)
        ));
        self.band("band", layout, *y);
        self.text("time", (layout::EDGE, *y + 3), &format!("{:.3}", row.t));
        match &row.what {
            What::Arrow(arrow) => self.arrow(layout, arrow, &row.text, *y),
            What::Change(lane, change) => self.change(layout, (*lane, *change), &row.text, *y),
            What::Link(lane, whole) => {
                let x = layout.x(*lane);
                let class = if *whole { "link whole" } else { "link" };
                self.add(format_args!(
                    r#"<path class="{class}" d="M{} {y}l6 -6 6 6 -6 6z"/>"#,
                    x - 6
                ));
                self.beside(layout, x, *y, &row.text);
            }
            What::Note => self.line_of_text(layout, "note", *y, &row.text),
            What::Folded => self.line_of_text(layout, "folded", *y, &row.text),
        }
        for (lane, depth) in &row.depths {
            self.depth(layout.x(*lane), *y, *depth);
        }
        self.add("</g>");
    }

    fn band(&mut self, class: &str, layout: &Layout, y: i32) {
        let (left, top) = (layout::EDGE / 2, y - 13);
        let width = layout.width - layout::EDGE;
        self.add(format_args!(
            r#"<rect class="{class}" x="{left}" y="{top}" width="{width}" height="20"/>"#
        ));
    }

    fn line_of_text(&mut self, layout: &Layout, class: &str, y: i32, text: &str) {
        let x = layout.x(0) - 4;
        let room = usize::try_from((layout.width - x) / LETTER).unwrap_or_default();
        self.text(class, (x, y + 3), &cut(text, room));
    }

    fn arrow(&mut self, layout: &Layout, arrow: &Arrow, text: &str, y: i32) {
        let (from, to) = (layout.x(arrow.from), layout.x(arrow.to));
        let class = sort(arrow.sort);
        let forward = if to >= from { 1 } else { -1 };
        self.line(&format!("arrow {class}"), (from, y), (to - 7 * forward, y));
        match arrow.sort {
            _ if arrow.lost => self.cross(to, y),
            Sort::Reject | Sort::Refusal => self.cross(to - 8 * forward, y),
            Sort::Confirm | Sort::Ack | Sort::Response | Sort::Setup => {
                self.head(&format!("open {class}"), to, y, forward);
            }
            _ => self.head(&format!("tip {class}"), to, y, forward),
        }
        for &queue in &arrow.routed {
            let x = layout.x(queue);
            let on = if x >= to { 1 } else { -1 };
            // Back below the arrow, if it goes back.
            let y = if on == forward { y } else { y + 6 };
            self.line(&format!("arrow route {class}"), (to, y), (x - 7 * on, y));
            self.head(&format!("tip {class}"), x, y, on);
        }
        // Beside its beginning, in the first space between two lanes.
        let half = i32::try_from(text.chars().count()).unwrap_or_default() * LETTER / 2;
        let most = (layout.width - half).max(half);
        let x = (from + forward * layout.gap / 2).clamp(half, most);
        self.text("label", (x, y - 4), text);
    }

    fn head(&mut self, class: &str, x: i32, y: i32, forward: i32) {
        let back = x - 8 * forward;
        let (above, below) = (y - 4, y + 4);
        self.add(format_args!(
            r#"<path class="{class}" d="M{back} {above}L{x} {y}L{back} {below}"/>"#
        ));
    }

    fn cross(&mut self, x: i32, y: i32) {
        let (left, above) = (x - 5, y - 5);
        self.add(format_args!(
            r#"<path class="cross" d="M{left} {above}l10 10m0 -10l-10 10"/>"#
        ));
    }

    /// A bar across the lanes that change.
    fn change(
        &mut self,
        layout: &Layout,
        (lane, change): (Option<usize>, Change),
        text: &str,
        y: i32,
    ) {
        let lanes: Vec<_> = match lane {
            Some(lane) => vec![lane],
            None => layout.broker_lanes(),
        };
        let xs = lanes.iter().map(|lane| layout.x(*lane));
        let (Some(first), Some(last)) = (xs.clone().min(), xs.max()) else {
            return self.text("note", (layout.x(0), y + 3), text);
        };
        let class = match change {
            Change::Ended => "bar ended",
            Change::Frozen => "bar halted",
            Change::Runs | Change::Left | Change::Told => "bar",
        };
        self.add(format_args!(
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="6" rx="2"/>"#,
            first - 16,
            y - 3,
            last - first + 32
        ));
        if change == Change::Ended {
            self.cross(first, y);
        }
        self.beside(layout, last, y, text);
    }

    /// A text beside a lane, on the side where there is room.
    fn beside(&mut self, layout: &Layout, x: i32, y: i32, text: &str) {
        let wide = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 8) * LETTER;
        if x + 20 + wide > layout.width {
            return self.text("label end", (x - 20, y + 4), text);
        }
        self.text("label start", (x + 20, y + 4), text);
    }

    fn depth(&mut self, x: i32, y: i32, depth: Depth) {
        let Depth { ready, unacked } = depth;
        self.add(format_args!(
            r#"<text class="depth" x="{}" y="{}">■{ready} □{unacked}</text>"#,
            x - 5,
            y + 11
        ));
    }

    /// What was observed, beside the last row that the verdict names.
    fn verdict(&mut self, layout: &Layout) {
        let Some((y, lines)) = &layout.verdict else {
            return;
        };
        let height = layout::LINE * i32::try_from(lines.len()).unwrap_or_default() + 10;
        self.add(format_args!(
            r#"<rect class="verdict" x="{}" y="{}" width="{}" height="{height}" rx="4"/>"#,
            layout::EDGE,
            y - 4,
            layout.width - 2 * layout::EDGE
        ));
        let mut y = *y + 10;
        for line in lines {
            self.text("observed", (layout::EDGE + 8, y), line);
            y += layout::LINE;
        }
    }

    fn legend(&mut self, layout: &Layout) {
        let mut x = layout::EDGE;
        let y = layout.bottom + 26;
        for (sort, says) in layout.legend() {
            let class = self::sort(sort);
            self.line(&format!("arrow {class}"), (x, y), (x + 26, y));
            match sort {
                Sort::Reject | Sort::Refusal => self.cross(x + 24, y),
                Sort::Confirm | Sort::Ack | Sort::Response | Sort::Setup => {
                    self.head(&format!("open {class}"), x + 32, y, 1);
                }
                _ => self.head(&format!("tip {class}"), x + 32, y, 1),
            }
            self.text("key", (x + 38, y + 4), says);
            x += 52 + LETTER * i32::try_from(says.chars().count()).unwrap_or_default();
        }
        if layout.lanes.iter().any(|lane| lane.kind == Kind::Queue) {
            self.text("key", (x, y + 4), "■ ready □ unacked");
        }
    }
}

/// What happens to this lane in this row.
fn change_of(row: &Row, number: usize, kind: Kind) -> Option<Change> {
    match row.what {
        What::Change(Some(lane), change) if lane == number => Some(change),
        What::Change(None, change) if matches!(kind, Kind::Exchange | Kind::Queue) => Some(change),
        _ => None,
    }
}

fn starts(row: &Row, number: usize) -> bool {
    matches!(row.what, What::Change(Some(lane), Change::Runs) if lane == number)
}

fn heading(lane: &Lane) -> (String, &'static str) {
    match lane.kind {
        Kind::Check => ("the check".to_owned(), ""),
        Kind::Service => (lane.name.clone(), "service"),
        Kind::Exchange if lane.name.is_empty() => ("(default)".to_owned(), "exchange"),
        Kind::Exchange => (lane.name.clone(), "exchange"),
        Kind::Queue => (lane.name.clone(), "queue"),
    }
}

/// The class of an arrow of this sort.
fn sort(sort: Sort) -> &'static str {
    match sort {
        Sort::Setup => "setup",
        Sort::Publish | Sort::Request => "publish",
        Sort::Confirm | Sort::Response => "confirm",
        Sort::Deliver => "deliver",
        Sort::Redeliver => "redeliver",
        Sort::Ack => "ack",
        Sort::Reject | Sort::Refusal => "refusal",
    }
}

fn tip(row: &Row) -> String {
    escaped(&cut(&row.tip, LONGEST_TIP))
}

/// For XML, which has no place for most control characters.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
