//! What tshark captures, and how it reads that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proof::until;
use serde_json::Value;

/// One AMQP frame that tshark saw.
#[derive(Debug)]
pub struct Captured {
    /// The port of the wiretap.
    pub port: u16,
    /// Counts the connections to that port from 1, in the order in which they were opened.
    pub connection: u32,
    /// Whether the service sent it, and not the broker.
    pub by_client: bool,
    /// What tshark calls its fields, and their values.
    pub fields: BTreeMap<String, String>,
}

/// Fails when there is no tshark.
pub fn required() -> Result<()> {
    let mut version = Command::new("tshark");
    let ran = version.arg("--version").output();
    ran.map(|_| ()).context(
        "this test compares with tshark, which does not run: `sudo apt-get install tshark`, or \
         `brew install wireshark`",
    )
}

/// A capture that is going on.
pub struct Capture {
    tshark: Child,
    file: PathBuf,
    said: PathBuf,
    ports: Vec<u16>,
    marker: UdpSocket,
}

impl Capture {
    /// Captures what crosses these ports of `lo`.
    pub async fn start(dir: &Path, ports: Vec<u16>) -> Result<Self> {
        let (file, said) = (dir.join("captured.pcapng"), dir.join("tshark.log"));
        let marker = UdpSocket::bind("127.0.0.1:0")?;
        let to = marker.local_addr()?;
        marker.connect(to)?;
        let tcp: Vec<String> = ports
            .iter()
            .map(|port| format!("tcp port {port}"))
            .collect();
        let filter = format!("{} or udp port {}", tcp.join(" or "), to.port());
        let tshark = Command::new("tshark")
            .args(["-q", "-n", "-i", "lo", "-B", "64", "-f", &filter, "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()
            .context("cannot run tshark")?;
        let mut capture = Self {
            tshark,
            file,
            said,
            ports,
            marker,
        };
        capture.reaches("the capture begins").await?;
        Ok(capture)
    }

    /// Waits until this datagram is in the file: all that was sent before is there, too.
    async fn reaches(&mut self, words: &str) -> Result<()> {
        let written = until(words, || {
            let _ = self.marker.send(words.as_bytes());
            let file = fs::read(&self.file).unwrap_or_default();
            let ended = self.tshark.try_wait().is_ok_and(|status| status.is_some());
            ended
                || file
                    .windows(words.len())
                    .any(|part| part == words.as_bytes())
        });
        let written = written.await;
        let ended = self.tshark.try_wait()?;
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        ensure!(
            written.is_ok() && ended.is_none(),
            "tshark does not capture on `lo`: run this test as root, or join the group `wireshark`. \
             tshark said:\n{said}"
        );
        Ok(())
    }

    /// Ends the capture, and returns the frames in it, in their order.
    pub async fn finish(mut self) -> Result<Vec<Captured>> {
        self.reaches("the capture ends").await?;
        kill(Pid::from_raw(self.tshark.id().try_into()?), Signal::SIGINT)?;
        self.tshark.wait()?;
        let said = fs::read_to_string(&self.said)?;
        ensure!(!said.contains("dropped"), "the capture has gaps: {said}");
        let mut read = Command::new("tshark");
        read.args(["-n", "-Y", "amqp", "-T", "json", "--no-duplicate-keys"]);
        read.args(["-J", "tcp amqp"]);
        for port in &self.ports {
            read.args(["-d", &format!("tcp.port=={port},amqp")]);
        }
        let output = read.arg("-r").arg(&self.file).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "tshark cannot read its capture: {errors}"
        );
        let packets: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        frames(&packets, &self.ports)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tshark.kill();
        let _ = self.tshark.wait();
    }
}

fn frames(packets: &[Value], ports: &[u16]) -> Result<Vec<Captured>> {
    // The streams of each port, in the order of their first packet with AMQP in it.
    let mut streams: Vec<(u16, String)> = Vec::new();
    let mut captured = Vec::new();
    for packet in packets {
        let layers = &packet["_source"]["layers"];
        let tcp = |field: &str| {
            layers["tcp"][field]
                .as_str()
                .context("a packet without TCP")
        };
        let [from, to] = ["tcp.srcport", "tcp.dstport"].map(tcp);
        let [from, to]: [u16; 2] = [from?.parse()?, to?.parse()?];
        let by_client = ports.contains(&to);
        let port = if by_client { to } else { from };
        let stream = (port, tcp("tcp.stream")?.to_owned());
        if !streams.contains(&stream) {
            streams.push(stream.clone());
        }
        let same_port = streams.iter().filter(|(other, _)| *other == port);
        let number = same_port
            .map(|(_, name)| name)
            .position(|name| *name == stream.1);
        let connection = u32::try_from(number.context("no stream")?)? + 1;
        // Several frames in one packet are an array.
        let frames = match &layers["amqp"] {
            Value::Array(frames) => frames.as_slice(),
            frame => std::slice::from_ref(frame),
        };
        for frame in frames {
            let mut fields = BTreeMap::new();
            flatten(frame, &mut fields);
            captured.push(Captured {
                port,
                connection,
                by_client,
                fields,
            });
        }
    }
    Ok(captured)
}

/// The fields of a frame, however deep.
fn flatten(frame: &Value, fields: &mut BTreeMap<String, String>) {
    for (name, value) in frame.as_object().into_iter().flatten() {
        match value {
            Value::String(value) => _ = fields.insert(name.clone(), value.clone()),
            value => flatten(value, fields),
        }
    }
}
