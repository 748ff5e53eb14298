//! Mail for many tenants, on strongroom: what a real service looks like.
//!
//! `model` says what is stored, `store` is all that the service knows of strongroom's sessions and collections, `http` is
//! the API and the page, `observe` what an operator sees, `import` how mail from elsewhere comes in, `serve` how it
//! begins and ends.
#![forbid(unsafe_code)]
#![expect(missing_debug_implementations, reason = "nobody prints a service, and what it holds is not to be printed")]

pub mod import;
pub mod serve;

pub mod http;

pub mod identity;
pub mod observe;

pub mod store;

pub mod letter;
pub mod model;
