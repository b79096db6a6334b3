//! What chapter 02 taught, given to the chapters after it: to be connected to the broker, and
//! to stay so. Whatever a chapter is about it does itself, with lapin's own channels.

mod connection;
mod failure;
mod outlet;
mod session;
mod settle;

pub use connection::connect;
pub use failure::hopeless;
pub use outlet::Outlet;
pub use session::keep;
pub use settle::settle;
