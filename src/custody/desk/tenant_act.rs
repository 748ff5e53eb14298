//! The acts of a tenant's own custodian.

use serde::{Deserialize, Serialize};

use super::Line;
use super::act::{Change, Done, Identity, of_tenant};
use super::audit_act::AuditAct;
use crate::custody::TenantCustody;
use crate::directory::{ProposedChange, Rules};
use crate::error::Result;
use crate::keys::Policy;

/// What a custodian of a tenant may ask for. The names in JSON are those here in lower case, with underscores.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TenantAct {
    /// Who the token says that its bearer is, and until when. Answered with [`Done::Identity`].
    WhoAmI,
    /// [`TenantCustody::keys`]. Answered with [`Done::Keys`].
    Keys,
    /// [`TenantCustody::rotate_roots`]. Answered with [`Done::Acknowledged`].
    RotateRoots,
    /// [`TenantCustody::rotate_keys`]. Answered with [`Done::Generation`].
    RotateKeys,
    /// [`TenantCustody::rules`]. Answered with [`Done::Rules`].
    Rules,
    /// [`TenantCustody::proposals`]. Answered with [`Done::Proposals`].
    Proposals,
    /// [`TenantCustody::propose_policy`]. Answered with [`Done::Proposed`].
    ProposePolicy {
        /// The policy.
        policy: Policy,
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::propose_rules`]. Answered with [`Done::Proposed`].
    ProposeRules {
        /// The rules.
        rules: Rules,
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::withdraw`]. Answered with [`Done::Acknowledged`].
    Withdraw {
        /// The number of the proposal.
        proposal: u32,
    },
    /// Reads the tenant's audit trail.
    Audit(AuditAct),
    /// [`TenantCustody::apply`]. Answered with [`Done::Acknowledged`].
    Apply {
        /// The number of the proposal.
        proposal: u32,
    },
}

impl TenantAct {
    /// Does it.
    pub(super) fn run(self, custody: &TenantCustody, line: &mut Line<'_>) -> Result<Done> {
        let acknowledged = |()| Done::Acknowledged;
        match self {
            Self::WhoAmI => Ok(Done::Identity(Identity::of(custody.identity()))),
            Self::Keys => custody.keys().map(Done::Keys),
            Self::RotateRoots => custody.rotate_roots().map(acknowledged),
            Self::RotateKeys => custody.rotate_keys().map(Done::Generation),
            Self::Rules => custody.rules().map(Done::Rules),
            Self::Proposals => custody.proposals().map(Done::Proposals),
            Self::ProposePolicy { policy, reason } => custody.propose_policy(policy, &reason).map(Done::Proposed),
            Self::ProposeRules { rules, reason } => custody.propose_rules(rules, &reason).map(Done::Proposed),
            Self::Withdraw { proposal } => custody.withdraw(proposal).map(acknowledged),
            Self::Apply { proposal } => custody.apply(proposal).map(acknowledged),
            Self::Audit(act) => act.run(custody, line),
        }
    }

    /// Checks that it could be done, and says what would change. Changes nothing.
    pub(super) fn plan(self, custody: &TenantCustody) -> Result<Vec<Change>> {
        let tenant = of_tenant(custody.tenant());
        let change = |part: &str, from: Option<String>, to: Option<String>| {
            vec![Change { of: format!("{part} of {tenant}"), from, to, is_final: false }]
        };
        let propose = |change_to: ProposedChange, reason: &str| {
            let shown = shown(&change_to);
            let number = custody.check_propose(change_to, reason)?;
            Ok(change(&format!("proposal {number}"), None, Some(shown)))
        };
        match self {
            Self::WhoAmI | Self::Keys | Self::Rules | Self::Proposals => custody.rules().map(|_| Vec::new()),
            Self::Audit(act) => act.plan(custody).map(|()| Vec::new()),
            Self::RotateRoots => {
                let (_, epoch) = custody.check_epoch()?;
                let (from, to) = (format!("epoch {epoch}"), format!("epoch {}", epoch + 1));
                Ok(vec![Change { is_final: true, ..change("keys", Some(from), Some(to)).remove(0) }])
            }
            Self::RotateKeys => {
                custody.check_epoch().map(drop)?;
                Ok(change("one more generation of the key", None, Some("written under from then on".to_owned())))
            }
            Self::ProposePolicy { policy, reason } => propose(ProposedChange::Policy(policy), &reason),
            Self::ProposeRules { rules, reason } => propose(ProposedChange::Rules(rules), &reason),
            Self::Withdraw { proposal } => {
                custody.check_withdraw(proposal)?;
                Ok(change(&format!("proposal {proposal}"), Some("open".to_owned()), None))
            }
            Self::Apply { proposal } => {
                let applied = custody.check_apply(proposal)?.change;
                let (part, now) = match &applied {
                    ProposedChange::Policy(_) | ProposedChange::Recovery(_) => {
                        ("policy", ProposedChange::Policy(custody.check_epoch()?.0))
                    }
                    ProposedChange::Restore => {
                        return Ok(change("access", Some("revoked".to_owned()), Some("open".to_owned())));
                    }
                    ProposedChange::Rules(_) => ("rules", ProposedChange::Rules(custody.rules()?)),
                };
                Ok(change(part, Some(shown(&now)), Some(shown(&applied))))
            }
        }
    }
}

/// A policy or rules, as JSON.
fn shown(change: &ProposedChange) -> String {
    let json = match change {
        ProposedChange::Policy(policy) | ProposedChange::Recovery(policy) => serde_json::to_string(policy),
        ProposedChange::Restore => serde_json::to_string("access is restored"),
        ProposedChange::Rules(rules) => serde_json::to_string(rules),
    };
    json.unwrap_or_default()
}
