//! What a page is told: how everything is, a few times a second.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast;
use view::{Live, State, Update};
use wiretap::Journal;

/// How often a page is told what is new.
pub const EVERY: Duration = Duration::from_millis(100);
/// How many updates a slow page may be behind before it misses some.
const WAITING: usize = 32;
/// How often a page is told that nothing is new.
const QUIET: f64 = 1.0;

/// Turns a journal into updates.
pub struct Feed {
    journal: Journal,
    live: Live,
    updates: broadcast::Sender<Arc<str>>,
    /// What the pages were told last, and when.
    parts: Vec<State>,
    services: Vec<Controls>,
    sent: f64,
}

/// How a service is, for its buttons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Controls {
    /// Its name.
    pub name: String,
    /// `runs`, `frozen` or `ended`.
    pub state: &'static str,
    /// Whether its link is cut; `None` when it has none.
    pub cut: Option<bool>,
    /// The last line that it printed, if it has ended by itself.
    pub says: String,
    /// Where it answers HTTP requests, if it does.
    pub url: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    update: &'a Update,
    /// How late what is shown is, in seconds.
    behind: f64,
    /// How many updates this page has missed.
    skipped: u64,
    services: &'a [Controls],
}

impl Feed {
    /// A feed of this journal. `peer` is the service that answers HTTP requests, in a chapter without
    /// a broker.
    #[must_use]
    pub fn new(journal: Journal, peer: Option<&str>) -> Self {
        Self {
            journal,
            live: Live::new(peer),
            updates: broadcast::channel(WAITING).0,
            parts: Vec::new(),
            services: Vec::new(),
            sent: f64::MIN,
        }
    }

    /// Where updates are sent.
    #[must_use]
    pub fn updates(&self) -> broadcast::Sender<Arc<str>> {
        self.updates.clone()
    }

    /// What stands before the run begins, made by an administrator's definitions.
    pub fn stands_already(&mut self, definitions: &serde_json::Value) {
        self.live.stands_already(definitions);
    }

    /// Tells all pages what is new.
    pub fn pump(&mut self, services: &[Controls]) {
        let begun = self.journal.elapsed();
        let entries = self.journal.take();
        let quiet = entries.is_empty();
        let update = self.live.hear(begun, entries);
        let now = self.journal.elapsed();
        let same = self.parts == update.parts && self.services == services;
        if self.updates.receiver_count() == 0 || (quiet && same && now < self.sent + QUIET) {
            return;
        }
        // An error means that the last page has just been closed.
        let text = self.text(&update, services, now - begun, 0);
        let _ = self.updates.send(text.into());
        (self.parts, self.services, self.sent) = (update.parts, services.to_vec(), now);
    }

    /// How everything is now, for a page that has missed this many updates.
    #[must_use]
    pub fn whole(&self, services: &[Controls], skipped: u64) -> String {
        self.text(&self.live.whole(), services, 0.0, skipped)
    }

    /// What became of a message, as far as it is kept.
    #[must_use]
    pub fn life(&self, id: &str) -> Option<String> {
        let rows = self.live.life(id);
        (!rows.is_empty()).then(|| json!({ "rows": rows }).to_string())
    }

    fn text(&self, update: &Update, services: &[Controls], behind: f64, skipped: u64) -> String {
        let shown = Shown {
            update,
            behind,
            skipped,
            services,
        };
        // It never fails: JSON can express every update.
        serde_json::to_string(&shown).unwrap_or_default()
    }
}
