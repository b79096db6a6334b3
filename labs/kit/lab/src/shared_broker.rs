//! Lets `just run NN ROLE` use the broker of `just run NN` in another terminal.
//!
//! Where only that terminal has `AMQP_URL`, the run writes the broker to a file that only its
//! owner may read, and that counts while the run holds it locked.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anstream::eprintln;
use anyhow::{Context, Result};
use broker::{Address, Broker, Origin};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use serde::{Deserialize, Serialize};

use terminal::DIM;
use terminal::trouble;

/// In the folder of a run.
const NAME: &str = "broker.json";

#[derive(Serialize, Deserialize)]
struct Written {
    host: String,
    port: u16,
    user: String,
    password: String,
    management: String,
}

/// The file, locked while this lives, and then removed.
pub struct Shared {
    _locked: File,
    path: PathBuf,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A file that stays does not count: no process holds its lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Shares a broker from `AMQP_URL` with other terminals until the returned value is dropped.
/// Other brokers are found anyway. A second run of a chapter keeps the first one's file.
///
/// # Errors
/// When the file cannot be written.
pub fn share(folder: &Path, broker: &Broker) -> Result<Option<Shared>> {
    if broker.origin != Origin::Given {
        return Ok(None);
    }
    let path = folder.join(NAME);
    let unwritable = || format!("cannot write {}", path.display());
    let mut options = OpenOptions::new();
    options.create(true).read(true).write(true).mode(0o600);
    let mut file = options.open(&path).with_context(unwritable)?;
    if file.try_lock().is_err() {
        return Ok(None);
    }
    let Address {
        host,
        port,
        user,
        password,
    } = broker.address.clone();
    let management = broker.management.clone();
    let written = Written {
        host,
        port,
        user,
        password,
        management,
    };
    file.set_len(0).with_context(unwritable)?;
    file.write_all(&serde_json::to_vec(&written)?)
        .with_context(unwritable)?;
    Ok(Some(Shared {
        _locked: file,
        path,
    }))
}

/// The folder of a chapter's run.
pub fn run_folder(paths: &Paths, chapter: &Chapter, variant: Variant) -> PathBuf {
    paths.data().join("run").join(chapter.run_folder(variant))
}

/// The broker with which the chapter's services run, where this terminal does not name it;
/// else the one that every command gets.
///
/// # Errors
/// When no broker can be found: why, and what to do.
pub async fn acquire(paths: &Paths, chapter: &Chapter, variant: Variant) -> Result<Broker> {
    if std::env::var_os("AMQP_URL").is_none_or(|url| url.is_empty())
        && let Some(broker) = read(&run_folder(paths, chapter, variant)).await?
    {
        let number = &chapter.number;
        eprintln!("{DIM}· AMQP_URL is taken from the terminal of `just run {number}`{DIM:#}");
        return Ok(broker);
    }
    command::acquire(paths).await
}

/// The broker that the run in `folder` shares, if that run still goes on.
///
/// # Errors
/// When that broker does not answer.
async fn read(folder: &Path) -> Result<Option<Broker>> {
    let Ok(mut file) = File::open(folder.join(NAME)) else {
        return Ok(None);
    };
    if file.try_lock_shared().is_ok() {
        return Ok(None); // that run has ended
    }
    let mut text = String::new();
    let read = file.read_to_string(&mut text).ok();
    let Some(written) = read.and_then(|_| serde_json::from_str::<Written>(&text).ok()) else {
        return Ok(None);
    };
    let address = Address {
        host: written.host,
        port: written.port,
        user: written.user,
        password: written.password,
    };
    let broker = Broker::at(address, &written.management).await;
    broker.map(Some).map_err(|no| trouble(no.why, no.mend))
}
