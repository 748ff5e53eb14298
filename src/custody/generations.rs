//! The end of a generation: its records move to the newest one, nothing is left that needs its key, the key goes.

use serde::{Deserialize, Serialize};

use super::tenant::TenantCustody;
use crate::audit::{Act, Event};
use crate::directory::{Escrow, Tenant};
use crate::engine::Durability;
use crate::error::{Error, Result};
use crate::keys::Ring;
use crate::keys::lifecycle::{Hindrance, Lifecycle, Proof, Stage};
use crate::kms::RootId;
use crate::reseal::{self, Census, ResealPlan, ResealReport};

/// How far a generation of a tenant's keys has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GenerationState {
    /// It is written under.
    Writing,
    /// It is followed by another. Records of it may be left, and nothing moves them now.
    Registered,
    /// Its records are being moved to the newest generation.
    Rolling {
        /// How much of the sweep under way is done: 0 to 99, by an estimate.
        percent: u8,
    },
    /// No record of it is left: its key can be destroyed, unless a scan or a backup still needs it. Known until the store
    /// is opened again; then another sweep has to tell.
    Rolled,
}

/// Whether the key of a generation can be destroyed.
#[derive(Debug)]
#[must_use = "the proof is what retires a generation"]
pub enum CanDestroy {
    /// It can.
    Yes(Destroyable),
    /// Not yet: everything that is in the way.
    No(Vec<Blocker>),
}

/// The proof that nothing needs the key of a generation any more: writers under it had ended, then a whole sweep over every
/// row met none of it, and no scan or backup is left from before the sweep's end. Made by
/// [`TenantCustody::can_destroy`] and by nothing else, for one tenant and its ring as it is at that moment.
#[derive(Debug)]
pub struct Destroyable(Proof);

/// What keeps the key of a generation from being destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Blocker {
    /// It is the newest: [`rotate_keys`](TenantCustody::rotate_keys) first.
    Newest,
    /// Writes that had begun under it are still under way.
    Writers,
    /// Records of it may be left: no whole sweep has ended without meeting one. [`reseal`](TenantCustody::reseal) moves
    /// them.
    Records {
        /// How many the sweep under way has met, or the last one had.
        met: u64,
        /// Their bytes.
        bytes: u64,
        /// Those that do not authenticate, so that they cannot be moved; they have to be replaced or deleted.
        unreadable: u64,
        /// How much of the sweep under way is done; `None` if none is.
        percent: Option<u8>,
    },
    /// So many scans are open that began before a sweep proved that it is gone. They end with their sessions.
    Scans(usize),
    /// So many backups are under way.
    Backups(usize),
}

/// What the destruction of a generation's key leaves to be thought of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetireReport {
    /// The generation whose key is in neither slot any more.
    pub generation: u32,
    /// The root keys and versions that wrap the epoch, and those that wrapped earlier ones in which the generation was
    /// there. Where the disk keeps what is overwritten (copy-on-write file systems, snapshots of the volume, flash), an
    /// old copy of the ring opens with them until they are destroyed.
    pub roots: Vec<(RootId, String)>,
    /// Every escrow that may hold the tenant's ring as it was, and the key with it.
    pub escrows: Vec<OutstandingEscrow>,
}

/// An escrow that may hold a ring of before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutstandingEscrow {
    /// The number of the export.
    pub number: u64,
    /// SHA-256 of its file, 64 hexadecimal digits; `None` if nobody wrote down that it was finished.
    pub sha256: Option<String>,
    /// When it was made, in seconds since 1970.
    pub exported_secs: Option<u64>,
}

impl TenantCustody {
    /// Moves the tenant's records to the newest generation, while everybody works: no write is lost, and versions stay as
    /// they are. Goes on where an earlier call, or an earlier process, stopped; several calls share the work.
    ///
    /// # Errors
    /// As the root keys answer, if the keys are not in memory; [`Closed`](crate::ErrorKind::Closed) when the
    /// credential expires in between; [`Unavailable`](crate::ErrorKind::Unavailable) if the disk is. Every record is
    /// then either of its old generation or of the newest, and the store goes on with it in the background.
    pub fn reseal(&self, plan: ResealPlan<'_>) -> Result<ResealReport> {
        self.check()?;
        self.record(Event::new(Act::RESEAL_BEGUN, self.identity.actor()))?;
        let report = reseal::reseal(&self.directory, &self.tenant, &*self.clock, plan, &|| self.check())?;
        if report.is_complete {
            let event = Event::new(Act::RESEAL_DONE, self.identity.actor());
            self.record(event.detail("records", report.progress.resealed))?;
        }
        Ok(report)
    }

