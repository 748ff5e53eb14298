//! What the tests share: a verifier whose credentials are written by hand, and a store with two tenants.

use std::path::Path;

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{LocalRoots, Strongroom, StrongroomBuilder, TenantSpec};

/// Credentials of the form `issuer|tenant|role,role`, or `issuer|tenant|role,role|subject`: the tests of isolation begin behind the verifier; those of
/// tokens bring real ones.
pub struct Plain;

impl Verifier for Plain {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let mut parts = credential.split('|');
        let mut next = || parts.next().map(str::to_owned).ok_or(Rejection::Malformed);
        let (issuer, tenant, roles) = (next()?, next()?, next()?);
        Ok(Claims {
            issuer,
            tenant,
            subject: parts.next().unwrap_or("somebody").to_owned(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 600,
            roles: roles.split(',').map(|role| format!("strongroom.{role}")).collect(),
            scopes: None,
        })
    }
}

pub const ISSUER: &str = "https://issuer.example";
pub const CUSTODIAN: &str = "https://issuer.example|service|custodian";

/// A credential of a reading and writing principal of `tenant`.
pub fn user(tenant: &str) -> String {
    format!("{ISSUER}|{tenant}|read,write")
}

/// A store in `folder`, its root keys beside it.
pub fn on_disk(folder: &Path) -> StrongroomBuilder {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").expect("root keys");
    Strongroom::builder(folder.join("store"), roots, Plain).service_speaker(ISSUER, "service").boxes_per_cell(4)
}

/// A store in memory, its root keys in `folder`.
pub fn in_memory(folder: &Path) -> StrongroomBuilder {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").expect("root keys");
    Strongroom::in_memory(roots, Plain).service_speaker(ISSUER, "service").boxes_per_cell(4)
}

/// Makes tenants, each spoken for by a tenant claim of its own name.
pub fn make_tenants(room: &Strongroom, names: &[&str]) {
    let custody = room.custody(CUSTODIAN).expect("a custodian");
    for name in names {
        custody.create_tenant(TenantSpec::new(*name, ISSUER, *name)).expect("a new tenant");
    }
}
