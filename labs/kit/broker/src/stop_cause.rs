//! What makes a keeper stop its node: an order, want of use, or a folder that is gone.

use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;

use super::node_dir::NodeDir;

/// How often the keeper looks whether it is still needed.
const TICK: Duration = Duration::from_millis(500);
/// Half an hour; `LAB_BROKER_IDLE_SECONDS` changes it.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// What may end a keeper's work.
pub(super) struct StopCauses {
    term: Signal,
    hangup: Signal,
    interrupt: Signal,
    tick: tokio::time::Interval,
    idle: Duration,
    /// A node that still boots has somebody waiting for it.
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

    /// Returns why to stop, once there is a reason to.
    pub async fn stop(&mut self, node: &NodeDir) -> String {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "told to stop".into(),
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
        // A command may be about to use the node: it marks it as used, then reads the
        // state. So take the state away, then look at the mark once more.
        let state = node.state();
        // When it cannot be removed, the folder is gone, and so is the state.
        let _ = node.remove_state();
        let why = why(node);
        if let (None, Some(state)) = (&why, state) {
            node.write_state(&state).ok()?;
        }
        why
    }
}
