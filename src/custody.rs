//! The door of key custodians: they make, suspend, resume and delete tenants, and read no record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::access::{Right, VerifiedIdentity};
use crate::clock::Clock;
use crate::directory::{Directory, Speaker, Status, Tenant, check_speakers};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TenantName;

/// Acts of a custodian of the service. Made by [`Strongroom::custody`](crate::Strongroom::custody); ends as a
/// [`Session`](crate::Session) does.
pub struct Custody {
    identity: VerifiedIdentity,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    store_is_open: Arc<AtomicBool>,
}

/// A tenant that is to be made.
#[derive(Clone, Debug)]
#[must_use = "a specification does nothing until a custodian makes the tenant"]
pub struct TenantSpec {
    name: String,
    speakers: Vec<Speaker>,
}

/// A tenant, as a custodian sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantSummary {
    /// Its name.
    pub name: TenantName,
    /// Whether sessions of it are admitted.
    pub state: TenantState,
    /// Who may speak for it.
    pub speakers: Vec<Speaker>,
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
}

/// Whether a tenant's sessions are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TenantState {
    /// They are.
    Active,
    /// They are not, and its records are whole.
    Suspended,
    /// It has been deleted; what is left of it is being wiped.
    Deleting,
}

impl Custody {
    /// Admits a custodian of the service: the role, and a speaker whom the service's configuration names.
    pub(crate) fn admit(
        identity: VerifiedIdentity,
        service: &[Speaker],
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        store_is_open: Arc<AtomicBool>,
    ) -> Result<Self> {
        identity.check_speaks_for(service)?;
        let custody = Self { identity, directory, clock, store_is_open };
        custody.check()?;
        Ok(custody)
    }

    /// Makes a tenant, with keys and a box of its own, durably.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if the name is taken; [`Invalid`](crate::ErrorKind::Invalid) for a
    /// bad name or speaker; [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`KeyRevoked`](crate::ErrorKind::KeyRevoked) if a root key does not wrap. Nothing was made then.
    pub fn create_tenant(&self, spec: TenantSpec) -> Result<TenantSummary> {
        self.check()?;
        let name = TenantName::new(spec.name)?;
        check_speakers(&spec.speakers)?;
        let tenant = self.directory.create(&name, spec.speakers)?;
        tracing::info!(incarnation = ?tenant.incarnation(), "made a tenant");
        Ok(TenantSummary::of(&tenant))
    }

    /// Ends every session of a tenant at its next step and admits no more. Its records stay as they are.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant. After any other error the tenant is closed
    /// in this process, and whether it is written down is unknown: call again.
    pub fn suspend_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.suspend(name)
    }

    /// Admits the sessions of a suspended tenant again.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant.
    pub fn resume_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.resume(name)
    }

    /// Deletes a tenant: its sessions end, its ring is overwritten, its box is wiped. When this returns, no key of it
    /// is left in the store's ring files. What backups and snapshots of the volume hold is in the chapter on threats.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant. After any other error the tenant is
    /// closed in this process, and the deletion goes on when this is called again or, if it had been written down, when
    /// the store is next opened.
    pub fn delete_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.delete(name)?;
        Ok(())
    }

    /// Every tenant, by name.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn tenants(&self) -> Result<Vec<TenantSummary>> {
        self.check()?;
        Ok(self.directory.list().iter().map(|tenant| TenantSummary::of(tenant)).collect())
    }

    fn check(&self) -> Result<()> {
        if !self.store_is_open.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, "the store has been closed"));
        }
        self.identity.check_deadline(&*self.clock)?;
        self.identity.check_right(Right::Custodian)
    }
}

impl TenantSpec {
    /// A tenant `name`, for which tokens of `issuer` speak whose tenant claim is `tenant_claim`. Required, because a
    /// tenant for which nobody can speak is of no use, and one for which anybody can is worse.
    pub fn new(name: impl Into<String>, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        Self { name: name.into(), speakers: vec![Speaker::new(issuer, tenant_claim)] }
    }

    /// One more pair of issuer and tenant claim that speaks for this tenant; at most 16, each once.
    pub fn speaker(mut self, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        self.speakers.push(Speaker::new(issuer, tenant_claim));
        self
    }
}

impl TenantSummary {
    fn of(tenant: &Tenant) -> Self {
        let state = match tenant.status() {
            Status::Active => TenantState::Active,
            Status::Suspended => TenantState::Suspended,
            Status::Destroying => TenantState::Deleting,
        };
        Self {
            name: tenant.name().clone(),
            state,
            speakers: tenant.speakers().to_vec(),
            created_secs: tenant.created_secs(),
        }
    }
}

impl std::fmt::Debug for Custody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custody").field("by", &self.identity.subject()).finish_non_exhaustive()
    }
}
