//! Makes the passwords in `compose/.env` that the compose files use, once, and keeps them.
//!
//! Compose reads the file by itself, also when a person calls it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use course::paths::Paths;
use rand::RngExt;

/// The password of the broker that a chapter's compose file starts, for user `lab`.
pub const BROKER_PASSWORD: &str = "LAB_BROKER_PASSWORD";

/// Gives each of `names` a value in `compose/.env`, 128 random bits, unless it has one. Only
/// this user may read the file.
///
/// # Errors
/// When the file cannot be read or written.
pub fn ensure(paths: &Paths, names: &[&str]) -> Result<PathBuf> {
    let file = paths.root.join("compose/.env");
    complete(&file, names).with_context(|| format!("cannot write {}", paths.short(&file)))?;
    Ok(file)
}

fn complete(file: &Path, names: &[&str]) -> std::io::Result<()> {
    let mut text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "# Generated; not in git; only its owner may read it.\n".to_owned()
        }
        Err(error) => return Err(error),
    };
    let before = text.clone();
    for name in names {
        if !has(&text, name) {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text += &format!("{name}={:032x}\n", rand::rng().random::<u128>());
        }
    }
    if text == before {
        return Ok(());
    }
    write(file, &text)
}

/// Writes a file of passwords, which only this user may read.
///
/// # Errors
/// When it cannot be written.
pub fn write(file: &Path, text: &str) -> std::io::Result<()> {
    // A file beside it, then renamed: two writers at once leave one whole file.
    let new = file.with_extension(format!("new-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    written.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

fn has(text: &str, name: &str) -> bool {
    let values = text.lines().filter_map(|line| line.split_once('='));
    let mut values = values.map(|(key, value)| (key.trim(), value.trim()));
    values.any(|(key, value)| key == name && !value.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn passwords_are_made_once_and_nobody_else_can_read_them() {
        let scratch = Scratch::new("credentials");
        let file = scratch.path().join(".env");
        complete(&file, &["A"]).unwrap();
        let first = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{first}MINE=x")).unwrap();
        complete(&file, &["A", "B"]).unwrap();
        let both = fs::read_to_string(&file).unwrap();
        assert!(both.starts_with(&format!("{first}MINE=x\nB=")), "{both}");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let value = |name| {
            let found = both.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap().to_owned()
        };
        assert_eq!(value("A=").len(), 32);
        assert_ne!(value("A="), value("B="));
    }
}
