//! Many variants of a solution in one program, so that the compiler and the linker run once for all. The
//! name by which the program is started selects the variant. Each variant is a module with its own
//! `main.rs` and its own copy of the modules that its changes affect; the others are the solution's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use command::crates::apply;

/// The module of the solution.
const SOLUTION: &str = "solution";
const MAIN: &str = "main.rs";

/// Files by name.
pub type Sources = BTreeMap<String, Vec<u8>>;

/// Writes the sources of the program with these variants of the solution, each under its name, to `dir`.
pub fn write(original: &Sources, variants: &[(String, Sources)], dir: &Path) -> Result<()> {
    let mut main = String::from("#![allow(warnings)]\n");
    let mut choice = String::new();
    for (name, changed) in variants {
        let module = name.replace('-', "_");
        let reached = reached(original, changed);
        save(
            &as_module(changed, &module, Some(&reached))?,
            &dir.join(&module),
        )?;
        main += &format!("#[path = \"{module}/{MAIN}\"]\nmod {module};\n");
        choice += &format!("        {name:?} => {module}::main().report(),\n");
    }
    save(&as_module(original, SOLUTION, None)?, &dir.join(SOLUTION))?;
    main += &format!("#[path = \"{SOLUTION}/{MAIN}\"]\nmod {SOLUTION};\n");
    main += &format!(
        "use std::process::{{ExitCode, Termination}};\n\
         fn main() -> ExitCode {{\n    \
             let program = std::env::args().next().unwrap_or_default();\n    \
             match program.rsplit('/').next().unwrap_or_default() {{\n\
         {choice}        other => panic!(\"no program {{other}}\"),\n    }}\n}}\n"
    );
    fs::write(dir.join(MAIN), main)?;
    Ok(())
}

/// The solution with this patch, which is applied in the empty folder `scratch`.
pub fn patched(original: &Sources, patch: &Path, scratch: &Path) -> Result<Sources> {
    save(original, scratch)?;
    apply(patch, scratch)?;
    let changed = read(scratch)?;
    fs::remove_dir_all(scratch)?;
    Ok(changed)
}

/// The files that a change affects: the changed files, the files that use them, and so on; always
/// `main.rs`.
fn reached(original: &Sources, changed: &Sources) -> BTreeSet<String> {
    let mut reached: BTreeSet<String> = changed
        .keys()
        .filter(|name| *name == MAIN || original.get(*name) != changed.get(*name))
        .cloned()
        .collect();
    loop {
        let uses_one = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            reached.iter().any(|name| uses(&text, name))
        };
        let more: Vec<String> = changed
            .iter()
            .filter(|(name, text)| !reached.contains(*name) && uses_one(text))
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return reached;
        }
        reached.extend(more);
    }
}

/// Whether a source uses a file: as `crate::name`, in `crate::{…}`, or by `include_str!`. A wrong yes
/// only costs time.
fn uses(text: &str, file: &str) -> bool {
    let Some(module) = file.strip_suffix(".rs") else {
        return text.contains(&format!("{file:?}"));
    };
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.split("crate::").skip(1).any(|path| {
        let end = match path.starts_with('{') {
            true => path.find(';'),
            false => path.find(|c| !is_name(c)),
        };
        let path = &path[..end.unwrap_or(path.len())];
        path.split(|c| !is_name(c)).any(|name| name == module)
    })
}

/// Writes a program's sources as a module of another program: with all modules, or only with the
/// modules `own` and the solution's for the rest.
fn as_module(sources: &Sources, module: &str, own: Option<&BTreeSet<String>>) -> Result<Sources> {
    let mut kept = Sources::new();
    for (name, text) in sources {
        let is_source = name.ends_with(".rs");
        if is_source && own.is_some_and(|own| !own.contains(name)) {
            continue;
        }
        let text = match std::str::from_utf8(text) {
            Ok(text) if is_source => text.replace("crate::", &format!("crate::{module}::")),
            _ => {
                kept.insert(name.clone(), text.clone());
                continue;
            }
        };
        let text = match name == MAIN {
            true => open(&text, own)?,
            false => text,
        };
        kept.insert(name.clone(), text.into_bytes());
    }
    Ok(kept)
}

/// `main.rs` with a public `main` and public modules, and with the solution's modules instead of those
/// that are not its `own`.
fn open(main: &str, own: Option<&BTreeSet<String>>) -> Result<String> {
    let mut opened = String::new();
    let mut found = false;
    for line in main.lines() {
        let submodule = line
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        let is_main = line.starts_with("fn main(") || line.starts_with("async fn main(");
        found |= is_main;
        opened += &match submodule {
            Some(name) if own.is_some_and(|own| !own.contains(&format!("{name}.rs"))) => {
                format!("use crate::{SOLUTION}::{name};\n")
            }
            Some(_) => format!("pub {line}\n"),
            None if is_main => format!("pub {line}\n"),
            None => format!("{line}\n"),
        };
    }
    if !found {
        bail!("main.rs has no line that begins with `fn main(` or `async fn main(`");
    }
    Ok(opened)
}

/// The files of a folder.
pub fn read(dir: &Path) -> Result<Sources> {
    let mut sources = Sources::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        ensure!(
            path.is_file(),
            "{}: modules in folders cannot be merged yet",
            path.display()
        );
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        sources.insert(name.into_owned(), fs::read(&path)?);
    }
    Ok(sources)
}

/// Writes files to a folder.
pub fn save(sources: &Sources, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    for (name, text) in sources {
        fs::write(dir.join(name), text)?;
    }
    Ok(())
}
