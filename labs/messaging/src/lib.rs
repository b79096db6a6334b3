//! Chapter 02's answer, given to the chapters after it: a connection that is opened again when it
//! ends ([`keep`]), and a channel that confirms ([`Outlet`]). Publishing and consuming they do
//! themselves, with lapin's channels. Chapter 07 writes all of it itself, except [`settle`].

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
