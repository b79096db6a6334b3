//! Compares the files in `compose/` with the chapters' manifests: `just up` must start what `just run`
//! starts. Reads the files as text, without Docker; the test `containers` starts them for real.
#![allow(clippy::unwrap_used)] // a test that cannot read the files should stop there

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use broker::NEWEST;
use course::chapter::Chapter;
use course::manifest::{ServiceEntry, ServiceManifest};
use course::paths::Paths;

fn folder() -> PathBuf {
    Paths::find().unwrap().root.join("compose")
}

/// The lines of a file, without comments and empty lines.
fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let lines = text.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// The entries under `heading:` (`services` or `volumes`), by name.
fn section(lines: &[String], heading: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = None;
    let start = format!("{heading}:");
    let inside = lines.iter().skip_while(|line| **line != start).skip(1);
    for line in inside.take_while(|line| line.starts_with(' ')) {
        match line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '))
        {
            Some(rest) => {
                let key = rest.trim_end_matches(':').to_owned();
                found.insert(key.clone(), Vec::new());
                name = Some(key);
            }
            None => {
                let entry = name.as_ref().and_then(|name| found.get_mut(name));
                entry.unwrap().push(line.trim().to_owned());
            }
        }
    }
    found
}

/// The compose files of the chapters for one machine, with their manifests.
fn chapters() -> Vec<(String, ServiceManifest)> {
    let paths = Paths::find().unwrap();
    let chapters = Chapter::all(&paths.root).unwrap();
    let on_one = |chapter: &&Chapter| !chapter.number.starts_with("07");
    let with_manifest = |chapter: &Chapter| {
        let manifest = ServiceManifest::of(&paths.root, chapter).unwrap();
        (format!("{}.yml", chapter.name), manifest)
    };
    chapters.iter().filter(on_one).map(with_manifest).collect()
}

/// The expected lines of a service, without its volume.
fn expected(service: &ServiceEntry, manifest: &ServiceManifest) -> Vec<String> {
    let mut expected = vec![match manifest.broker {
        true => "<<: *client".to_owned(),
        false => "extends: { file: base.yml, service: service }".to_owned(),
    }];
    let words = std::iter::once(&service.role).chain(&service.args);
    let words: Vec<&str> = words.map(String::as_str).collect();
    expected.push(format!("command: [{}]", words.join(", ")));
    if service.port.is_some() || !service.env.is_empty() {
        expected.push("environment:".to_owned());
    }
    if let Some(port) = service.port {
        expected.push(format!("PORT: {port}"));
    }
    for (name, value) in &service.env {
        expected.push(format!("{name}: {}", among_containers(value, manifest)));
    }
    if let Some(port) = service.port {
        let variable = service.name.to_uppercase().replace('-', "_");
        expected.push(format!(
            "ports: [\"127.0.0.1:${{{variable}_PORT:-{port}}}:{port}\"]"
        ));
    }
    expected
}

/// `http://127.0.0.1:{history}` as containers reach it: `http://history:4001`.
fn among_containers(value: &str, manifest: &ServiceManifest) -> String {
    let replaced = |value: String, (name, port): (String, u16)| {
        value.replace(&format!("127.0.0.1:{{{name}}}"), &format!("{name}:{port}"))
    };
    manifest
        .ports()
        .into_iter()
        .fold(value.to_owned(), replaced)
}

#[test]
fn compose_files_have_the_services_of_the_manifests() {
    for (file, manifest) in chapters() {
        let lines = lines(&file);
        let mut services = section(&lines, "services");
        if manifest.broker {
            let broker = services.remove("broker");
            let extends = "extends: { file: broker.yml, service: broker }".to_owned();
            assert_eq!(broker, Some(vec![extends]), "{file}: broker");
        }
        let names = services.keys().cloned().collect::<BTreeSet<_>>();
        let manifests = manifest.services.iter().map(|service| service.name.clone());
        assert_eq!(names, manifests.collect(), "{file}: services");
        for service in &manifest.services {
            let said = services[&service.name].iter();
            // Quotes around a pattern are for YAML.
            let said = said.map(|line| line.replace('\'', ""));
            let (volumes, said): (Vec<_>, Vec<_>) =
                said.partition(|line| line.starts_with("volumes:"));
            assert_eq!(
                said,
                expected(service, &manifest),
                "{file}: {}",
                service.name
            );
            let volume = format!("volumes: [\"{}:/data\"]", service.database);
            let same = |other: &&ServiceEntry| other.database == service.database;
            let shared = manifest.services.iter().filter(same).count() > 1;
            let fits = volumes == [volume] || volumes.is_empty() && !shared;
            assert!(fits, "{file}: {}: {volumes:?}", service.name);
        }
        let used = lines
            .iter()
            .filter_map(|line| line.trim().strip_prefix("volumes: [\""));
        let used: BTreeSet<&str> = used.filter_map(|rest| rest.split(':').next()).collect();
        let declared = section(&lines, "volumes");
        let declared: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
        assert_eq!(used, declared, "{file}: volumes");
        let waits = "depends_on: { broker: { condition: service_healthy } }";
        let waits = lines.iter().any(|line| line.trim() == waits);
        assert_eq!(waits, manifest.broker, "{file}: {waits}");
    }
}

#[test]
fn each_image_is_named_once_and_ports_are_open_on_loopback_only() {
    let files = course::holes::files(&folder()).unwrap();
    let names = files.iter().filter_map(|file| file.to_str());
    // Chapter 07 is about two machines; `two_vms.rs` tests its ports.
    let names = names.filter(|name| name.ends_with(".yml") && !name.starts_with("07"));
    let mut images = Vec::new();
    for name in names {
        let lines = lines(name);
        for line in lines
            .iter()
            .map(|line| line.trim().trim_start_matches("- "))
        {
            if let Some(image) = line.strip_prefix("image: ") {
                images.push(format!("{name}: {image}"));
            }
            // The outer port comes first: a variable or a number.
            let publishes = line.starts_with("ports: [") || line.contains("_PORT");
            let value = line.trim_start_matches("ports: [\"");
            let loopback = value.starts_with("127.0.0.1:$");
            assert!(
                !publishes || value == "ports:" || loopback,
                "{name}: {line}"
            );
            let secret = line.contains("PASS") || line.contains("amqp://");
            let asked = line.contains("${LAB_BROKER_PASSWORD:?");
            assert!(!secret || asked, "{name} contains a password: {line}");
        }
    }
    assert_eq!(images.len(), 2, "{images:?}");
    assert!(images[0].starts_with("base.yml: ${PACKAGE:?"), "{images:?}");
    assert_eq!(images[1], format!("broker.yml: {}", broker_image()));
}

/// The official image of the newest series that the lab is tested on.
fn broker_image() -> String {
    format!("rabbitmq:{NEWEST}-management")
}

/// VM A gets only its own file, so that file must name the image again.
#[test]
fn vm_a_runs_the_same_broker() {
    let image = format!("    image: {}", broker_image());
    assert!(
        lines("07-vm-a.yml").contains(&image),
        "07-vm-a.yml: {image}"
    );
}

#[test]
fn a_section_is_read_by_its_names() {
    let text = "x: 1\nservices:\n  a:\n    k: [v]\n    e:\n      P: 1\n  b:\nvolumes:\n  v:\n";
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let services = section(&lines, "services");
    assert_eq!(services["a"], ["k: [v]", "e:", "P: 1"]);
    assert!(services["b"].is_empty());
    assert_eq!(section(&lines, "volumes").len(), 1);
}
