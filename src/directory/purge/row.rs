//! What the store writes down of a purge: a row of its own, which outlives the tenant's.

use serde::{Deserialize, Serialize};

use super::super::row::Speaker;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::RootProbe;
use crate::name::{Incarnation, TenantName};
use crate::purge::{Declaration, Escrowed, Medium, PurgeStage, PurgeStatus, Statement};
use crate::seal::Table;
use crate::traces::Trace;

/// By incarnation. A request that was taken back leaves none; the trail remembers it.
pub(in super::super) const PURGES: Table = Table { keyspace: 0, collection: 10 };
/// Receipts, as they were signed, by incarnation, number and part.
pub(in super::super) const RECEIPTS: Table = Table { keyspace: 0, collection: 7 };

/// A purge, from its request on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purge {
    pub(super) tenant: TenantName,
    pub(super) incarnation: Incarnation,
    /// Who spoke for the tenant: they reach its receipts when it is gone.
    pub(super) speakers: Vec<Speaker>,
    pub(super) requested: Statement,
    /// As the rules were then; later ones shorten nothing.
    pub(super) due_secs: u64,
    pub(super) approved: Option<Statement>,
    /// From the commit point on.
    pub(super) destruction: Option<Destruction>,
    pub(super) receipts: u32,
    pub(super) verdict: Option<Verdict>,
}

/// What was destroyed, and by what it is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Destruction {
    pub(super) at_secs: u64,
    pub(super) place: (u32, u32),
    pub(super) traces: Vec<Trace>,
    pub(super) epochs: Vec<u32>,
    pub(super) generations: Vec<u32>,
    pub(super) keys_were_opened: bool,
    pub(super) roots: Vec<RootProbe>,
    pub(super) escrows: Vec<Escrowed>,
    pub(super) medium: Medium,
}

/// What the last receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) is_proven: bool,
    pub(super) is_final: bool,
    pub(super) missing: Vec<String>,
}

impl Purge {
    pub(crate) fn speakers(&self) -> &[Speaker] {
        &self.speakers
    }

    pub(crate) fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn is_of(&self, name: &str) -> bool {
        self.tenant.as_str() == name
    }

    /// Whether the keys are gone, or are going.
    pub(crate) fn is_carried_out(&self) -> bool {
        self.destruction.is_some()
    }

    pub(crate) fn destroyed_secs(&self) -> u64 {
        self.destruction.as_ref().map_or(0, |destruction| destruction.at_secs)
    }

    pub(super) fn stage(&self) -> PurgeStage {
        match (&self.destruction, &self.verdict, &self.approved) {
            (Some(_), None, _) => PurgeStage::Destroying,
            (Some(_), Some(verdict), _) if verdict.is_final => PurgeStage::Final,
            (Some(_), Some(verdict), _) if verdict.is_proven => PurgeStage::Proven,
            (Some(_), Some(_), _) => PurgeStage::NeedsAttention,
            (None, _, Some(_)) => PurgeStage::Approved,
            (None, _, None) => PurgeStage::Requested,
        }
    }

    pub(crate) fn status(&self) -> PurgeStatus {
        PurgeStatus {
            tenant: self.tenant.clone(),
            incarnation: format!("{:?}", self.incarnation),
            stage: self.stage(),
            requested: self.requested.clone(),
            due_secs: self.due_secs,
            approved: self.approved.clone(),
            destroyed_secs: self.destruction.as_ref().map(|destruction| destruction.at_secs),
            receipts: self.receipts,
            missing: self.verdict.as_ref().map(|verdict| verdict.missing.clone()).unwrap_or_default(),
        }
    }

    /// Whether its time has come: two people want it, and the cooling-off is over.
    pub(crate) fn check_due(&self, now_secs: u64) -> Result<()> {
        if self.approved.is_none() {
            return Err(Error::conflict("the purge waits for the approval of a second custodian"));
        }
        if now_secs < self.due_secs {
            let left = self.due_secs - now_secs;
            return Err(Error::conflict(format!("the cooling-off ends in {left} seconds; the purge waits for it")));
        }
        Ok(())
    }

    /// What was destroyed.
    ///
    /// # Errors
    /// `Conflict` if nothing was, yet.
    pub(super) fn destruction(&self) -> Result<&Destruction> {
        self.destruction.as_ref().ok_or_else(|| Error::conflict("the purge has not been carried out"))
    }

    pub(crate) fn declare(&mut self, number: u64, statement: &Statement) -> Result<()> {
        let escrows = self.destruction.as_mut().map(|destruction| &mut destruction.escrows);
        let escrow = escrows.into_iter().flatten().find(|escrow| escrow.number == number);
        let not_found = || Error::new(ErrorKind::NotFound, "the receipt lists no escrow of this number");
        let escrow = escrow.ok_or_else(not_found)?;
        if escrow.destroyed.is_none() {
            escrow.destroyed = Some(Declaration::of(statement));
        }
        Ok(())
    }
}
