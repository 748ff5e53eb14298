//! The only door to record bytes: what is written is an [`Envelope`], and what is read was opened here.

mod envelope;
mod names;
mod record;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use names::HiddenNames;
pub use record::Version;
pub(crate) use record::{Opened, Place, open, peek_head, seal};
pub(crate) use table::Table;
