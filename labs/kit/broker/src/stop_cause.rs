//! Why a keeper stops its node: SIGTERM, no use, or a removed folder.

use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;

use super::node_dir::NodeDir;

/// How often the keeper checks whether it is still needed.
const TICK: Duration = Duration::from_millis(500);
/// Half an hour; `LAB_BROKER_IDLE_SECONDS` changes it.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// What may make a keeper stop.
pub(super) struct StopCauses {
    term: Signal,
    hangup: Signal,
    interrupt: Signal,
    tick: tokio::time::Interval,
    idle: Duration,
    /// Whether lack of use counts: not while the node boots, because a command waits for it.
    pub may_idle: bool,
}

impl StopCauses {
    pub fn listen() -> Result<Self> {
        let idle = std::env::var("LAB_BROKER_IDLE_SECONDS").ok();
        let idle = idle.and_then(|seconds| seconds.parse().ok());
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            tick: interval(TICK),
            idle: idle.map_or(IDLE, Duration::from_secs),
            may_idle: false,
        })
    }

    /// Waits for a reason to stop, and returns it.
    pub async fn stop(&mut self, node: &NodeDir) -> String {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "SIGTERM".into(),
                _ = self.hangup.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.tick.tick() => if let Some(why) = self.superfluous(node) {
                    return why;
                },
            }
        }
    }

    fn superfluous(&self, node: &NodeDir) -> Option<String> {
        let why = |node: &NodeDir| match node.unused_for() {
            None => Some("its folder was removed".to_owned()),
            Some(unused) if self.may_idle && unused >= self.idle => {
                Some(format!("not used for {} s", unused.as_secs()))
            }
            Some(_) => None,
        };
        why(node)?;
        // A command that needs the node marks it as used, then reads the state. So remove the state
        // first, then look at the mark again.
        let state = node.state();
        // If it cannot be removed, the whole folder is gone.
        let _ = node.remove_state();
        let why = why(node);
        if let (None, Some(state)) = (&why, state) {
            node.write_state(&state).ok()?;
        }
        why
    }
}
