//! The course as files: its chapters, their holes and hints, what their manifests say, and
//! where everything lies.
//!
//! It reads files and asks cargo for the manifests; it starts no service and knows no broker.
//! Start reading at [`chapter`].

pub mod chapter;
pub mod hints;
pub mod holes;
pub mod manifest;
pub mod paths;
