//! The front door: building and opening a store, and the doors that lead on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::access;
use crate::audit::Act;
use crate::cells::{self, BOXES_MAX, Budgets, Cells, RegionPaths};
use crate::clock::{Clock, SystemClock};
use crate::collection::{Authority, Catalogs};
use crate::custody::desk::{CustodyDesk, Doors};
use crate::custody::{self, Custody, PurgedTenant, TenantCustody};
use crate::directory::{Directory, Speaker, Stats, Tenant};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Verifier;
use crate::keys::Policy;
use crate::kms::{Connection, RootId, RootKeys};
use crate::name::Incarnation;
use crate::session::Session;
use crate::steward::{Shift, Steward};

/// A store of many tenants, open in this process. A cheap handle: `Clone`, `Send`, `Sync`; the store is released when
/// the last handle, session, collection and scan is gone.
#[derive(Clone)]
pub struct Strongroom {
    directory: Arc<Directory>,
    catalogs: Arc<Catalogs>,
    verifier: Arc<dyn Verifier>,
    service: Arc<[Speaker]>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    is_open: Arc<AtomicBool>,
    steward: Arc<Steward>,
    /// Ends with the last handle, after everything that is above: what the thread holds of the store is released then.
    _shift: Arc<Shift>,
}

/// Somebody whose credential speaks for a tenant, before that tenant's door. Made by [`Strongroom::identify`] alone.
pub(crate) struct Admission {
    identity: access::VerifiedIdentity,
    tenant: Arc<Tenant>,
}

#[cfg(feature = "tokio")]
impl Admission {
    pub(crate) fn tenant(&self) -> Arc<Tenant> {
        self.tenant.clone()
    }

    /// Whether going on waits for no key service and opens no cell.
    pub(crate) fn is_at_hand(&self) -> bool {
        self.tenant.check_active().is_ok() && self.tenant.is_at_hand(false)
    }
}

/// How a store is opened. Required things are arguments of [`Strongroom::builder`]; everything here has a default,
/// and the chapter on defaults says why it is what it is.
#[must_use = "a builder does nothing until it opens a store"]
pub struct StrongroomBuilder {
    home: Home,
    roots: Arc<dyn RootKeys>,
    verifier: Arc<dyn Verifier>,
    service: Vec<Speaker>,
    service_root: String,
    boxes_per_cell: u32,
    budgets: Budgets,
    regions: Vec<(String, PathBuf)>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

enum Home {
    Memory,
    Disk(PathBuf),
}

impl Strongroom {
    /// Begins to open the store in the folder `path`, or to make one there.
    ///
    /// `roots` holds the service's root key, and `verifier` says whom a credential speaks for. The root keys must not
    /// lie in the store's folder.
    pub fn builder(path: impl AsRef<Path>, roots: impl RootKeys, verifier: impl Verifier) -> StrongroomBuilder {
        StrongroomBuilder::new(Home::Disk(path.as_ref().to_path_buf()), roots, verifier)
    }

    /// Begins to open a store in memory, which is gone when its last handle is: for tests of services.
    pub fn in_memory(roots: impl RootKeys, verifier: impl Verifier) -> StrongroomBuilder {
        StrongroomBuilder::new(Home::Memory, roots, verifier)
    }

    /// Opens a session of `tenant` for the bearer of `credential`.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) unless the credential verifies *and* its issuer and tenant claim are a
    /// pair that speaks for this tenant. An unknown tenant looks the same as a forbidden one.
    /// [`KeyRevoked`](crate::ErrorKind::KeyRevoked), [`Unavailable`](crate::ErrorKind::Unavailable) as the root keys
    /// answer, the former also while the tenant's custodians have [revoked](TenantCustody::revoke) access; [`Corrupt`](crate::ErrorKind::Corrupt) if the tenant's cell or ring is damaged.
    pub fn session(&self, credential: &str, tenant: &str) -> Result<Session> {
        self.admit(self.identify(credential, tenant)?)
    }

    /// Opens a session of the tenant that the credential itself speaks for.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) if it speaks for none; [`Invalid`](crate::ErrorKind::Invalid) if it
    /// speaks for several, so that one must be named. Else as [`session`](Self::session).
    pub fn home_session(&self, credential: &str) -> Result<Session> {
        self.admit(self.identify_at_home(credential)?)
    }

