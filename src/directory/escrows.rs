//! Every escrow that was ever exported, and the first that held a tenant: what an escrow holds can be brought back long
//! after the tenant is gone, so none is forgotten.

use serde::{Deserialize, Serialize};

use super::{Directory, STORE};
#[cfg(feature = "backup")]
use crate::engine::Batch;
use crate::error::Result;
use crate::name::Incarnation;
use crate::seal::Table;

pub(super) const EXPORT_COUNT: &[u8] = b"exports";
/// By number.
const ESCROWS: Table = Table { keyspace: 0, collection: 11 };
/// The number of the first escrow that held a tenant's ring, by incarnation.
const FIRST: Table = Table { keyspace: 0, collection: 12 };

/// An escrow that was written to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Escrow {
    pub(crate) number: u64,
    pub(crate) exported_secs: u64,
    pub(super) sha256: [u8; 32],
}

impl Escrow {
    /// Its digest, in hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
    }
}

impl Directory {
    /// Adds an escrow to what is remembered.
    #[cfg(feature = "backup")]
    pub(super) fn put_escrow(&self, batch: &mut Batch, escrow: &Escrow) -> Result<()> {
        self.register.put(batch, ESCROWS, &[&escrow.number.to_be_bytes()], escrow)
    }

    /// Remembers in which escrow a tenant's ring lay first, unless that is known.
    #[cfg(feature = "backup")]
    pub(super) fn put_first_escrow(&self, batch: &mut Batch, incarnation: Incarnation, number: u64) -> Result<()> {
        if self.first_escrow(incarnation)?.is_some() {
            return Ok(());
        }
        self.register.put(batch, FIRST, &[incarnation.as_bytes()], &number)
    }

    /// Forgets it, with a tenant that is gone.
    #[cfg(feature = "backup")]
    pub(super) fn delete_first_escrow(&self, batch: &mut Batch, incarnation: Incarnation) -> Result<()> {
        self.register.delete(batch, FIRST, &[incarnation.as_bytes()])
    }

    /// The escrows that may hold a tenant's ring, by number: those since the first that held it, and those that were
    /// begun and whose end nobody wrote down, in the one moment of a crash or in a store of an earlier release.
    pub(crate) fn escrows_with(&self, incarnation: Incarnation) -> Result<Vec<(u64, Option<Escrow>)>> {
        let first = self.first_escrow(incarnation)?.unwrap_or(u64::MAX);
        let mut known: std::collections::BTreeMap<u64, Escrow> =
            self.register.list(ESCROWS, &[])?.into_iter().map(|escrow: Escrow| (escrow.number, escrow)).collect();
        let all = (1..=self.export_count()?).map(|number| (number, known.remove(&number)));
        Ok(all.filter(|(number, escrow)| escrow.is_none() || *number >= first).collect())
    }

    /// How many exports have begun. One that has a higher number than this is of a later moment.
    pub(crate) fn export_count(&self) -> Result<u64> {
        Ok(self.register.get(STORE, &[EXPORT_COUNT])?.unwrap_or(0))
    }

    fn first_escrow(&self, incarnation: Incarnation) -> Result<Option<u64>> {
        self.register.get(FIRST, &[incarnation.as_bytes()])
    }
}
