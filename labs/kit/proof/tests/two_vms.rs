//! Compares the compose files for two machines with the rest: the same broker, the same rights, no open
//! console. Also checks that their page names existing files.
#![allow(clippy::unwrap_used)] // a test that cannot read the files should stop there

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use broker::access::{Grant, Grants};
use course::paths::Paths;
use serde_json::Value;

const PAGE: &str = "labs/07-cross-network/TWO-VMS.md";

fn root() -> PathBuf {
    Paths::find().unwrap().root
}

fn text(file: &str) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of `key: value` lines.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::trim);
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
        .collect()
}

/// The definitions that VM A's broker imports, with `x` for each password.
fn access() -> Value {
    let file = text("compose/07-vm-a.yml");
    let (_, block) = file.split_once("  access:\n    content: |\n").unwrap();
    let block: Vec<&str> = block
        .lines()
        .take_while(|line| line.starts_with("      "))
        .collect();
    let mut json = block.join("\n").replace("$$", "$");
    for name in ["ADMIN", "PRODUCER", "CONSUMER"] {
        json = json.replace(&format!("${{{name}_PASSWORD:?}}"), "x");
    }
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in {json}"))
}

#[test]
fn vm_a_has_the_same_broker_as_all() {
    let [lab, vm] = ["compose/broker.yml", "compose/07-vm-a.yml"].map(text);
    let broker = values(&lab, "image")[0];
    assert!(values(&vm, "image").contains(&broker), "{broker}");
    assert_eq!(values(&vm, "test"), values(&lab, "test"));
}

#[test]
fn vm_a_grants_the_rights_that_the_solution_prints() {
    let paths = Paths::find().unwrap();
    // Together with `check`, as everywhere else: alone it would have other features, and cargo would compile
    // tokio and lapin again.
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "-p",
            "check",
            "-p",
            "solution-07",
        ])
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .status();
    assert!(built.unwrap().success());
    let said = Command::new(paths.target.join("debug/solution-07"))
        .arg("rights")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{words}");
    let wanted: Grants = serde_json::from_slice(&said.stdout).unwrap();
    let mut given: BTreeMap<String, Grant> = BTreeMap::new();
    for permission in access()["permissions"].as_array().unwrap() {
        assert_eq!(permission["vhost"], "cross-network");
        let user = permission["user"].as_str().unwrap().to_owned();
        let grant = serde_json::from_value(permission.clone()).unwrap();
        assert!(given.insert(user, grant).is_none());
    }
    assert!(given.remove("admin").is_some(), "{given:?}");
    assert_eq!(given, wanted);
}

#[test]
fn there_is_no_guest_and_no_password_in_a_file() {
    let access = access();
    for user in access["users"].as_array().unwrap() {
        assert_ne!(user["name"], "guest");
        assert_eq!(user["password"], "x", "a password that is not a variable");
    }
    let b = text("compose/07-vm-b.yml");
    for secret in ["ADMIN_PASSWORD", "PRODUCER_PASSWORD"] {
        assert!(!b.contains(secret), "VM B need not know {secret}");
    }
}

#[test]
fn only_amqp_is_open_and_only_on_vm_as_own_address() {
    let a = text("compose/07-vm-a.yml");
    let published: Vec<&str> = a
        .lines()
        .map(str::trim)
        .filter_map(|line| line.strip_prefix("- "))
        .filter(|line| line.ends_with(":5672") || line.ends_with(":15672"))
        .collect();
    let wanted = [
        "${VM_A_ADDRESS:-10.0.0.4}:5672:5672",
        "127.0.0.1:15672:15672",
    ];
    assert_eq!(published, wanted);
    assert!(!text("compose/07-vm-b.yml").contains("ports:"));
}

#[test]
fn both_machines_name_the_vhost_that_the_topology_makes() {
    let topology: Value = serde_json::from_str(&text("compose/07-topology.json")).unwrap();
    for part in ["exchanges", "queues", "bindings"] {
        for entry in topology[part].as_array().unwrap() {
            assert_eq!(entry["vhost"], "cross-network", "{part}");
        }
    }
    for file in ["compose/07-vm-a.yml", "compose/07-vm-b.yml"] {
        assert_eq!(
            values(&text(file), "BROKER_VHOST"),
            ["cross-network"],
            "{file}"
        );
    }
}

#[test]
fn each_file_that_the_page_names_exists() {
    let page = text(PAGE);
    let words = page.split(|c: char| c.is_whitespace() || "`()[],;".contains(c));
    let mut named = 0;
    for word in words {
        let word = word.trim_end_matches(['.', ':']);
        let inside = ["compose/", "labs/", "solutions/", ".ci/"];
        // The commands of the page create these.
        let made = ["compose/.env", "compose/vm-b.env"];
        if inside.iter().any(|folder| word.starts_with(folder)) && !made.contains(&word) {
            named += 1;
            assert!(root().join(word).exists(), "{PAGE} names {word}");
        }
    }
    assert!(named > 3, "{named}");
}

/// The page copies to each machine the files that its compose file needs.
#[test]
fn the_page_copies_what_each_machine_needs() {
    let page = text(PAGE);
    let copies: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("scp "))
        .collect();
    let of = |vm: &str| copies.iter().find(|line| line.contains(vm)).unwrap();
    for file in ["07-vm-a.yml", "07-topology.json", ".env"] {
        assert!(of("vm-a:").contains(file), "{file}");
    }
    assert!(of("vm-b:").contains("07-vm-b.yml"));
    assert!(!of("vm-b:").contains("compose/.env"));
}
