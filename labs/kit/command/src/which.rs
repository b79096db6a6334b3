//! Parses the chapter in a command line.

use anyhow::Result;
use course::chapter::Chapter;
use course::paths::Paths;

/// The chapter that a command is about, as a person names it.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// The chapter: 5, 05 or 05-fanout
    #[arg(value_name = "NN")]
    pub chapter: String,
}

impl Which {
    /// The chapter of that name.
    ///
    /// # Errors
    /// When none has that name: the list of chapters.
    pub fn resolve(&self, paths: &Paths) -> Result<Chapter> {
        Ok(Chapter::resolve(&paths.root, &self.chapter)?)
    }
}