    /// Opens the custodian's door for the bearer of `credential`.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) unless the credential verifies, carries the *role*
    /// `strongroom.custodian`, and comes from a pair of issuer and tenant claim named in
    /// [`StrongroomBuilder::service_speaker`].
    pub fn custody(&self, credential: &str) -> Result<Custody> {
        let door = self.door(Act::CUSTODY_REFUSED, None);
        let identity = door.verify(credential)?;
        self.directory.sweep();
        let (directory, clock, verifier) = (self.directory.clone(), self.clock.clone(), self.verifier.clone());
        let custody = Custody::admit(identity, &self.service, directory, clock, verifier, self.is_open.clone());
        door.admits(custody, "the credential is not that of a custodian of the service")
    }

    /// Admits a custodian of one tenant: a credential with the role `strongroom.custodian` that speaks for it.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) unless it is one; an unknown tenant looks like a forbidden one.
    pub fn tenant_custody(&self, credential: &str, tenant: &str) -> Result<TenantCustody> {
        let found = self.directory.find(tenant);
        let door = self.door(Act::CUSTODY_REFUSED, found.as_deref());
        let identity = door.verify(credential)?;
        self.directory.sweep();
        let speakers = found.as_ref().map_or(&[][..], |tenant| tenant.speakers());
        door.admits(identity.check_speaks_for(speakers), "the credential does not speak for the tenant")?;
        let (directory, tenant) = (self.directory.clone(), found.clone().ok_or_else(Error::denied)?);
        let custody = TenantCustody::admit(identity, directory, tenant, self.clock.clone(), self.is_open.clone());
        door.admits(custody, "the credential is not that of a custodian of the tenant")
    }

    /// Admits a custodian who spoke for a tenant that was purged, to its receipts and its trail. Of several tenants of this
    /// name, the last one that the credential spoke for.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) unless there was one, and the credential is that of its custodian.
    pub fn purged_tenant(&self, credential: &str, tenant: &str) -> Result<PurgedTenant> {
        let door = self.door(Act::CUSTODY_REFUSED, None);
        let identity = door.verify(credential)?;
        self.directory.sweep();
        let (directory, clock) = (self.directory.clone(), self.clock.clone());
        let purged = PurgedTenant::admit(identity, tenant, directory, clock, self.is_open.clone());
        door.admits(purged, "the credential is not that of a custodian of a purged tenant")
    }

    /// The request handler for custodians of this store while it is open: see [`desk`](crate::desk).
    #[must_use]
    pub fn custody_desk(&self) -> CustodyDesk {
        CustodyDesk::new(Arc::new(self.clone()), self.clock.clone())
    }

    /// Ends every session, collection and scan of this store at its next step. The folder is released when the last
    /// of their handles is dropped.
    pub fn close(self) {
        self.is_open.store(false, Ordering::SeqCst);
    }

    /// Does now what the store does by itself every second while a handle of this type lives: drops keys that nobody uses,
    /// rotates keys that have reached the age of their tenant's [`Rules`](crate::Rules), goes on with unfinished
    /// reseals within [`Budgets::reseal_rate`](crate::Budgets::reseal_rate), removes records that have expired within
    /// [`Budgets::expiry_rate`](crate::Budgets::expiry_rate). For tests on a clock of their own; what fails is logged, and
    /// tried again.
    pub fn tend(&self) {
        self.steward.tend();
    }

    /// What the store takes of its budgets now, and how its cells are. Names no tenant.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.directory.stats()
    }

