//! What the services of several chapters share and no lesson is about: settings from the
//! environment and the command line, logging, the SQLite store, shutdown, the film, and the
//! plain parts of an HTTP service. The messaging itself is never in here; that is what the
//! chapters teach.

pub mod command_line;
pub mod http;
pub mod logging;
pub mod role;
pub mod settings;
pub mod shutdown;
pub mod store;
pub mod video;
