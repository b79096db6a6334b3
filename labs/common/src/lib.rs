//! What the services of several chapters share and no lesson is about: settings from the
//! environment and the command line, logging, the SQLite store, shutdown, the film, and the
//! common parts of an HTTP service. It contains no messaging: the chapters teach that.

pub mod command_line;
pub mod http;
pub mod logging;
pub mod role;
pub mod settings;
pub mod shutdown;
pub mod store;
pub mod video;
