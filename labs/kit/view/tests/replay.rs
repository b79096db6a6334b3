//! The page to step through a run, as a file: what a browser does with it, `replay.test.mjs` tries.
#![allow(clippy::unwrap_used)] // a test that panics has failed

use serde_json::Value;
use view::{Caption, Kind, Lane, Row, Story, What, replay};
use wiretap::Ending;

const HOSTILE: &str = "</script><img src=x onerror=alert(1)><!--\u{2028}";

fn note(text: &str) -> Row {
    Row::new(What::Note, text)
}

fn page(rows: Vec<Row>) -> String {
    let caption = Caption {
        place: HOSTILE.to_owned(),
        says: HOSTILE.to_owned(),
        ending: Some(Ending::Failed {
            expected: HOSTILE.to_owned(),
            observed: "at 2.000 s".to_owned(),
        }),
    };
    let lane = Lane {
        kind: Kind::Queue,
        name: HOSTILE.to_owned(),
        gets: false,
    };
    let lanes = vec![lane];
    replay(&Story { lanes, rows }, &caption)
}

/// What stands in the page's element for data.
fn data(page: &str) -> &str {
    let (_, rest) = page.split_once(r#"id="story">"#).unwrap();
    rest.split_once("</script>").unwrap().0
}

#[test]
fn nothing_in_the_data_ends_its_element() {
    let page = page(vec![note(HOSTILE)]);
    assert!(!data(&page).contains(['<', '\u{2028}']));
    let story: Value = serde_json::from_str(data(&page)).unwrap();
    assert_eq!(story["rows"][0]["text"], HOSTILE);
    assert_eq!(story["lanes"][0]["name"], HOSTILE);
    assert_eq!(story["verdict"][0][1], HOSTILE);
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script").count(), 2);
}

#[test]
fn the_rows_that_the_verdict_names_are_marked() {
    let mut rows = vec![note("one"), note("two"), note("three")];
    (rows[1].t, rows[1].until) = (2.0, 2.0);
    let page = page(rows);
    let story: Value = serde_json::from_str(data(&page)).unwrap();
    assert_eq!(story["rows"][0]["told"], false);
    assert_eq!(story["rows"][1]["told"], true);
    assert_eq!(story["moment"], 1);
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut rows: Vec<_> = (0..5000).map(|_| note(&"x".repeat(1500))).collect();
    (rows[2500].t, rows[2500].until) = (2.0, 2.0);
    let page = page(rows);
    assert!(page.len() < 2_100_000, "{} bytes", page.len());
    let story: Value = serde_json::from_str(data(&page)).unwrap();
    assert_eq!(story["of"], 5000);
    let shown = story["rows"].as_array().unwrap();
    let summaries = shown.iter().filter(|row| row["what"] == "folded").count();
    let left_out = usize::try_from(story["left_out"].as_u64().unwrap()).unwrap();
    assert_eq!(shown.len() - summaries + left_out, 5000);
    // The verdict's own row is in the middle, and stays.
    assert!(shown.iter().any(|row| row["told"] == true));
}

#[test]
fn a_long_text_says_how_much_is_missing() {
    let page = page(vec![note(&"x".repeat(2100))]);
    assert!(page.contains("(100 characters more are in the journal)"));
}
