//! Runs a body in a sandbox as often as another program of the kit asks, for a search and its like.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Result;
use broker::{Broker, NoBroker};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use process::pressure::Pressure;
use verdict::Verdict;

use super::{Package, Runs, find_broker, lock, one};
use crate::{Check, Span, Topic};

/// Sandboxes for the program of one package, on one broker.
pub struct Sandboxes {
    runs: Runs,
    /// The chapter.
    pub chapter: Chapter,
    /// Which of its trees is run.
    pub variant: Variant,
    _lock: std::fs::File,
}

impl std::fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandboxes")
            .field("dir", &self.dir())
            .finish()
    }
}

impl Sandboxes {
    /// Sandboxes in the folder `command` of the lab's data, with a broker if the chapter needs one.
    ///
    /// # Errors
    /// When the folder cannot be written, or another run goes on in it; when there is no broker.
    pub async fn open(
        package: Package,
        command: &str,
        (broker, hole_for): (bool, fn(Topic) -> u32),
        seed: u64,
        progress: &dyn Fn(&str),
    ) -> Result<Result<Self, NoBroker>> {
        let paths = Paths::find()?;
        let (chapter, variant) =
            Chapter::of_package(&paths.root, package.name, Path::new(package.folder));
        let dir = std::env::var_os("LAB_RUN_DIR").map_or_else(
            || paths.data().join(command).join(chapter.run_folder(variant)),
            PathBuf::from,
        );
        let lock = lock(&dir, &paths)?;
        let broker = match broker {
            true => match find_broker(&paths, progress).await {
                Ok(broker) => Some(Rc::new(broker)),
                Err(none) => return Ok(Err(none)),
            },
            false => None,
        };
        let pressure = Pressure::start(&dir);
        let runs = Runs {
            span: Span::watched(pressure.watch()),
            pressure,
            paths,
            dir,
            program: package.program(),
            number: chapter.number.clone(),
            seed,
            broker,
            hole_for,
            longest: package.longest,
        };
        Ok(Ok(Self {
            runs,
            chapter,
            variant,
            _lock: lock,
        }))
    }

    /// Where their files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.runs.dir
    }

    /// The folders of this clone.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.runs.paths
    }

    /// The program that is run.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.runs.program
    }

    /// The broker, where the chapter has one.
    #[must_use]
    pub fn broker(&self) -> Option<&Broker> {
        self.runs.broker.as_deref()
    }

    /// Runs this body once, as a check is run.
    pub async fn run(&self, body: Check) -> Verdict {
        let longest = self.runs.longest;
        one(self.runs.plan(&body), body, longest, longest).await
    }
}
