//! The door of a tenant's own custodians: they hold the keys of one tenant, and read none of its records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::generations::{self, GenerationState};
use crate::access::{Right, VerifiedIdentity};
use crate::audit::{Act, Event};
use crate::clock::Clock;
use crate::directory::{Directory, Mandate, Proposal, ProposedChange, Rules, Status, Tenant};
use crate::error::{Error, Result};
use crate::keys::Policy;
use crate::kms::RootId;
use crate::name::TenantName;

/// Acts of a custodian of one tenant. Made by [`Strongroom::tenant_custody`](crate::Strongroom::tenant_custody); ends as
/// a [`Session`](crate::Session) does. A suspended tenant's custodians can still act.
///
/// Nobody else can do what is done here, the provider's custodians least of all: who may open a tenant's keys is for
/// the tenant to say.
pub struct TenantCustody {
    pub(super) identity: VerifiedIdentity,
    pub(super) directory: Arc<Directory>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store_is_open: Arc<AtomicBool>,
}

/// What is known of a tenant's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyStatus {
    /// Whose consent opens them.
    pub policy: Policy,
    /// The epoch of the ring: one more for every change of roots or policy.
    pub epoch: u32,
    /// Each root key of the policy and its version that wraps this epoch.
    pub roots: Vec<(RootId, String)>,
    /// The living generations, oldest first; the last one is written under.
    pub generations: Vec<GenerationStatus>,
}

/// One living generation of a tenant's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GenerationStatus {
    /// Its number.
    pub number: u32,
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
    /// How far it has come.
    pub state: GenerationState,
}

impl TenantCustody {
    /// Admits a custodian of this tenant: the role, and a speaker of the tenant's.
    pub(crate) fn admit(
        identity: VerifiedIdentity,
        directory: Arc<Directory>,
        tenant: Arc<Tenant>,
        clock: Arc<dyn Clock>,
        store_is_open: Arc<AtomicBool>,
    ) -> Result<Self> {
        identity.check_speaks_for(tenant.speakers())?;
        let custody = Self { identity, directory, tenant, clock, store_is_open };
        custody.check()?;
        Ok(custody)
    }

    /// Who acts.
    #[must_use]
    pub fn identity(&self) -> &VerifiedIdentity {
        &self.identity
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        self.tenant.name()
    }

    /// The policy, epoch and generations of the tenant's keys.
    ///
    /// # Errors
    /// As the root keys answer, if the keys are not in memory.
    pub fn keys(&self) -> Result<KeyStatus> {
        self.check()?;
        let ring = self.tenant.ring_for_custody()?;
        let state = generations::states(&self.tenant, &ring);
        let generation = |(number, created_secs)| GenerationStatus { number, created_secs, state: state(number) };
        Ok(KeyStatus {
            policy: ring.policy().clone(),
            epoch: ring.epoch(),
            roots: ring.root_versions().map(|(root, version)| (root.clone(), version.to_owned())).collect(),
            generations: ring.generations().map(generation).collect(),
        })
    }

    /// Begins a new epoch under the same policy: every root key wraps a fresh secret under its newest version, and what
    /// the versions before could open does not open the tenant's keys any more. No record is touched.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Throttled`](crate::ErrorKind::Throttled) or
    /// [`KeyRevoked`](crate::ErrorKind::KeyRevoked) as the root keys answer: all of them are needed to begin, and
    /// those of one alternative to open what is there. [`Conflict`](crate::ErrorKind::Conflict) if somebody else
    /// changes the keys at the same time. The old epoch is whole then.
    pub fn rotate_roots(&self) -> Result<()> {
        self.check()?;
        self.directory.begin_epoch(&self.tenant, None, &self.event(Act::ROOTS_ROTATED))
    }

    /// Makes a new generation of the tenant's own key, durably; everything that is written after this returns is
    /// sealed under it. What was written before stays readable. No root key is asked if the keys are in memory. Returns
    /// the number of the generation.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if 16 generations live already, or somebody else changes the keys
    /// at the same time.
    pub fn rotate_keys(&self) -> Result<u32> {
        self.check()?;
        self.directory.add_generation(&self.tenant, &self.identity.actor())
    }

