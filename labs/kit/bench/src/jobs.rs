//! Chapter 03's jobs, which several measurements send.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use process::Exit;

use super::measured_program::MeasuredProgram;

/// Their queue.
pub const JOBS: &str = "messages";
/// How long the producer may take, for a million of them.
const LONGEST: Duration = Duration::from_secs(600);

/// Has chapter 03's producer send so many jobs at once, and gives how long that took, its start included.
pub async fn send(program: &MeasuredProgram, jobs: u32, text: &str) -> Result<Duration> {
    let jobs = jobs.to_string();
    let send = ["producer", "--burst", "--count", &jobs, "--text", text];
    let begun = Instant::now();
    let producer = program.start("solution-03", &send, &[]).await?;
    let exit = producer.end(LONGEST).await?;
    ensure!(exit == Exit::Code(0), "the producer ended with {exit}");
    Ok(begun.elapsed())
}
