//! Recipes: what services do with a store, as whole programs that run as tests. Each makes its store with
//! [`testing`](crate::testing); a service has one of its own, and the rest is the same. (This chapter is there with the
//! feature `testing`.)

#[doc = include_str!("production.md")]
pub mod production {}

#[doc = include_str!("read_modify_write.md")]
pub mod read_modify_write {}

#[doc = include_str!("paging.md")]
pub mod paging {}

#[doc = include_str!("migration.md")]
pub mod migration {}

#[doc = include_str!("transactions.md")]
pub mod transactions {}

#[doc = include_str!("expiry.md")]
pub mod expiry {}

#[doc = include_str!("async_services.md")]
pub mod async_services {}

#[doc = include_str!("background_jobs.md")]
pub mod background_jobs {}

#[doc = include_str!("many_tenants.md")]
pub mod many_tenants {}

#[doc = include_str!("http_errors.md")]
pub mod http_errors {}

#[doc = include_str!("testing.md")]
pub mod testing {}
