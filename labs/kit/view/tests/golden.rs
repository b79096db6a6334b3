//! The pictures in the chapters and decks, from the journals that were recorded with them
//! (`just slides --record`): no picture is stale. With `LAB_REDRAW` set, they are drawn again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use view::{Caption, story, svg};
use wiretap::Ending;
use wiretap::journal::{self, Recorded};

/// The most bytes of a picture.
const MOST: usize = 300_000;

fn journals() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../slides/recorded");
    let files = fs::read_dir(folder)?.map(|file| Ok(file?.path()));
    let files = files.collect::<Result<Vec<_>>>()?;
    let journals = files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "jsonl"));
    Ok(journals.collect())
}

fn drawn(recorded: &Recorded) -> String {
    let caption = Caption::of(&recorded.head, &recorded.entries);
    svg(&story(&recorded.entries), &caption)
}

#[test]
fn each_picture_is_that_of_its_journal() -> Result<()> {
    for file in journals()? {
        let recorded = journal::read(&file)?;
        ensure!(
            recorded.unread.is_empty(),
            "{}: {:?}",
            file.display(),
            recorded.unread
        );
        let picture = file.with_extension("svg");
        if std::env::var_os("LAB_REDRAW").is_some() {
            fs::write(&picture, drawn(&recorded))?;
        }
        let kept = fs::read_to_string(&picture).with_context(|| picture.display().to_string())?;
        ensure!(
            kept == drawn(&recorded),
            "{} is stale: LAB_REDRAW=1 cargo test -p view --test golden",
            picture.display(),
        );
        ensure!(
            kept.len() <= MOST,
            "{} has {} bytes",
            picture.display(),
            kept.len()
        );
    }
    Ok(())
}

#[test]
fn each_chapter_has_a_picture_that_passes_and_one_that_fails() -> Result<()> {
    let mut seen = BTreeSet::new();
    for file in journals()? {
        let recorded = journal::read(&file)?;
        let caption = Caption::of(&recorded.head, &recorded.entries);
        let fails = matches!(caption.ending, Some(Ending::Failed { .. }));
        seen.insert((recorded.head.chapter, fails));
    }
    let chapters = ["01", "02", "03", "04", "05", "06", "07"];
    let wanted = chapters
        .iter()
        .flat_map(|chapter| [false, true].map(|fails| (*chapter, fails)));
    let missing: Vec<_> = wanted
        .filter(|(chapter, fails)| !seen.contains(&((*chapter).to_owned(), *fails)))
        .collect();
    ensure!(
        missing.is_empty(),
        "no picture of (chapter, fails): {missing:?}"
    );
    Ok(())
}
