//! The acts on purges: of the service's custodians, of those of a tenant that is still there, and of those who spoke for one
//! that is not.

use serde::{Deserialize, Serialize};

use super::Line;
use super::answer::{Change, Done, PurgeRun, of_tenant};
use super::audit_act::export;
use super::tenant_act::TenantAct;
use super::wire::{Progress, Refusal};
use crate::custody::{Custody, PurgedTenant, TenantCustody};
use crate::error::{Error, Result};
use crate::purge::{PurgeStage, PurgeStatus, SearchReport};

/// What may be asked of a tenant that was purged. The names in JSON are those here in lower case, with underscores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum PurgedAct {
    /// [`PurgedTenant::status`]. Answered with [`Done::Purge`].
    Status,
    /// [`PurgedTenant::receipt`], or [`PurgedTenant::receipt_numbered`]. Answered with [`Done::Receipt`].
    Receipt {
        /// Which one; the last unless said otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u32>,
    },
    /// [`PurgedTenant::receipt_key`]. Answered with [`Done::VerifierKey`].
    ReceiptKey,
    /// [`PurgedTenant::prove`]. Answered with [`Done::Purge`]. It goes on though nobody listens any more.
    Prove,
    /// [`PurgedTenant::declare_escrow_destroyed`]. Answered with [`Done::Purge`].
    DeclareEscrowDestroyed {
        /// The number of the escrow, as the receipt lists it.
        escrow: u64,
        /// Why, for others to read.
        reason: String,
    },
    /// [`PurgedTenant::finalize`]. Answered with [`Done::Purge`].
    Finalize,
    /// [`PurgedTenant::audit_export`], in [`Reply::Part`](super::Reply::Part)s. Answered with [`Done::Checkpoint`].
    ExportTrail,
}

impl PurgedAct {
    /// Does it.
    pub(super) fn run(self, purged: &PurgedTenant, line: &mut Line<'_>) -> Result<Done> {
        match self {
            Self::Status => purged.status().map(Done::purge),
            Self::Receipt { number: None } => purged.receipt().map(Done::Receipt),
            Self::Receipt { number: Some(number) } => purged.receipt_numbered(number).map(Done::Receipt),
            Self::ReceiptKey => purged.receipt_key().map(|key| Done::VerifierKey(key.to_string())),
            Self::Prove => purged.prove(teller(line)).map(Done::purge),
            Self::DeclareEscrowDestroyed { escrow, reason } => {
                purged.declare_escrow_destroyed(escrow, &reason).map(Done::purge)
            }
            Self::Finalize => purged.finalize().map(Done::purge),
            Self::ExportTrail => export(line, |out| purged.audit_export(out)),
        }
    }

    /// Checks that it could be done, and says what would change. Changes nothing.
    pub(super) fn plan(self, purged: &PurgedTenant) -> Result<Vec<Change>> {
        let (status, tenant) = (purged.status()?, of_tenant(purged.tenant()));
        let next = format!("receipt {} of the purge of {tenant}", status.receipts + 1);
        let change = |of, to: &str| vec![Change { of, from: None, to: Some(to.to_owned()), is_final: false }];
        match self {
            Self::Status | Self::ReceiptKey | Self::ExportTrail => Ok(Vec::new()),
            Self::Receipt { number } => purged.receipt_numbered(number.unwrap_or(status.receipts)).map(|_| Vec::new()),
            Self::Prove => Ok(change(next, "issued, when every file has been searched")),
            Self::DeclareEscrowDestroyed { escrow, reason } => {
                purged.check_declare(escrow, &reason)?;
                Ok(change(format!("escrow {escrow} with the ring of {tenant}"), "declared destroyed"))
            }
            Self::Finalize if status.receipts == 0 => {
                Err(Error::conflict("the purge has no receipt yet; carry it out first"))
            }
            Self::Finalize => Ok(change(next, "issued, if roots or escrows are not as the last one says")),
        }
    }
}

impl Done {
    pub(super) fn purge(status: PurgeStatus) -> Self {
        Self::Purge(Some(Box::new(status)))
    }
}

/// Tells how far a search has come. How many files there are is not known before its end.
pub(super) fn teller(line: &mut Line<'_>) -> impl FnMut(&SearchReport) {
    |report| {
        let progress = Progress { of: "files searched".to_owned(), done: report.files, total: 0 };
        // The keys are destroyed: the proof is made, whoever listens.
        drop(line.tell(progress));
    }
}

pub(super) fn run_all(custody: &Custody) -> Result<Done> {
    let run = |(before, done): (PurgeStatus, Result<PurgeStatus>)| match done {
        Ok(status) => PurgeRun { status, failure: None },
        Err(error) => PurgeRun { status: before, failure: Some(Refusal::of(&error)) },
    };
    Ok(Done::PurgesRun(custody.run_purges()?.into_iter().map(run).collect()))
}

pub(super) fn plan_all(custody: &Custody) -> Result<Vec<Change>> {
    Ok(custody.check_run_purges()?.iter().map(destruction).collect())
}

/// What an act on the purge of a tenant that is still there would change.
pub(super) fn plan(act: TenantAct, custody: &TenantCustody) -> Result<Vec<Change>> {
    let tenant = of_tenant(custody.tenant());
    let change = |from: Option<PurgeStage>, to: Option<String>| {
        let from = from.map(|stage| stage.as_str().to_owned());
        vec![Change { of: format!("purge of {tenant}"), from, to, is_final: false }]
    };
    match act {
        TenantAct::RequestPurge { reason } => {
            let wait_secs = custody.check_request_purge(&reason)?;
            let to = format!("requested, and not to be carried out before {wait_secs} seconds have passed");
            let access = Change {
                of: format!("access to {tenant}"),
                from: Some("as it is".to_owned()),
                to: None,
                is_final: false,
            };
            Ok([change(None, Some(to)), vec![access]].concat())
        }
        TenantAct::ApprovePurge { reason } => {
            let status = custody.check_approve_purge(&reason)?;
            Ok(if status.approved.is_some() {
                Vec::new()
            } else {
                change(Some(status.stage), Some(PurgeStage::Approved.as_str().to_owned()))
            })
        }
        TenantAct::CancelPurge { reason } => {
            custody.check_cancel_purge(&reason).map(|status| change(Some(status.stage), None))
        }
        TenantAct::ExecutePurge | TenantAct::ExecutePurgeExhaustively => {
            custody.check_execute_purge().map(|status| vec![destruction(&status)])
        }
        _ => Err(Error::internal("an act of no purge")),
    }
}

fn destruction(status: &PurgeStatus) -> Change {
    let from = Some(status.stage.as_str().to_owned());
    Change { of: format!("keys and records of {}", of_tenant(&status.tenant)), from, to: None, is_final: true }
}
