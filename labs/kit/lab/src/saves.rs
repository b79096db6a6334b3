//! Waits until a chapter's sources are saved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{Config, Event, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A save is complete when nothing has changed for this long: an editor writes, renames and
/// sets the mode in several steps, and "save all" writes many files.
const QUIET: Duration = Duration::from_millis(120);

/// How often to look where the system reports no changes.
const POLL: Duration = Duration::from_secs(1);

/// The saves of one chapter's sources. None is lost between two calls.
pub struct Saves {
    changes: UnboundedReceiver<()>,
    // Watches until it is dropped.
    _watcher: Box<dyn Watcher>,
}

impl Saves {
    /// Watches the sources of the package in `folder`.
    ///
    /// The package's folder is watched, not the files: many editors save by writing a new
    /// file and renaming it over the old one, and `git` replaces whole folders.
    pub fn of(folder: &Path) -> Result<Self> {
        Self::by::<RecommendedWatcher>(folder, Config::default())
    }

    /// The same, but reads each file every second: for drives whose changes the system does
    /// not report, such as Windows' under WSL, or a network drive.
    pub fn polled(folder: &Path) -> Result<Self> {
        // This watcher sees file times in whole seconds, so it must compare contents.
        let config = Config::default()
            .with_poll_interval(POLL)
            .with_compare_contents(true);
        Self::by::<PollWatcher>(folder, config)
    }

    fn by<W: Watcher + 'static>(folder: &Path, config: Config) -> Result<Self> {
        // Events name files by their real path, also where the clone is behind a link.
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        let (sender, changes) = unbounded_channel();
        let sources = Sources(folder.clone());
        let tell = move |event: notify::Result<Event>| {
            // An error may mean lost events: check once too often rather than too rarely.
            if event.is_ok_and(|event| !sources.concerned_by(&event)) {
                return;
            }
            // The receiver is gone when the command ends.
            let _ = sender.send(());
        };
        let mut watcher = W::new(tell, config).context("cannot watch files")?;
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        Ok(Self {
            changes,
            _watcher: Box::new(watcher),
        })
    }

    /// Waits for a change since the last [`Saves::settle`]. May be dropped while waiting
    /// without losing one.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // The watcher lives as long as this value, so its sender does too.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the save is complete: whatever changed before is part of it.
    pub async fn settle(&mut self) {
        while tokio::time::timeout(QUIET, self.changes.recv())
            .await
            .is_ok()
        {}
    }
}

/// The package's folder.
struct Sources(PathBuf);

impl Sources {
    fn concerned_by(&self, event: &Event) -> bool {
        // A build reads the files; that is not a save.
        let read = matches!(event.kind, EventKind::Access(_));
        event.need_rescan() || !read && event.paths.iter().any(|path| self.has(path))
    }

    /// Whether `path` is a source, and not an editor's temporary file.
    fn has(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.0) else {
            return false;
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Vim tests whether it can write to a folder with a file called 4913.
        let temporary = name.starts_with(['.', '#'])
            || name.ends_with(['~', '#'])
            || name.bytes().all(|byte| byte.is_ascii_digit());
        (inside.starts_with("src") || inside == Path::new("Cargo.toml")) && !temporary
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_count_not_an_editors_temporary_files() {
        let sources = Sources(PathBuf::from("/x/labs/02-q"));
        let has = |path: &str| sources.has(&Path::new("/x/labs/02-q").join(path));
        for path in ["src/main.rs", "src/deep/a.rs", "src", "Cargo.toml"] {
            assert!(has(path), "{path}");
        }
        for path in [
            "src/.main.rs.swp",
            "src/main.rs~",
            "src/4913",
            "src/#main.rs#",
            "tests/checks.rs",
            "/elsewhere/src/main.rs",
        ] {
            assert!(!has(path), "{path}");
        }
    }

    #[test]
    fn a_polled_save_is_noticed() {
        let dir = std::env::temp_dir().join(format!("lab-polled-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("src")).unwrap();
        std::fs::write(dir.join("src/main.rs"), "a").unwrap();
        actix_web::rt::System::new().block_on(async {
            let mut saves = Saves::polled(&dir).unwrap();
            for content in ["b", "c"] {
                std::fs::write(dir.join("src/main.rs"), content).unwrap();
                let soon = tokio::time::timeout(5 * POLL, saves.changed());
                soon.await.unwrap();
                saves.settle().await;
            }
        });
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_rename_over_the_file_is_a_save_and_none_is_lost() {
        let dir = std::env::temp_dir().join(format!("lab-saves-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("src")).unwrap();
        std::fs::write(dir.join("src/main.rs"), "a").unwrap();
        let soon = Duration::from_secs(5);
        actix_web::rt::System::new().block_on(async {
            let mut saves = Saves::of(&dir).unwrap();
            std::fs::write(dir.join("src/.new"), "b").unwrap();
            std::fs::rename(dir.join("src/.new"), dir.join("src/main.rs")).unwrap();
            tokio::time::timeout(soon, saves.changed()).await.unwrap();
            saves.settle().await;
            // Dropped while it waits, as `select!` does.
            let nothing = tokio::time::timeout(QUIET, saves.changed()).await;
            assert!(nothing.is_err());
            std::fs::write(dir.join("src/main.rs"), "c").unwrap();
            tokio::time::timeout(soon, saves.changed()).await.unwrap();
        });
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