    /// Every place outside of this process that the store can connect to, and what for. It connects to no other: its
    /// root keys and its verifier ask the hosts that their configuration names, and nothing else of it has a network.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        let mut connections = self.directory.connections();
        connections.extend(self.verifier.connections());
        connections.sort();
        connections.dedup();
        connections
    }

    #[cfg(test)]
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The door at which a credential is presented. Who is refused there is counted in the trail of the tenant whose door
    /// it is, if there is one.
    fn door(&self, refusals: Act, tenant: Option<&Tenant>) -> Door<'_> {
        let trails = self.directory.trails();
        Door { room: self, refusals, trail: tenant.map_or_else(|| trails.of_store(), Tenant::incarnation) }
    }

    /// The first half of a session: whose credential it is, and whether that speaks for the tenant.
    pub(crate) fn identify(&self, credential: &str, tenant: &str) -> Result<Admission> {
        let found = self.directory.find(tenant);
        let door = self.door(Act::SESSIONS_REFUSED, found.as_deref());
        let identity = door.verify(credential)?;
        // Compared in either case, so that an unknown tenant takes the way of a forbidden one.
        let speakers = found.as_ref().map_or(&[][..], |tenant| tenant.speakers());
        door.admits(identity.check_speaks_for(speakers), "the credential does not speak for the tenant")?;
        Ok(Admission { identity, tenant: found.ok_or_else(Error::denied)? })
    }

    /// The same, of the tenant that the credential itself speaks for.
    pub(crate) fn identify_at_home(&self, credential: &str) -> Result<Admission> {
        let door = self.door(Act::SESSIONS_REFUSED, None);
        let identity = door.verify(credential)?;
        match self.directory.of_speaker(identity.speaker()).as_slice() {
            [] => door.admits(Err(Error::denied()), "the credential speaks for no tenant"),
            [tenant] => Ok(Admission { identity, tenant: tenant.clone() }),
            _ => Err(Error::invalid("the credential speaks for several tenants; name one")),
        }
    }

    /// The second half: the tenant is open, and its keys and catalog are there. The root keys may be asked.
    pub(crate) fn admit(&self, Admission { identity, tenant }: Admission) -> Result<Session> {
        self.directory.sweep();
        tenant.knock();
        self.door(Act::SESSIONS_REFUSED, Some(&tenant)).admits(tenant.check_active(), "the tenant is closed")?;
        let catalog = self.catalogs.get(&self.directory, &tenant)?;
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let authority = Authority::grant(Arc::new(identity), catalog, clock, entropy, self.is_open.clone())?;
        metrics::counter!("strongroom_sessions_total").increment(1);
        Ok(Session::new(authority))
    }
}

impl Doors for Strongroom {
    fn custody(&self, credential: &str) -> Result<Custody> {
        self.custody(credential)
    }

    fn tenant_custody(&self, credential: &str, tenant: &str) -> Result<TenantCustody> {
        self.tenant_custody(credential, tenant)
    }

    fn purged_tenant(&self, credential: &str, tenant: &str) -> Result<PurgedTenant> {
        self.purged_tenant(credential, tenant)
    }
}

/// A door, and where it is counted whom it does not admit.
struct Door<'r> {
    room: &'r Strongroom,
    refusals: Act,
    trail: Incarnation,
}

impl Door<'_> {
    fn verify(&self, credential: &str) -> Result<access::VerifiedIdentity> {
        access::verify(&*self.room.verifier, credential, &*self.room.clock).map_err(|reason| {
            self.count(reason.as_str());
            access::refuse(reason)
        })
    }

    /// Passes on what was decided, and counts it if it was a refusal.
    fn admits<T>(&self, decision: Result<T>, reason: &'static str) -> Result<T> {
        if decision.as_ref().is_err_and(|error| error.kind() == ErrorKind::Denied) {
            self.count(reason);
        }
        decision
    }

    fn count(&self, reason: &'static str) {
        self.room.directory.trails().count_refusal(self.trail, self.refusals.clone(), reason);
    }
}

impl StrongroomBuilder {
    fn new(home: Home, roots: impl RootKeys, verifier: impl Verifier) -> Self {
        Self {
            home,
            roots: Arc::new(roots),
            verifier: Arc::new(verifier),
            service: Vec::new(),
            service_root: "service".to_owned(),
            boxes_per_cell: 16,
            budgets: Budgets::default(),
            regions: Vec::new(),
            clock: SystemClock::new(),
            entropy: Arc::new(OsEntropy),
        }
    }

    /// Names who may be a custodian of the service: tokens of `issuer` whose tenant claim (`tid`, unless the verifier was told
    /// another) has the value `tenant_claim`, and which carry the role `strongroom.custodian`. May be called several times. Without it the door
    /// [`Strongroom::custody`] is shut.
    pub fn service_speaker(mut self, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        self.service.push(Speaker::new(issuer, tenant_claim));
        self
    }

    /// The name of the service's root key among `roots`; `service` unless said otherwise.
    pub fn service_root(mut self, root: impl Into<String>) -> Self {
        self.service_root = root.into();
        self
    }

    /// How many boxes a new cell gets: 1 to 4,096, 16 unless said otherwise. Cells that exist keep theirs.
    pub fn boxes_per_cell(mut self, boxes: u32) -> Self {
        self.boxes_per_cell = boxes;
        self
    }

