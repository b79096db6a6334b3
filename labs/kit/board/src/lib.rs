//! The live board: a chapter's services behind wiretaps, and one page on loopback that shows what
//! crosses them, with buttons that do what the checks' faults do.
//!
//! It knows no chapter's word, and no check. Start reading at [`run`]: [`services`] are what is
//! shown and broken, [`feed`] tells a page what happens, [`server`] is all that a browser reaches.
//! One task owns services and feed; the server's thread asks it ([`Ask`]).

mod action;
pub mod feed;
mod publish;
mod run;
pub mod server;
mod service;
mod services;

pub use action::Action;
pub use feed::Feed;
pub use run::{Args, run};

use tokio::sync::oneshot;

/// What a page asks the task that owns services and feed.
#[derive(Debug)]
pub enum Ask {
    /// How everything is now, as JSON; the page has missed this many updates.
    Whole(u64, oneshot::Sender<String>),
    /// What became of the message with this id, as JSON; `None` when nothing of it is kept.
    Life(String, oneshot::Sender<Option<String>>),
    /// To do something; the answer says what was done, or why not.
    Do(Action, oneshot::Sender<Result<String, String>>),
}
