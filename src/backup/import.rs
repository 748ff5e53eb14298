//! Bringing the rings of tenants back from an escrow whose own are damaged, into the store that made it.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Escrow, EscrowKey, tenant};
use crate::audit::Actor;
use crate::directory::{Directory, Imported, Tenant};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TenantName;

/// What an import of rings has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Tenants whose ring is that of the escrow now.
    pub imported: Vec<TenantName>,
    /// Tenants whose own ring opens, and was left alone.
    pub whole: usize,
    /// Tenants whose ring is damaged, and that the escrow does not help: it has none of theirs, or one of before their
    /// keys were last changed.
    pub missing: Vec<TenantName>,
    /// Tenants whose ring cannot be told to be damaged, because their root keys do not answer or refuse.
    pub unknown: Vec<TenantName>,
    /// Rings in the escrow of tenants that were deleted or purged since. They stay where they are.
    pub dead: usize,
}

/// Imports the rings of these tenants, or of all if none is named.
pub(crate) fn import(
    directory: &Directory,
    path: &Path,
    key: &EscrowKey,
    names: &[&str],
    by: &Actor,
) -> Result<ImportReport> {
    let (escrow, tenants) = prepare(directory, path, key, names)?;
    let mut report = ImportReport::default();
    for incarnation in escrow.incarnations() {
        report.dead += usize::from(directory.is_entombed(incarnation)?);
    }
    for tenant in tenants {
        match directory.import_ring(&tenant, escrow.slots(tenant.incarnation()), by) {
            Ok(Imported::Now) => report.imported.push(tenant.name().clone()),
            Ok(Imported::IsWhole) => report.whole += 1,
            Ok(Imported::IsNotThere) => report.missing.push(tenant.name().clone()),
            // It is going; nobody asked for it by name.
            Err(error) if error.kind() == ErrorKind::KeyDestroyed && names.is_empty() => {}
            Err(error) if is_no_answer(&error) => report.unknown.push(tenant.name().clone()),
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// Whether an import could begin: the escrow opens, is this store's, and the tenants are there. Asks no root key.
pub(crate) fn check_import(directory: &Directory, path: &Path, key: &EscrowKey, names: &[&str]) -> Result<()> {
    prepare(directory, path, key, names).map(drop)
}

fn prepare(directory: &Directory, path: &Path, key: &EscrowKey, names: &[&str]) -> Result<(Escrow, Vec<Arc<Tenant>>)> {
    let escrow = Escrow::open(path, key)?;
    let (ours, theirs) = (tenant::trust(directory)?, escrow.trust());
    if (ours.store, ours.key) != (theirs.store, theirs.key) {
        return Err(Error::invalid("the escrow is another store's"));
    }
    let tenants = match names {
        [] => directory.list(),
        names => names.iter().map(|name| find(directory, name)).collect::<Result<_>>()?,
    };
    Ok((escrow, tenants))
}

fn find(directory: &Directory, name: &str) -> Result<Arc<Tenant>> {
    if let Some(tenant) = directory.find(name) {
        return Ok(tenant);
    }
    Err(match directory.purge_of(name)? {
        Some(_) => Error::new(ErrorKind::KeyDestroyed, "the tenant has been purged, and does not come back"),
        None => Error::new(ErrorKind::NotFound, "there is no tenant of this name"),
    })
}

fn is_no_answer(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::KeyRevoked | ErrorKind::Unavailable | ErrorKind::Throttled)
}
