//! Taking access to a tenant away and giving it back, and what to do when its root keys are lost.

use serde::{Deserialize, Serialize};

use super::TenantCustody;
use crate::audit::Act;
use crate::directory::{Fence, Mandate, Proposal, ProposedChange};
use crate::error::{Error, Result};
use crate::keys::{Policy, RecoveryOrder, RevocationLatency};

/// Whether anything of a tenant opens, and how soon a refusal would end that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccessStatus {
    /// What shuts the tenant, if anything does.
    pub fence: Option<Fence>,
    /// Since when its root keys have been out of reach, in seconds since 1970, as far as this process has asked them.
    pub outage_since_secs: Option<u64>,
    /// When one of its root keys last allowed, in seconds since 1970, as far as the store knows; `None` if an owner has
    /// refused since.
    pub last_allowed_secs: Option<u64>,
    /// How long it takes at most until nobody reads any more, after an owner has refused in its key service.
    pub latency: RevocationLatency,
}

impl TenantCustody {
    /// Takes all access to the tenant's records away, at once: its keys leave memory, its sessions and scans end, writes
    /// under way are waited for, and no new session is admitted, here and after every opening of the store, until a
    /// custodian [restores](Self::restore) access. No record and no key is destroyed. One custodian can, whatever the
    /// rules say.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) without a good reason (1 to 1,024 bytes on one line). After any other error
    /// access has ended in this process, and whether that is written down is unknown: call again.
    pub fn revoke(&self, reason: &str) -> Result<()> {
        self.check_reason(reason)?;
        self.directory.revoke(&self.tenant, self.event(Act::REVOKED).detail("reason", reason))
    }

    /// Gives access back that was revoked. Sessions that had ended stay ended, and the root keys are asked by whoever signs
    /// in next: what they refuse stays shut.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) if the rules ask for two custodians: then one
    /// [proposes](Self::propose_restore) it and another applies it. [`Conflict`](crate::ErrorKind::Conflict) if nobody has
    /// revoked access; [`Invalid`](crate::ErrorKind::Invalid) as above.
    pub fn restore(&self, reason: &str) -> Result<()> {
        self.check_reason(reason)?;
        self.directory.restore_access(&self.tenant, None, self.event(Act::RESTORED).detail("reason", reason))
    }

    /// Proposes to give access back that was revoked. Returns the number of the proposal.
    ///
    /// # Errors
    /// As [`propose_policy`](Self::propose_policy); [`Conflict`](crate::ErrorKind::Conflict) if nobody has revoked access.
    /// What was proposed is forgotten when somebody revokes access once more.
    pub fn propose_restore(&self, reason: &str) -> Result<u32> {
        self.check()?;
        if self.tenant.fence() != Some(Fence::Ordered) {
            return Err(Error::conflict("nobody has revoked access to the tenant"));
        }
        self.propose(ProposedChange::Restore, reason)
    }

    /// Proposes another policy because the root keys of this one are lost. When another custodian has
    /// [applied](Self::apply) it, the recovery root has opened the tenant's keys once, with an entry in the trail before
    /// it was asked, and they are under the new policy. Returns the number of the proposal.
    ///
    /// # Errors
    /// As [`propose_policy`](Self::propose_policy).
    pub fn propose_recovery(&self, policy: Policy, reason: &str) -> Result<u32> {
        self.propose(ProposedChange::Recovery(policy), reason)
    }

    /// Whether anything of the tenant opens. No root key is asked.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if its ring cannot be read.
    pub fn access(&self) -> Result<AccessStatus> {
        self.check()?;
        let latency = self.directory.with_outline(&self.tenant, |outline| outline.policy.max_revocation_latency())?;
        Ok(AccessStatus {
            fence: self.tenant.fence(),
            outage_since_secs: self.tenant.outage_since_secs(),
            last_allowed_secs: Some(self.tenant.keeping().last_allowed_secs).filter(|secs| *secs != 0),
            latency,
        })
    }

    pub(super) fn apply_recovery(&self, policy: &Policy, proposal: &Proposal, mandate: &Mandate<'_>) -> Result<()> {
        let order = RecoveryOrder::by_two(proposal.by.who(), mandate.by.who())?;
        let event = self.event(Act::POLICY_APPLIED).detail("proposal", proposal.number);
        let event = event.detail("proposed by", &proposal.by.subject).detail("policy", policy).detail("by", "recovery");
        self.directory.recover(&self.tenant, (policy.clone(), mandate), order, &event)
    }

    pub(super) fn apply_restore(&self, proposal: &Proposal, mandate: &Mandate<'_>) -> Result<()> {
        let event = self.event(Act::RESTORED).detail("reason", &proposal.reason).detail("proposal", proposal.number);
        let event = event.detail("proposed by", &proposal.by.subject);
        self.directory.restore_access(&self.tenant, Some(mandate), event)
    }
}
