//! Who may do what, to which tenant, until when: what every operation on records asks first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::catalog::Catalog;
use crate::access::{Right, VerifiedIdentity};
use crate::clock::{Clock, Deadline};
use crate::directory::{Tenant, Writing};
use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::seal::Record;

/// One actor, one tenant, one deadline. A cheap handle.
#[derive(Clone)]
pub(crate) struct Authority {
    identity: Arc<VerifiedIdentity>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    store_is_open: Arc<AtomicBool>,
    /// The tenant's term when this was granted: nothing granted before a suspension goes on after it.
    term: u64,
}

impl Authority {
    /// The joint of identity and namespace: refused unless the identity speaks for the catalog's tenant.
    pub(crate) fn grant(
        identity: Arc<VerifiedIdentity>,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        store_is_open: Arc<AtomicBool>,
    ) -> Result<Self> {
        identity.check_speaks_for(catalog.tenant().speakers())?;
        let term = catalog.tenant().term();
        let authority = Self { identity, catalog, clock, entropy, store_is_open, term };
        authority.check_open()?;
        Ok(authority)
    }

    /// Asked before every operation, and for every row of a scan.
    pub(crate) fn check(&self, right: Right) -> Result<()> {
        self.check_open()?;
        self.identity.check_right(right)
    }

    /// Leave to write, and what to write under: asked after whatever may have taken its time.
    pub(crate) fn begin_write(&self) -> Result<Writing<'_>> {
        let writing = self.tenant().begin_write()?;
        self.check_open()?;
        Ok(writing)
    }

    /// Has the root keys asked ahead of time, those of the store too, and returns when they are to be asked next.
    pub(crate) fn lease(&self) -> Result<(Deadline, Arc<dyn Clock>)> {
        self.check_open()?;
        // Whoever may do nothing with the keys has no root key asked for them.
        self.identity.check_right(Right::Read).or_else(|_| self.identity.check_right(Right::Write))?;
        let until = self.catalog.lease()?;
        Ok((until, self.clock.clone()))
    }

    /// The record, unless it has expired by the store's clock: then it is as good as gone.
    pub(crate) fn unexpired(&self, record: Record) -> Option<Record> {
        // Most records do not expire, and no clock is asked for them.
        let is_living = record.expires_ms().is_none() || !record.has_expired(self.clock.wall_ms());
        is_living.then_some(record)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn identity(&self) -> &VerifiedIdentity {
        &self.identity
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        self.catalog.tenant()
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    fn check_open(&self) -> Result<()> {
        if !self.store_is_open.load(Ordering::SeqCst) {
            return Err(Error::store_closed());
        }
        self.identity.check_deadline(&*self.clock)?;
        self.tenant().check_term(self.term)
    }
}
