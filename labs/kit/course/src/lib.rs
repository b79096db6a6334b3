//! The course as files: chapters, their parts, holes, hints, manifests, mutants and paths.
//!
//! This crate reads files and asks cargo for the manifests. It starts no service and knows no broker.
//! Start reading at [`chapter`].

pub mod chapter;
pub mod hints;
pub mod holes;
pub mod manifest;
pub mod mutants;
pub mod parts;
pub mod paths;
pub mod report;
