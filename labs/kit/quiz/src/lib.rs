//! Questions about a run: `just predict NN` asks before the run, `just hunt NN` after it.
//!
//! It knows how to ask, to run one check for real, and to keep the answers. It knows no chapter: the
//! questions are in a chapter's manifest and in its mutants. Start reading at [`predict::run`].

mod answers;
pub mod hunt;
mod kept;
pub mod predict;
mod runs;
