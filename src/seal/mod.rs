//! The only door to record bytes: what is written is an `Envelope`, and what is read was opened here.
//!
//! From outside, an envelope can be neither named nor made:
//! ```compile_fail,E0603
//! let envelope = strongroom::seal::Envelope(vec![]);
//! ```
//! What can be named is the version that comes with an opened record:
//! ```
//! fn same_write(a: strongroom::Version, b: strongroom::Version) -> bool {
//!     a == b
//! }
//! ```

mod envelope;
mod names;
mod record;
mod table;
mod version;
#[cfg(test)]
mod tests;

pub(crate) use envelope::Envelope;
pub(crate) use names::HiddenNames;
pub(crate) use record::{
    Head, ObjectId, Opened, Place, Record, Terms, is_sealed_under, open, open_record, peek_generation, peek_head,
    reseal, seal, seal_head, seal_with,
};
pub(crate) use table::Table;
pub use version::Version;
