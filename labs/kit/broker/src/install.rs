//! Finds an installed RabbitMQ.

use std::env;
use std::path::{Path, PathBuf};

/// Where packages put the real server script. Debian's `/usr/sbin/rabbitmq-server` is a wrapper that
/// changes user or refuses, so PATH comes last.
const PLACES: [&str; 6] = [
    "/usr/lib/rabbitmq/bin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin",
    "/opt/rabbitmq/sbin",
    "/usr/local/lib/rabbitmq/bin",
];

/// An installed server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Install {
    pub script: PathBuf,
    /// Empty when no folder's name shows it.
    pub version: String,
}

/// The RabbitMQ that the lab would run, or why there is none.
pub(super) fn find() -> Result<Install, String> {
    let homes = env::var_os("RABBITMQ_HOME").map(|home| PathBuf::from(home).join("sbin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let script = homes
        .into_iter()
        .chain(PLACES.iter().map(PathBuf::from))
        .chain(env::split_paths(&path))
        .map(|dir| dir.join("rabbitmq-server"))
        .find(|script| script.is_file())
        .ok_or("rabbitmq-server is not installed")?;
    if !env::split_paths(&path).any(|dir| dir.join("erl").is_file()) {
        return Err(format!(
            "{} exists, but Erlang's `erl` is not on PATH",
            script.display()
        ));
    }
    let version = version(&script).unwrap_or_default();
    Ok(Install { script, version })
}

/// The version in the name of a folder. Starting the server to ask it takes seconds.
fn version(script: &Path) -> Option<String> {
    let bin = script.canonicalize().ok()?.parent()?.to_owned();
    let home = bin.parent()?;
    let folders = [home.join("lib"), home.join("plugins")];
    let entries = folders
        .iter()
        .filter_map(|dir| dir.read_dir().ok())
        .flatten();
    entries.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = name
            .strip_prefix("rabbitmq_server-")
            .or_else(|| name.strip_prefix("rabbit-"))?;
        let version = version.strip_suffix(".ez").unwrap_or(version);
        version
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| version.to_owned())
    })
}
