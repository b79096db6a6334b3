//! The two pages: one to step through a run that is over, one of a run that goes on.

use serde::Serialize;

const STYLE: &str = include_str!("../page/page.css");
const SCENE: &str = include_str!("../page/scene.js");
const MESSAGES: &str = include_str!("../page/messages.js");

const BOARD: &str = include_str!("../page/board.html");
const LIVE: &str = include_str!("../page/board.js");

/// The page of a run that goes on, which gets `story` as JSON. It asks the server that it comes from
/// for what happens.
#[must_use]
pub fn board(story: &impl Serialize) -> String {
    page(BOARD, &[LIVE], story)
}

/// A page with its style, what both pages have, its own scripts and its data.
pub(crate) fn page(html: &str, scripts: &[&str], data: &impl Serialize) -> String {
    let scripts = [&[SCENE, MESSAGES], scripts].concat().join("\n");
    // It never fails: JSON can express every story.
    let data = serde_json::to_string(data).unwrap_or_default();
    // The data comes last: no mark in it is taken for one of the page's.
    html.replace("/*STYLE*/", STYLE)
        .replace("/*SCRIPT*/", &scripts)
        .replace("/*STORY*/", &inert(&data))
}

/// JSON of the same meaning that ends no element of HTML, and no line of a script.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
