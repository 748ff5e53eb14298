//! Credentials that say when they end, `issuer|tenant|roles|expires_at_secs` and perhaps `|subject`, and stores on a clock set by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{LocalRoots, ManualClock, Strongroom, StrongroomBuilder};

use crate::support::ISSUER;

/// Vouches for every credential of its form, however long it is good for: the ends are left to the store.
pub struct Dated;

impl Verifier for Dated {
    fn verify(&self, credential: &str, _: u64) -> Result<Claims, Rejection> {
        let parts: Vec<&str> = credential.split('|').collect();
        let (issuer, tenant, roles, expires_at_secs, subject) = match parts[..] {
            [issuer, tenant, roles, expires_at_secs] => (issuer, tenant, roles, expires_at_secs, "somebody"),
            [issuer, tenant, roles, expires_at_secs, subject] => (issuer, tenant, roles, expires_at_secs, subject),
            _ => return Err(Rejection::Malformed),
        };
        Ok(Claims {
            issuer: issuer.to_owned(),
            tenant: tenant.to_owned(),
            subject: subject.to_owned(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: expires_at_secs.parse().map_err(|_| Rejection::Malformed)?,
            roles: roles.split(',').map(|role| format!("strongroom.{role}")).collect(),
            scopes: None,
        })
    }
}

/// What the clocks of these tests show first.
pub const START_SECS: u64 = 1_800_000_000;
/// When the credentials of these tests end, unless they say otherwise.
pub const EXPIRES_SECS: u64 = START_SECS + 600;

pub fn clock() -> Arc<ManualClock> {
    ManualClock::new(START_SECS * 1000)
}

pub fn credential(issuer: &str, tenant: &str, roles: &str) -> String {
    format!("{issuer}|{tenant}|{roles}|{EXPIRES_SECS}")
}

pub fn custodian() -> String {
    credential(ISSUER, "service", "custodian")
}

/// A credential of a reading and writing principal of `tenant`.
pub fn user(tenant: &str) -> String {
    credential(ISSUER, tenant, "read,write")
}

/// A store in memory on `clock`, its root keys in `folder`.
pub fn in_memory(folder: &Path, clock: &Arc<ManualClock>) -> StrongroomBuilder {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
    Strongroom::in_memory(roots, Dated).service_speaker(ISSUER, "service").boxes_per_cell(4).clock(clock.clone())
}

/// A store on disk on `clock`, its root keys beside it.
pub fn on_disk(folder: &Path, clock: &Arc<ManualClock>) -> StrongroomBuilder {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
    let builder = Strongroom::builder(folder.join("store"), roots, Dated).service_speaker(ISSUER, "service");
    builder.boxes_per_cell(4).clock(clock.clone())
}

/// Goes past the end of every credential that ends when those of these tests do.
pub fn expire(clock: &ManualClock) {
    clock.advance(Duration::from_secs(600));
}