    /// What the store may take of memory, descriptors and logs, however many tenants are active.
    pub fn budgets(mut self, budgets: Budgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// Names the folder of a region (1 to 32 bytes of `a-z`, `0-9` and `-`), usually a disk of its own, for tenants made
    /// with [`TenantSpec::region`](crate::TenantSpec::region). May be called several times. The folder is bound to this
    /// store and region when it is first used. Should it be absent, empty or another's later on, the tenants of the
    /// region are shut, and nobody else: so are those of a region that is not named here. It must not overlap with the
    /// store's folder, the root keys' or another region's. A store in memory has its regions there too.
    pub fn region(mut self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.regions.push((name.into(), path.as_ref().to_path_buf()));
        self
    }

    /// The clocks that deadlines are held to; those of the operating system unless said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if it is open already, here or in another process;
    /// [`Invalid`](crate::ErrorKind::Invalid) if the folder holds something else, a store of another format or of a
    /// service root of another name, or the root keys, for budgets that have no room for one cell, and if the verifier
    /// could never accept any of the service's speakers; [`KeyRevoked`](crate::ErrorKind::KeyRevoked) if the service's root key is
    /// not there or its owner refuses; [`Tampered`](crate::ErrorKind::Tampered) if it is another key than
    /// the store was made under; [`Corrupt`](crate::ErrorKind::Corrupt) if the store's own records or ring are
    /// damaged; [`Unavailable`](crate::ErrorKind::Unavailable) if the disk or the root key is.
    pub fn open(self) -> Result<Strongroom> {
        if !(1..=BOXES_MAX).contains(&self.boxes_per_cell) {
            return Err(Error::invalid("a cell has 1 to 4,096 boxes"));
        }
        check_service(&*self.verifier, &self.service)?;
        let budgets = self.budgets.clone();
        let policy = Policy::service_managed(RootId::new(self.service_root)?);
        let regions = cells::read_regions(self.regions)?;
        let cells = match &self.home {
            Home::Memory => Cells::in_memory(self.boxes_per_cell, regions),
            Home::Disk(path) => {
                if !self.budgets.has_room_for(self.boxes_per_cell) {
                    return Err(Error::invalid("the budgets have no room for one cell with so many boxes"));
                }
                cells::check_folders(path, &regions, &self.roots.locations())?;
                open_on_disk(path, self.boxes_per_cell, self.budgets, regions)?
            }
        };
        let (clock, entropy) = (self.clock, self.entropy);
        let directory = Directory::open(Arc::new(cells), self.roots, policy, clock.clone(), entropy.clone())?;
        let is_open = Arc::new(AtomicBool::new(true));
        let steward = Steward::new(&directory, clock.clone(), is_open.clone(), &budgets);
        let shift = Arc::new(steward.begin()?);
        Ok(Strongroom {
            directory,
            catalogs: Arc::new(Catalogs::new(budgets.active_tenants)),
            verifier: self.verifier,
            service: self.service.into(),
            clock,
            entropy,
            is_open,
            steward,
            _shift: shift,
        })
    }
}

/// A custodian of the service must be able to come in. One of several who cannot is no reason to shut everybody out.
fn check_service(verifier: &dyn Verifier, service: &[Speaker]) -> Result<()> {
    let refusals: Vec<_> = service.chunks(1).filter_map(|one| custody::check_accepted(verifier, one).err()).collect();
    refusals.iter().for_each(|error| tracing::warn!(%error, "a service speaker can never be a custodian"));
    match refusals.len() == service.len() {
        true => refusals.into_iter().next().map_or(Ok(()), Err),
        false => Ok(()),
    }
}

#[cfg(feature = "rocksdb")]
fn open_on_disk(path: &Path, boxes_per_cell: u32, budgets: Budgets, regions: RegionPaths) -> Result<Cells> {
    Cells::on_disk(path, boxes_per_cell, budgets, regions)
}

#[cfg(not(feature = "rocksdb"))]
fn open_on_disk(_: &Path, _: u32, _: Budgets, _: RegionPaths) -> Result<Cells> {
    Err(Error::invalid("this build has no engine for the disk; enable the feature `rocksdb`"))
}

impl std::fmt::Debug for Strongroom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Strongroom").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StrongroomBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StrongroomBuilder").finish_non_exhaustive()
    }
}
