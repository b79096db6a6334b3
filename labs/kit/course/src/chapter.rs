//! Finds the chapters by their folders, `labs/NN-name`; nobody keeps a list.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// One chapter of the lab.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chapter {
    /// Its number, as in the folder's name: `02`.
    pub number: String,
    /// The folder's name: `02-single-queue`.
    pub name: String,
    /// The student's folder: `<root>/labs/02-single-queue`.
    pub lab: PathBuf,
    /// The solution's folder: `<root>/solutions/02-single-queue`. It may be absent.
    pub solution: PathBuf,
}

/// One of a chapter's two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The student's tree, with holes.
    Lab,
    /// The solution's tree.
    Solution,
}

/// Why a chapter was not found.
#[derive(Debug, Error)]
pub enum ChapterError {
    /// No folder has the name or number that was typed.
    #[error("{}", unknown(.wanted, .nearest.as_deref(), .known))]
    Unknown {
        /// What was typed.
        wanted: String,
        /// The chapter whose name is so near that a typing mistake is likely.
        nearest: Option<String>,
        /// The names of all chapters.
        known: Vec<String>,
    },
    /// The folders cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The chapter's README does not start with its title.
    #[error("{}: the first line must be `# {number} · Title`", path.display())]
    NoTitle {
        /// The README.
        path: PathBuf,
        /// The chapter's number.
        number: String,
    },
}

fn unknown(wanted: &str, nearest: Option<&str>, known: &[String]) -> String {
    let mut text = format!("there is no chapter `{wanted}`");
    match nearest {
        Some(name) => text += &format!(": did you mean {name}?"),
        None => text += ".",
    }
    if known.is_empty() {
        return text + " There is no folder `labs/NN-name` at all.";
    }
    text += " The chapters are:";
    for name in known {
        text += &format!("\n  {name}");
    }
    text
}

impl Chapter {
    /// All chapters under `root` (the workspace's folder), by number.
    ///
    /// # Errors
    /// When `root/labs` cannot be read.
    pub fn all(root: &Path) -> Result<Vec<Self>, ChapterError> {
        let labs = root.join("labs");
        let unreadable = |source| ChapterError::Unreadable {
            path: labs.clone(),
            source,
        };
        let mut chapters = Vec::new();
        for entry in fs::read_dir(&labs).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(number) = number_of(&name)
                && entry.path().is_dir()
            {
                chapters.push(Self {
                    number: number.to_owned(),
                    lab: entry.path(),
                    solution: root.join("solutions").join(&name),
                    name,
                });
            }
        }
        chapters.sort();
        Ok(chapters)
    }

    /// The chapter for `5`, `05` or `05-fanout`.
    ///
    /// # Errors
    /// [`ChapterError::Unknown`], which lists the chapters and the nearest name.
    pub fn resolve(root: &Path, wanted: &str) -> Result<Self, ChapterError> {
        let chapters = Self::all(root)?;
        // A shell completes folders with a slash, and a person may type `labs/` in front.
        let typed = wanted.trim().trim_end_matches('/');
        let typed = typed.strip_prefix("labs/").unwrap_or(typed);
        let found = chapters.iter().find(|chapter| {
            chapter.name == typed
                || typed.bytes().all(|b| b.is_ascii_digit())
                    && typed.parse::<u32>().is_ok_and(|n| n == chapter.ordinal())
        });
        if let Some(chapter) = found {
            return Ok(chapter.clone());
        }
        let known: Vec<String> = chapters.into_iter().map(|chapter| chapter.name).collect();
        Err(ChapterError::Unknown {
            wanted: wanted.to_owned(),
            nearest: nearest(typed, &known),
            known,
        })
    }

    /// Chapter and tree of the package called `lab-02` or `solution-02` in `folder`. A package
    /// outside the chapters counts as a chapter of its own.
    #[must_use]
    pub fn of_package(root: &Path, package: &str, folder: &Path) -> (Self, Variant) {
        let (tree, number) = package.split_once('-').unwrap_or(("lab", package));
        let name = folder.file_name().unwrap_or(folder.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let chapter = Self::resolve(root, &name).unwrap_or_else(|_| Self {
            number: number.to_owned(),
            name,
            lab: folder.to_owned(),
            solution: folder.to_owned(),
        });
        (chapter, Variant::from_flag(tree == "solution"))
    }

    /// The title, `Single queue`, from the first line of the chapter's README.
    ///
    /// # Errors
    /// When the README is missing, or its first line is not the title.
    pub fn title(&self) -> Result<String, ChapterError> {
        let path = self.readme();
        let text = fs::read_to_string(&path).map_err(|source| ChapterError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let title = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .and_then(|line| line.trim().strip_prefix(self.number.as_str()))
            .and_then(|line| line.trim().strip_prefix('·'))
            .map(|line| line.trim().to_owned())
            .filter(|title| !title.is_empty());
        title.ok_or_else(|| ChapterError::NoTitle {
            path,
            number: self.number.clone(),
        })
    }

    /// `02 · Single queue`; only the number if the README has no title.
    #[must_use]
    pub fn heading(&self) -> String {
        match self.title() {
            Ok(title) => format!("{} · {title}", self.number),
            Err(_) => self.number.clone(),
        }
    }

    /// The chapter's README.
    #[must_use]
    pub fn readme(&self) -> PathBuf {
        self.lab.join("README.md")
    }

    /// The folder of one of the two trees.
    #[must_use]
    pub fn folder(&self, variant: Variant) -> &Path {
        match variant {
            Variant::Lab => &self.lab,
            Variant::Solution => &self.solution,
        }
    }

    /// Cargo's name of the package: `lab-02` or `solution-02`.
    #[must_use]
    pub fn package(&self, variant: Variant) -> String {
        format!("{variant}-{}", self.number)
    }

    /// The name of the folder for runs under [`crate::paths::Paths::data`]: `02` or
    /// `solution-02`.
    #[must_use]
    pub fn run_folder(&self, variant: Variant) -> String {
        match variant {
            Variant::Lab => self.number.clone(),
            Variant::Solution => self.package(variant),
        }
    }

    /// The number as a number: `2`.
    fn ordinal(&self) -> u32 {
        // `number_of` accepts only digits, at most three.
        self.number.parse().unwrap_or_default()
    }
}

impl Variant {
    /// The one that a command with or without `--solution` means.
    #[must_use]
    pub fn from_flag(solution: bool) -> Self {
        match solution {
            true => Self::Solution,
            false => Self::Lab,
        }
    }

    /// What to add to a command for it: ` --solution`, or nothing.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Lab => "",
            Self::Solution => " --solution",
        }
    }

    /// As a heading begins: `Lab` or `Solution`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Lab => "Lab",
            Self::Solution => "Solution",
        }
    }
}

