//! Multi-tenant storage in which every tenant is isolated and every record is encrypted.
#![forbid(unsafe_code)]

pub mod identity;

mod clock;
mod context;
mod entropy;
mod error;
mod name;
mod secret;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use name::{NAME_MAX_LEN, TenantName};
