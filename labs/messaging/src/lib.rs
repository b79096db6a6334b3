//! Chapter 02's answer, given to the chapters after it: a connection that is opened again when it
//! ends ([`keep`]), a channel that confirms ([`Outlet`]), and a publish that is confirmed ([`publish`]).
//! They consume themselves, with lapin's channels. Chapter 07 writes all of it itself, except [`settle`].

mod connection;
mod failure;
mod outlet;
mod publish;
mod session;
mod settle;

pub use connection::connect;
pub use failure::hopeless;
pub use outlet::Outlet;
pub use publish::{Published, publish};
pub use session::keep;
pub use settle::settle;