    /// Counts the tenant's records by generation. Reads every row, and no record.
    ///
    /// # Errors
    /// Those of a custody that has ended; [`Unavailable`](crate::ErrorKind::Unavailable) if the disk is.
    pub fn census(&self) -> Result<Census> {
        self.check()?;
        reseal::census(&self.tenant, &|| self.check())
    }

    /// Whether nothing needs the key of a generation any more: the proof, or what does.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if no such generation lives; as the root keys answer, if the keys are
    /// not in memory.
    pub fn can_destroy(&self, generation: u32) -> Result<CanDestroy> {
        self.check()?;
        let hindrances = match self.directory.can_destroy(&self.tenant, generation)? {
            Ok(proof) => return Ok(CanDestroy::Yes(Destroyable(proof))),
            Err(hindrances) => hindrances,
        };
        let blockers = hindrances.into_iter().map(|hindrance| blocker(&self.tenant, generation, hindrance));
        blockers.collect::<Result<_>>().map(CanDestroy::No)
    }

    /// Destroys the key of a generation: it is in neither slot of the ring when this returns, and whatever was sealed under
    /// it is [`KeyDestroyed`](crate::ErrorKind::KeyDestroyed) for ever. In backups too, unless an escrow holds it.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if the proof does not hold any more: the keys were changed since, or a
    /// backup has begun. Ask [`can_destroy`](Self::can_destroy) again.
    pub fn retire(&self, proof: Destroyable) -> Result<RetireReport> {
        self.check()?;
        let generation = proof.0.generation();
        // Looked up first: once the key is gone, nothing may keep its custodian from being told what is left.
        let past = self.directory.past_roots(&self.tenant, Some(generation))?;
        let escrows = self.directory.escrows_with(self.tenant.incarnation())?;
        let ring = self.directory.retire_generation(&self.tenant, proof.0, &self.identity.actor())?;
        let mut roots: Vec<_> =
            ring.root_versions().map(|(root, version)| (root.clone(), version.to_owned())).collect();
        for past in past {
            let version = past.version()?;
            if !roots.contains(&version) {
                roots.push(version);
            }
        }
        let escrows = escrows.into_iter().map(|(number, escrow)| outstanding(number, escrow.as_ref())).collect();
        Ok(RetireReport { generation, roots, escrows })
    }

    fn record(&self, event: Event) -> Result<()> {
        self.directory.trails().record(self.tenant.incarnation(), event, Durability::Synced)
    }
}

impl Destroyable {
    /// The generation whose key can be destroyed.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.0.generation()
    }
}

fn outstanding(number: u64, escrow: Option<&Escrow>) -> OutstandingEscrow {
    let (sha256, exported_secs) = (escrow.map(Escrow::sha256), escrow.map(|escrow| escrow.exported_secs));
    OutstandingEscrow { number, sha256, exported_secs }
}

/// How far each living generation has come.
pub(super) fn states(tenant: &Tenant, ring: &Ring) -> impl Fn(u32) -> GenerationState {
    let (lifecycle, sweep): (Lifecycle, Option<u8>) = (tenant.lifecycle(ring), tenant.percent_swept());
    move |generation| match (lifecycle.stage(generation), sweep) {
        (Some(Stage::Writing), _) => GenerationState::Writing,
        (Some(Stage::Clean { .. }), _) => GenerationState::Rolled,
        (_, Some(percent)) => GenerationState::Rolling { percent },
        (_, None) => GenerationState::Registered,
    }
}

fn blocker(tenant: &Tenant, generation: u32, hindrance: Hindrance) -> Result<Blocker> {
    Ok(match hindrance {
        Hindrance::Unknown => return Err(Error::invalid("no such generation lives")),
        Hindrance::Writing => Blocker::Newest,
        Hindrance::Draining => Blocker::Writers,
        Hindrance::Unproven => {
            let (found, percent) = tenant.records_left(generation);
            Blocker::Records { met: found.records, bytes: found.bytes, unreadable: found.unreadable, percent }
        }
        Hindrance::Scans(count) => Blocker::Scans(count),
        Hindrance::Backups(count) => Blocker::Backups(count),
    })
}