    /// What the custodians of this tenant have agreed on.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn rules(&self) -> Result<Rules> {
        self.check()?;
        Ok(self.directory.charter(&self.tenant)?.rules)
    }

    /// What has been proposed and neither applied nor withdrawn.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn proposals(&self) -> Result<Vec<Proposal>> {
        self.check()?;
        Ok(self.directory.charter(&self.tenant)?.proposals)
    }

    /// Proposes another policy of root keys. Returns the number of the proposal.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) without a good reason (1 to 1,024 bytes on one line);
    /// [`Conflict`](crate::ErrorKind::Conflict) if 8 proposals are open.
    pub fn propose_policy(&self, policy: Policy, reason: &str) -> Result<u32> {
        self.propose(ProposedChange::Policy(policy), reason)
    }

    /// Proposes other rules. Returns the number of the proposal.
    ///
    /// # Errors
    /// As [`propose_policy`](Self::propose_policy).
    pub fn propose_rules(&self, rules: Rules, reason: &str) -> Result<u32> {
        self.propose(ProposedChange::Rules(rules), reason)
    }

    /// Takes a proposal back. Any custodian of the tenant can.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if it is not open.
    pub fn withdraw(&self, proposal: u32) -> Result<()> {
        self.check()?;
        self.directory.change_charter(&self.tenant, |charter| {
            charter.remove(proposal)?;
            Ok(((), Some(self.event(Act::PROPOSAL_WITHDRAWN).detail("proposal", proposal))))
        })
    }

    /// Does what was proposed. A policy takes effect in a new epoch, and no record is touched.
    ///
    /// A root that leaves the policy keeps its power over old copies of the ring until the tenant's key has been rotated,
    /// the records resealed and the old generation retired.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if it is not open; [`Denied`](crate::ErrorKind::Denied) if the rules
    /// ask for another custodian than the one who proposed it; for a policy, as
    /// [`rotate_roots`](Self::rotate_roots), and a root that is new is proven to wrap and unwrap first; for a recovery also
    /// [`Conflict`](crate::ErrorKind::Conflict) if the root keys open the tenant's keys, and as the recovery root answers.
    pub fn apply(&self, proposal: u32) -> Result<()> {
        self.check()?;
        let person = self.identity.person();
        let proposed = self.directory.charter(&self.tenant)?.applicable(proposal, &person)?.clone();
        let mandate = Mandate { proposal, by: &person };
        let event = |act| self.event(act).detail("proposal", proposal).detail("proposed by", &proposed.by.subject);
        match &proposed.change {
            ProposedChange::Policy(policy) => {
                self.directory.prove_new_roots(&self.tenant, policy)?;
                let event = event(Act::POLICY_APPLIED).detail("policy", policy);
                self.directory.begin_epoch(&self.tenant, Some((policy.clone(), &mandate)), &event)
            }
            ProposedChange::Recovery(policy) => self.apply_recovery(policy, &proposed, &mandate),
            ProposedChange::Restore => self.apply_restore(&proposed, &mandate),
            ProposedChange::Rules(rules) => self.directory.change_charter(&self.tenant, |charter| {
                // Asked again: somebody may have changed the rules since.
                charter.applicable(proposal, &person)?;
                charter.remove(proposal)?;
                charter.rules = rules.clone();
                Ok(((), Some(event(Act::RULES_CHANGED).detail("rules", rules))))
            }),
        }
    }

    pub(super) fn propose(&self, change: ProposedChange, reason: &str) -> Result<u32> {
        self.check()?;
        let (person, now_secs) = (self.identity.person(), self.clock.wall_ms() / 1000);
        let event = match &change {
            ProposedChange::Policy(policy) => self.event(Act::POLICY_PROPOSED).detail("policy", policy),
            ProposedChange::Rules(rules) => self.event(Act::RULES_PROPOSED).detail("rules", rules),
            ProposedChange::Recovery(policy) => self.event(Act::RECOVERY_PROPOSED).detail("policy", policy),
            ProposedChange::Restore => self.event(Act::RESTORE_PROPOSED),
        };
        self.directory.change_charter(&self.tenant, |charter| {
            let number = charter.propose(person, reason, now_secs, change)?;
            Ok((number, Some(event.detail("reason", reason).detail("proposal", number))))
        })
    }

    /// An event of this custodian's doing.
    pub(super) fn event(&self, act: Act) -> Event {
        Event::new(act, self.identity.actor())
    }

    pub(super) fn check(&self) -> Result<()> {
        if !self.store_is_open.load(Ordering::SeqCst) {
            return Err(Error::store_closed());
        }
        self.identity.check_deadline(&*self.clock)?;
        self.identity.check_right(Right::Custodian)?;
        match self.tenant.status() {
            Status::Destroying => Err(Error::denied()),
            Status::Active | Status::Suspended => Ok(()),
        }
    }
}

impl std::fmt::Debug for TenantCustody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantCustody").field("tenant", self.tenant()).finish_non_exhaustive()
    }
}