impl fmt::Display for Variant {
    /// As in commands: `lab` or `solution`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lab => "lab",
            Self::Solution => "solution",
        })
    }
}

/// `02` of `02-single-queue`; nothing when the folder is not a chapter's.
fn number_of(folder: &str) -> Option<&str> {
    let (number, rest) = folder.split_once('-')?;
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    (digits && (1..=3).contains(&number.len()) && !rest.is_empty()).then_some(number)
}

/// The name that differs least from `typed`; nothing when all differ too much.
fn nearest(typed: &str, known: &[String]) -> Option<String> {
    // A person who types a number means that number: the list helps more.
    if typed.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let distance = |name: &String| {
        let bare = name.split_once('-').map_or(name.as_str(), |(_, rest)| rest);
        edits(typed, name).min(edits(typed, bare))
    };
    known
        .iter()
        .map(|name| (distance(name), name))
        .min()
        // Three edits turn a name of three letters into any other.
        .filter(|(distance, _)| *distance <= 3 && *distance < typed.chars().count())
        .map(|(_, name)| name.clone())
}

/// The Levenshtein distance: how many letters to insert, delete or replace.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;

    fn clone_with(chapters: &[&str]) -> Scratch {
        let scratch = Scratch::new("chapter");
        for chapter in chapters {
            scratch.write(&format!("labs/{chapter}/Cargo.toml"), "");
        }
        scratch.write("labs/kit/course/Cargo.toml", "");
        scratch
    }

    #[test]
    fn the_folders_are_the_list() {
        let root = clone_with(&["05-fanout", "01-direct-http", "10-more"]);
        let names: Vec<String> = Chapter::all(root.path())
            .unwrap()
            .into_iter()
            .map(|chapter| chapter.name)
            .collect();
        assert_eq!(names, ["01-direct-http", "05-fanout", "10-more"]);
    }

    #[test]
    fn a_chapter_has_three_names() {
        let root = clone_with(&["01-direct-http", "05-fanout"]);
        for typed in ["5", "05", "05-fanout", "05-fanout/", "labs/05-fanout/"] {
            let chapter = Chapter::resolve(root.path(), typed).unwrap();
            assert_eq!(chapter.name, "05-fanout", "{typed}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_chapters_and_suggests_one() {
        let root = clone_with(&["01-direct-http", "05-fanout", "06-rpc"]);
        let error = |typed| {
            Chapter::resolve(root.path(), typed)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("5-fanuot"),
            "there is no chapter `5-fanuot`: did you mean 05-fanout? The chapters are:\n  \
             01-direct-http\n  05-fanout\n  06-rpc"
        );
        assert!(error("3x").starts_with("there is no chapter `3x`. The"));
        assert!(error("rcp").contains("did you mean 06-rpc?"));
        assert!(error("fanout").contains("did you mean 05-fanout?"));
        assert!(error("9").starts_with("there is no chapter `9`. The chapters are:"));
        assert!(!error("").contains("did you mean"));
        assert!(error("zebra").starts_with("there is no chapter `zebra`. The"));
    }

    #[test]
    fn the_title_is_the_first_line_of_the_readme() {
        let root = clone_with(&["05-fanout"]);
        let chapter = Chapter::resolve(root.path(), "5").unwrap();
        assert_eq!(chapter.heading(), "05");
        root.write("labs/05-fanout/README.md", "# 05 · Fan-out\n\nStory.\n");
        assert_eq!(chapter.title().unwrap(), "Fan-out");
        assert_eq!(chapter.heading(), "05 · Fan-out");
        root.write("labs/05-fanout/README.md", "# Fan-out\n");
        assert!(chapter.title().unwrap_err().to_string().contains("# 05 · "));
    }

    #[test]
    fn packages_and_folders_have_the_number() {
        let root = clone_with(&["05-fanout"]);
        let folder = Path::new("/x/solutions/05-fanout");
        let (chapter, variant) = Chapter::of_package(root.path(), "solution-05", folder);
        assert_eq!((&*chapter.name, variant), ("05-fanout", Variant::Solution));
        let (other, variant) = Chapter::of_package(root.path(), "lab-99", Path::new("/x/check"));
        assert_eq!((&*other.number, variant), ("99", Variant::Lab));
        assert_eq!(chapter.package(Variant::Lab), "lab-05");
        assert_eq!(chapter.package(Variant::Solution), "solution-05");
        assert_eq!(chapter.run_folder(Variant::Lab), "05");
        assert_eq!(chapter.run_folder(Variant::Solution), "solution-05");
        assert!(
            chapter
                .folder(Variant::Solution)
                .ends_with("solutions/05-fanout")
        );
    }
}
