//! The acts that take access to a tenant away and give it back.

use serde::{Deserialize, Serialize};

use super::answer::{Change, Done, of_tenant};
use crate::custody::TenantCustody;
use crate::directory::{Fence, ProposedChange};
use crate::error::{Error, Result};
use crate::keys::Policy;

/// What a custodian of a tenant may ask for of access. The names in JSON are those here in lower case, with underscores.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum AccessAct {
    /// [`TenantCustody::access`]. Answered with [`Done::Access`].
    Show,
    /// [`TenantCustody::revoke`]. Answered with [`Done::Acknowledged`].
    Revoke {
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::restore`]. Answered with [`Done::Acknowledged`].
    Restore {
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::propose_restore`]. Answered with [`Done::Proposed`].
    ProposeRestore {
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::propose_recovery`]. Answered with [`Done::Proposed`].
    ProposeRecovery {
        /// The policy that is to hold then.
        policy: Policy,
        /// Why, for others to read.
        reason: String,
    },
}

impl AccessAct {
    /// Does it.
    pub(super) fn run(self, custody: &TenantCustody) -> Result<Done> {
        let acknowledged = |()| Done::Acknowledged;
        match self {
            Self::Show => custody.access().map(Done::Access),
            Self::Revoke { reason } => custody.revoke(&reason).map(acknowledged),
            Self::Restore { reason } => custody.restore(&reason).map(acknowledged),
            Self::ProposeRestore { reason } => custody.propose_restore(&reason).map(Done::Proposed),
            Self::ProposeRecovery { policy, reason } => custody.propose_recovery(policy, &reason).map(Done::Proposed),
        }
    }

    /// Checks that it could be done, and says what would change. Changes nothing.
    pub(super) fn plan(self, custody: &TenantCustody) -> Result<Vec<Change>> {
        let (open, revoked) = (Some("as its root keys allow".to_owned()), Some("revoked".to_owned()));
        let of = format!("access to {}", of_tenant(custody.tenant()));
        match self {
            Self::Show => custody.access().map(|_| Vec::new()),
            Self::Revoke { reason } => match custody.check_reason(&reason)? {
                Some(Fence::Ordered) => Ok(Vec::new()),
                _ => Ok(vec![Change { of, from: open, to: revoked, is_final: false }]),
            },
            Self::Restore { reason } => match custody.check_reason(&reason)? {
                Some(Fence::Ordered) => {
                    custody.check_alone()?;
                    Ok(vec![Change { of, from: revoked, to: open, is_final: false }])
                }
                _ => Err(Error::conflict("nobody has revoked access to the tenant")),
            },
            Self::ProposeRestore { reason } => custody.plan_proposal(ProposedChange::Restore, &reason),
            Self::ProposeRecovery { policy, reason } => {
                custody.plan_proposal(ProposedChange::Recovery(policy), &reason)
            }
        }
    }
}
