//! A run that goes on ends as the same run told afterwards, in whatever portions it was heard.
#![allow(clippy::unwrap_used)] // a test that panics has failed

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use course::paths::Paths;
use view::{Bond, Depth, Kind, Live, Story, Update, What, story};
use wiretap::journal;

/// The journals of recorded runs.
fn recorded() -> Vec<PathBuf> {
    let folder = Paths::find().unwrap().root.join("slides/recorded");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let journals: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|ext| ext == "jsonl"))
        .collect();
    assert!(journals.len() > 10);
    journals
}

/// What stands at the end: depths by queue, and ties by what they join.
type End = (
    BTreeMap<String, Depth>,
    BTreeMap<(String, String, String), u32>,
);

fn end_of_story(story: &Story) -> End {
    let name = |lane: usize| story.lanes[lane].name.clone();
    let mut depths = BTreeMap::new();
    let mut ties: BTreeMap<_, u32> = BTreeMap::new();
    for row in &story.rows {
        depths.extend(row.depths.iter().map(|(lane, depth)| (name(*lane), *depth)));
        for tie in row.ties.iter().filter(|tie| tie.bond != Bond::Exists) {
            let count = ties
                .entry((name(tie.from), name(tie.to), tie.key.clone()))
                .or_default();
            *count = if tie.holds { *count + 1 } else { *count - 1 };
        }
    }
    depths.retain(|_, depth| *depth != Depth::default());
    ties.retain(|_, count| *count > 0);
    (depths, ties)
}

fn end_of_live(update: &Update, shown: &BTreeSet<String>) -> End {
    let name = |lane: usize| update.lanes[lane].name.clone();
    let queues = update.lanes.iter().zip(&update.parts);
    let queues = queues.filter(|(lane, _)| lane.kind == Kind::Queue);
    let depths = queues.map(|(lane, part)| {
        let (ready, unacked) = (part.ready, part.unacked);
        (lane.name.clone(), Depth { ready, unacked })
    });
    let ties = update.ties.iter().filter(|tie| tie.bond != "publisher");
    let ties = ties.map(|tie| ((name(tie.from), name(tie.to), tie.key.clone()), tie.count));
    let ties = ties.filter(|((from, to, _), _)| shown.contains(from) && shown.contains(to));
    let depths = depths.filter(|(_, depth)| *depth != Depth::default());
    (depths.collect(), ties.collect())
}

#[test]
fn heard_in_portions_a_run_ends_as_it_is_told() {
    for journal in recorded() {
        let entries = journal::read(&journal).unwrap().entries;
        let told = story(&entries);
        let shown = told.lanes.iter().map(|lane| lane.name.clone()).collect();
        // Where an administrator made the exchanges, only what comes later tells where a message went.
        let hidden = told
            .rows
            .iter()
            .any(|row| row.text.contains("bound to exchange"));
        for portion in [1, 7, 10_000] {
            let mut live = Live::new(None);
            let mut update = Update::default();
            for entries in entries.chunks(portion) {
                update = live.hear(entries.last().unwrap().t, entries.to_vec());
            }
            let place = format!("{}, {portion} at a time", journal.display());
            let (live, story) = (end_of_live(&update, &shown), end_of_story(&told));
            assert_eq!(live.1, story.1, "ties of {place}");
            if !hidden {
                assert_eq!(live.0, story.0, "depths of {place}");
            }
        }
    }
}

#[test]
fn every_message_counts_and_a_sample_is_told() {
    let mut journals = recorded().into_iter();
    let journal = journals
        .find(|file| file.ends_with("05-killed.jsonl"))
        .unwrap();
    let entries = journal::read(&journal).unwrap().entries;
    let publishes = story(&entries)
        .rows
        .iter()
        .filter(|row| matches!(&row.what, What::Arrow(arrow) if arrow.sort == view::Sort::Publish))
        .count();
    let many: Vec<_> = (0..100).flat_map(|_| entries.clone()).collect();
    let mut live = Live::new(None);
    let update = live.hear(1.0, many);
    assert_eq!(update.published, 100 * publishes as u64);
    assert!(update.passed > 100 * publishes);
    assert!(update.rows.len() <= 12 && update.messages.len() <= 100);
    // One that is opened late sees the same.
    let late = live.whole();
    assert_eq!(
        (late.published, late.parts, late.ties),
        (update.published, update.parts, update.ties)
    );
    let id = &update.messages.last().unwrap().id;
    assert!(live.life(id).iter().all(|row| !row.ids.is_empty()));
    assert!(!live.life(id).is_empty());
    assert!(live.life("no such id").is_empty());
}
