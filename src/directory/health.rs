//! What a look over the whole store asks of the directory.

#[cfg(feature = "backup")]
use super::Status;
use super::{Directory, Tenant};
use crate::cells::{Side, Site};
use crate::error::Result;
use crate::kms::{self, RootCheck, RootError, RootId};

impl Directory {
    /// The folders that the store lies in.
    pub(crate) fn sites(&self) -> Vec<Site> {
        self.cells.sites()
    }

    /// Proves a root key.
    pub(crate) fn check_root(&self, root: &RootId) -> Result<RootCheck, RootError> {
        kms::check_root(&**self.register.roots(), root)
    }

    /// The root keys that the store itself depends on.
    pub(crate) fn store_roots(&self) -> Result<Vec<RootId>> {
        Ok(self.register.root_versions()?.into_iter().map(|(root, _)| root).collect())
    }

    /// Whether both slots of a tenant's ring hold the same bytes.
    pub(crate) fn slots_are_equal(&self, tenant: &Tenant) -> Result<bool> {
        self.cells.with_rings(tenant.cell_number(), |rings| {
            Ok(rings.read(tenant.box_number(), Side::A)? == rings.read(tenant.box_number(), Side::B)?)
        })
    }

    /// How many tenants' rings, as they are now, no escrow holds.
    #[cfg(feature = "backup")]
    pub(crate) fn uncovered(&self) -> Result<usize> {
        let exports = self.exports()?;
        self.hold_still(|rows| {
            let living = rows.iter().filter(|row| row.status != Status::Destroying);
            let is_covered = |row: &super::Row| exports.get(&row.incarnation).is_some_and(|export| export.covers(row));
            Ok(living.filter(|row| !is_covered(row)).count())
        })
    }
}
