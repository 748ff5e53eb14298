//! The manual: what lies behind the interface, and why it is so.

#[doc = include_str!("format.md")]
pub mod format {}

#[doc = include_str!("changes.md")]
pub mod changes {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("identity.md")]
pub mod identity {}

#[doc = include_str!("roots.md")]
pub mod roots {}

#[doc = include_str!("revocation.md")]
pub mod revocation {}

#[doc = include_str!("rotation.md")]
pub mod rotation {}

#[doc = include_str!("threats.md")]
pub mod threats {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("services.md")]
pub mod services {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("backup.md")]
pub mod backup {}

#[doc = include_str!("custody.md")]
pub mod custody {}

#[doc = include_str!("audit.md")]
pub mod audit {}

#[doc = include_str!("purge.md")]
pub mod purge {}

#[doc = include_str!("api_guidelines.md")]
pub mod api_guidelines {}

#[doc = include_str!("growth.md")]
#[doc = ""]
#[doc = include_str!("growth/figures.md")]
#[doc = ""]
#[doc = include_str!("growth/making.svg")]
#[doc = include_str!("growth/opening.svg")]
#[doc = include_str!("growth/active.svg")]
#[doc = include_str!("growth/boxes.svg")]
pub mod growth {}
