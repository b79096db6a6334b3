//! Writes, for `just credentials`, the addresses and passwords of two real machines into
//! `compose/.env`, and tells which part of it belongs where. Prints no password.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result, bail};
use course::manifest::Lecture;
use course::paths::Paths;

use command::credentials;
use terminal::{DIM, GOOD, TYPE};

/// The variables of the compose files that hold passwords.
const PASSWORDS: [&str; 3] = ["ADMIN_PASSWORD", "PRODUCER_PASSWORD", "CONSUMER_PASSWORD"];
/// The variables for the address on which VM A listens and the one to which VM B connects. They
/// are equal, unless a person writes a name into the second.
const ADDRESSES: [&str; 2] = ["VM_A_ADDRESS", "BROKER_HOST"];
/// VM A's address where none was given, as in the lecture.
const ADDRESS: &str = "10.0.0.4";
/// The variables that the consumer's machine may know.
const FOR_VM_B: [&str; 3] = ["BROKER_HOST", "CONSUMER_PASSWORD", "REGISTRY"];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// VM A's address on the private network; 10.0.0.4 where none was given before
    #[arg(long)]
    address: Option<String>,
    /// Make new passwords in place of those that are there
    #[arg(long)]
    new: bool,
    /// Write only what VM B needs to this file: its .env
    #[arg(long, value_name = "FILE")]
    for_vm_b: Option<PathBuf>,
}

/// Runs `credentials`.
///
/// # Errors
/// When a file cannot be read or written.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let file = paths.root.join("compose/.env");
    let before = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => bail!("cannot read {}: {error}", paths.short(&file)),
    };
    let text = update(&before, args);
    if text != before {
        credentials::write(&file, &text)
            .with_context(|| format!("cannot write {}", paths.short(&file)))?;
    }
    let had = PASSWORDS.iter().all(|name| value(&before, name).is_some());
    credentials::ensure(paths, &PASSWORDS)?;
    let shown = paths.short(&file);
    match (had, args.new) {
        (true, false) => println!("{GOOD}✔{GOOD:#} {shown} has its passwords; --new replaces them"),
        (true, true) => println!("{GOOD}✔{GOOD:#} {shown} has new passwords: take it to both VMs"),
        (false, _) => println!("{GOOD}✔{GOOD:#} {shown} is written, with generated passwords"),
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))?;
    print_next_steps(&text, &Lecture::find(&paths.root)?.1);
    if let Some(part) = &args.for_vm_b {
        credentials::write(part, &for_vm_b(&text))
            .with_context(|| format!("cannot write {}", part.display()))?;
        println!("{GOOD}✔{GOOD:#} {} is written: VM B's .env", part.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn print_next_steps(text: &str, lecture: &Lecture) {
    let [a, b, topology] = [&lecture.vm_a, &lecture.vm_b, &lecture.topology].map(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    });
    let address = value(text, ADDRESSES[0]).unwrap_or(ADDRESS);
    println!("  {DIM}VM A{DIM:#}     {address}; --address sets another");
    println!("  {DIM}to A{DIM:#}     {a}, {topology} and .env, all in compose/");
    println!("  {DIM}to B{DIM:#}     {b}, and as .env what this writes:");
    println!("           {TYPE}just credentials --for-vm-b vm-b.env{TYPE:#}");
    println!(
        "  {DIM}console{DIM:#}  user admin, password {} in the file",
        PASSWORDS[0]
    );
    println!("  {DIM}how{DIM:#}      {}", lecture.page.display());
}

/// The file's new text: with the addresses, and without the passwords where `--new` is given.
fn update(before: &str, args: &Args) -> String {
    let unwanted = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default().trim();
        let readdressed = args.address.is_some() && ADDRESSES.contains(&name);
        readdressed || (args.new && PASSWORDS.contains(&name))
    };
    let mut text = match before {
        "" => "# Generated; not in git, and nobody else may read it.\n".to_owned(),
        _ => String::new(),
    };
    for line in before.lines().filter(|line| !unwanted(line)) {
        text += line;
        text.push('\n');
    }
    let address = args.address.as_deref().unwrap_or(ADDRESS);
    for name in ADDRESSES {
        if value(&text, name).is_none() {
            text += &format!("{name}={address}\n");
        }
    }
    text
}

/// The lines that the consumer's machine needs.
fn for_vm_b(text: &str) -> String {
    let lines = FOR_VM_B.iter().filter_map(|name| {
        let value = value(text, name)?;
        Some(format!("{name}={value}\n"))
    });
    lines.collect()
}

/// The value of a variable in a file of variables; none where it is empty.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut values = pairs.filter(|(key, _)| key.trim() == name);
    let (_, value) = values.next()?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args(address: Option<&str>, new: bool) -> Args {
        Args {
            address: address.map(str::to_owned),
            new,
            for_vm_b: None,
        }
    }

    #[test]
    fn lines_stay_unless_an_option_replaces_them() {
        let text = update("MINE=1\nCONSUMER_PASSWORD=old\n", &args(None, false));
        assert!(
            text.starts_with("MINE=1\nCONSUMER_PASSWORD=old\n"),
            "{text}"
        );
        assert!(text.contains("VM_A_ADDRESS=10.0.0.4\nBROKER_HOST=10.0.0.4\n"));
        assert_eq!(update(&text, &args(None, false)), text);
        let moved = update(&text, &args(Some("192.168.1.7"), false));
        assert!(moved.contains("BROKER_HOST=192.168.1.7\n") && moved.contains("=old\n"));
        let new = update(&text, &args(None, true));
        assert!(new.contains("MINE=1\n") && !new.contains("old"), "{new}");
    }

    #[test]
    fn the_consumers_machine_gets_only_its_own_password() {
        let text = "A=1\nADMIN_PASSWORD=a\nPRODUCER_PASSWORD=p\nCONSUMER_PASSWORD=c\n\
            BROKER_HOST=vm-a\nREGISTRY=\n";
        assert_eq!(for_vm_b(text), "BROKER_HOST=vm-a\nCONSUMER_PASSWORD=c\n");
    }
}
