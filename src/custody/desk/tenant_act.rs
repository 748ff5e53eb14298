//! The acts of a tenant's own custodian.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::Line;
use super::access_act::AccessAct;
use super::answer::{Change, Done, GenerationVerdict, Identity, of_tenant};
use super::audit_act::AuditAct;
use super::purge_act;
use super::wire::Progress;
use crate::custody::{CanDestroy, TenantCustody};
use crate::directory::{ProposedChange, Rules};
use crate::error::{Error, Result};
use crate::keys::Policy;
use crate::reseal::{GenerationCensus, ResealPlan};

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
    /// Takes access away, gives it back, or says how it is.
    Access(AccessAct),
    /// [`TenantCustody::census`]. Answered with [`Done::Census`].
    Census,
    /// [`TenantCustody::reseal`]. Answered with [`Done::Resealed`]. When nobody listens any more it stops at its next page,
    /// and goes on when it is asked for again, and in the background.
    Reseal {
        /// [`ResealPlan::bytes_per_second`](crate::ResealPlan::bytes_per_second).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<u64>,
    },
    /// [`TenantCustody::can_destroy`]. Answered with [`Done::CanDestroy`].
    CanDestroy {
        /// The generation.
        generation: u32,
    },
    /// [`TenantCustody::can_destroy`], and if nothing is in the way, [`TenantCustody::retire`]. Answered with
    /// [`Done::Retired`] or [`Done::NotRetired`].
    Retire {
        /// The generation.
        generation: u32,
    },
    /// [`TenantCustody::request_purge`]. Answered with [`Done::Purge`].
    RequestPurge {
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::approve_purge`]. Answered with [`Done::Purge`].
    ApprovePurge {
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::cancel_purge`]. Answered with [`Done::Acknowledged`].
    CancelPurge {
        /// Why, for others to read.
        reason: String,
    },
    /// [`TenantCustody::purge_status`]. Answered with [`Done::Purge`]. When the tenant is gone, so is this door:
    /// [`Act::ForPurgedTenant`](super::Act::ForPurgedTenant) leads on.
    PurgeStatus,
    /// [`TenantCustody::execute_purge`]. Answered with [`Done::Purge`]. It goes on though nobody listens any more.
    ExecutePurge,
    /// [`TenantCustody::execute_purge_exhaustively`]. Answered with [`Done::Purge`]. It goes on though nobody listens any more.
    ExecutePurgeExhaustively,
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
            Self::Access(act) => act.run(custody),
            Self::Census => custody.census().map(Done::Census),
            Self::Reseal { bytes_per_second } => reseal(custody, bytes_per_second, line),
            Self::CanDestroy { generation } => can_destroy(custody, generation),
            Self::Retire { generation } => retire(custody, generation),
            Self::RequestPurge { reason } => custody.request_purge(&reason).map(Done::purge),
            Self::ApprovePurge { reason } => custody.approve_purge(&reason).map(Done::purge),
            Self::CancelPurge { reason } => custody.cancel_purge(&reason).map(acknowledged),
            Self::PurgeStatus => custody.purge_status().map(|status| Done::Purge(status.map(Box::new))),
            Self::ExecutePurge => custody.execute_purge_with(purge_act::teller(line)).map(Done::purge),
            Self::ExecutePurgeExhaustively => {
                custody.execute_purge_exhaustively(purge_act::teller(line)).map(Done::purge)
            }
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
        match self {
            Self::Access(act) => act.plan(custody),
            Self::Census | Self::CanDestroy { .. } | Self::PurgeStatus => custody.rules().map(|_| Vec::new()),
            Self::Reseal { .. } => plan_reseal(custody),
            Self::Retire { generation } => plan_retirement(custody, generation),
            purge @ (Self::RequestPurge { .. }
            | Self::ApprovePurge { .. }
            | Self::CancelPurge { .. }
            | Self::ExecutePurge
            | Self::ExecutePurgeExhaustively) => purge_act::plan(purge, custody),
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
            Self::ProposePolicy { policy, reason } => custody.plan_proposal(ProposedChange::Policy(policy), &reason),
            Self::ProposeRules { rules, reason } => custody.plan_proposal(ProposedChange::Rules(rules), &reason),
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

impl TenantCustody {
    /// What a proposal would change: there would be one more.
    pub(super) fn plan_proposal(&self, change: ProposedChange, reason: &str) -> Result<Vec<Change>> {
        let to = Some(shown(&change));
        let number = self.check_propose(change, reason)?;
        let of = format!("proposal {number} of {}", of_tenant(self.tenant()));
        Ok(vec![Change { of, from: None, to, is_final: false }])
    }
}

fn reseal(custody: &TenantCustody, bytes_per_second: Option<u64>, line: &mut Line<'_>) -> Result<Done> {
    let plan = ResealPlan::new().on_progress(|progress| {
        let of = format!("percent of sweep {}; {} records moved", progress.sweep, progress.resealed);
        match line.tell(Progress { of, done: progress.percent.into(), total: 100 }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let plan = bytes_per_second.into_iter().fold(plan, ResealPlan::bytes_per_second);
    custody.reseal(plan).map(Done::Resealed)
}

fn can_destroy(custody: &TenantCustody, generation: u32) -> Result<Done> {
    // The proof stays here: it is of this moment.
    let blockers = match custody.can_destroy(generation)? {
        CanDestroy::Yes(_) => Vec::new(),
        CanDestroy::No(blockers) => blockers,
    };
    Ok(Done::CanDestroy(GenerationVerdict { generation, blockers }))
}

fn retire(custody: &TenantCustody, generation: u32) -> Result<Done> {
    match custody.can_destroy(generation)? {
        CanDestroy::Yes(proof) => custody.retire(proof).map(Done::Retired),
        CanDestroy::No(blockers) => Ok(Done::NotRetired(GenerationVerdict { generation, blockers })),
    }
}

/// Which generation is the newest is for the keys to tell, and those are not asked for now.
fn plan_reseal(custody: &TenantCustody) -> Result<Vec<Change>> {
    let tenant = of_tenant(custody.tenant());
    let change = |counted: GenerationCensus| Change {
        of: format!("records of generation {} of {tenant}", counted.generation),
        from: Some(format!("{} records, {} bytes", counted.records, counted.bytes)),
        to: Some("of the newest generation, if that is another".to_owned()),
        is_final: false,
    };
    Ok(custody.census()?.generations.into_iter().map(change).collect())
}

/// # Errors
/// `Conflict` if records of it are left. What else may be in the way is found by the act itself.
fn plan_retirement(custody: &TenantCustody, generation: u32) -> Result<Vec<Change>> {
    let counted = custody.census()?.generations.into_iter().find(|counted| counted.generation == generation);
    if let Some(GenerationCensus { records, .. }) = counted {
        return Err(Error::conflict(format!("{records} records of the generation are left; reseal first")));
    }
    let of = format!("the key of generation {generation} of {}", of_tenant(custody.tenant()));
    Ok(vec![Change { of, from: Some("living, and no record names it".to_owned()), to: None, is_final: true }])
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
