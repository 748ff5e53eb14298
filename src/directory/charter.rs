//! What a tenant's custodians have laid down: their rules, and what one of them has proposed to the others. A row of
//! its own, because few tenants have one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Directory, Status, Tenant};
use crate::audit::Event;
use crate::engine::{Batch, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Policy;
#[cfg(feature = "backup")]
use crate::name::Incarnation;
use crate::seal::Table;

/// By incarnation.
const CHARTERS: Table = Table { keyspace: 0, collection: 3 };
/// Proposals that may be open at once.
const PROPOSALS_MAX: usize = 8;
/// The longest reason, in bytes.
const REASON_MAX_LEN: usize = 1024;

/// An authenticated person, or a service that acts for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Person {
    /// Who vouched: the issuer of the credential.
    pub issuer: String,
    /// What the issuer calls the tenant.
    pub tenant: String,
    /// Who it is, in the issuer's words.
    pub subject: String,
}

/// Leave to do what was proposed: it is asked for again when it is used, while nobody can take the proposal back or change
/// the rules, and the proposal goes in the same write.
pub(crate) struct Mandate<'m> {
    pub(crate) proposal: u32,
    pub(crate) by: &'m Person,
}

impl Person {
    /// Whether this is the same person, whichever of an issuer's tenants the credential names.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.who() == other.who()
    }

    /// The issuer and whom it means.
    pub(crate) fn who(&self) -> (&str, &str) {
        (&self.issuer, &self.subject)
    }
}

/// What the custodians of a tenant have agreed on among themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "rules hold once a custodian has proposed them and they were applied"]
pub struct Rules {
    pub(crate) two_custodians: bool,
    pub(crate) cooling_off_secs: u64,
    pub(crate) rotate_keys_after_secs: Option<u64>,
}

/// What one custodian has proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proposal {
    /// What it is called; numbers are not given twice.
    pub number: u32,
    /// Who proposed it.
    pub by: Person,
    /// Why, in their words.
    pub reason: String,
    /// When, in seconds since 1970.
    pub proposed_secs: u64,
    /// What is to be.
    pub change: ProposedChange,
}

/// What is to be, if a proposal is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProposedChange {
    /// Another policy of root keys, in a new epoch.
    Policy(Policy),
    /// Other rules.
    Rules(Rules),
    /// Another policy, because the root keys of this one are lost: the recovery root opens the keys for it. Always applied by
    /// another custodian, whatever the rules say.
    Recovery(Policy),
    /// Access to the tenant again, which a custodian had revoked.
    Restore,
}

/// A tenant's charter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charter {
    pub(crate) rules: Rules,
    pub(crate) proposals: Vec<Proposal>,
    /// Proposals made so far.
    proposed: u32,
}

impl Rules {
    /// Whether a change of policy or rules, and giving access back that was revoked, has to be applied by another custodian
    /// than the one who proposed it. Not unless said so.
    pub fn two_custodians(mut self, needed: bool) -> Self {
        self.two_custodians = needed;
        self
    }

    /// How long after its request a purge can still be taken back; 7 days unless said otherwise. Counted in whole
    /// seconds.
    pub fn cooling_off(mut self, span: Duration) -> Self {
        self.cooling_off_secs = span.as_secs();
        self
    }

    /// After which age a tenant key is rotated by the store itself; never unless said so. Counted in whole seconds. The
    /// records are then moved to the new generation in the background, and the keys of older ones destroyed as soon as
    /// nothing needs them: backups from before open only with an escrow from before.
    pub fn rotate_keys_after(mut self, age: Option<Duration>) -> Self {
        self.rotate_keys_after_secs = age.map(|age| age.as_secs());
        self
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { two_custodians: false, cooling_off_secs: 7 * 24 * 3600, rotate_keys_after_secs: None }
    }
}

impl Charter {
    /// Adds a proposal and returns its number.
    pub(crate) fn propose(
        &mut self,
        by: Person,
        reason: &str,
        proposed_secs: u64,
        change: ProposedChange,
    ) -> Result<u32> {
        check_reason(reason)?;
        if self.proposals.len() == PROPOSALS_MAX {
            return Err(Error::conflict("8 proposals are open; withdraw one first"));
        }
        self.proposed += 1;
        let (number, reason) = (self.proposed, reason.to_owned());
        self.proposals.push(Proposal { number, by, reason, proposed_secs, change });
        Ok(number)
    }

    pub(crate) fn proposal(&self, number: u32) -> Result<&Proposal> {
        self.proposals.iter().find(|proposal| proposal.number == number).ok_or_else(no_such_proposal)
    }

    /// The proposal, if `by` may apply it.
    pub(crate) fn applicable(&self, number: u32, by: &Person) -> Result<&Proposal> {
        let proposal = self.proposal(number)?;
        let needs_two = self.rules.two_custodians || matches!(proposal.change, ProposedChange::Recovery(_));
        if needs_two && proposal.by.is_same_as(by) {
            return Err(Error::new(
                ErrorKind::Denied,
                "another custodian than the one who proposed it has to apply it",
            ));
        }
        Ok(proposal)
    }

    /// Whether one custodian may do what could be proposed as well.
    pub(crate) fn check_alone(&self) -> Result<()> {
        match self.rules.two_custodians {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Denied, "the rules ask for two custodians; propose it to another")),
        }
    }

    pub(crate) fn remove(&mut self, number: u32) -> Result<()> {
        self.proposal(number)?;
        self.proposals.retain(|proposal| proposal.number != number);
        Ok(())
    }
}

impl Directory {
    /// A tenant's charter as it is now.
    pub(crate) fn charter(&self, tenant: &Tenant) -> Result<Charter> {
        Ok(self.register.get(CHARTERS, &[tenant.incarnation().as_bytes()])?.unwrap_or_default())
    }

    /// Adds to a batch that a proposal has been done, if it still may be. For whoever holds the directory.
    pub(super) fn use_mandate(&self, batch: &mut Batch, tenant: &Tenant, mandate: &Mandate<'_>) -> Result<()> {
        let charter = self.check_mandate(tenant, mandate)?;
        self.put_charter(batch, tenant, &charter)
    }

    /// The charter as it is once the proposal has been done, if it still may be.
    pub(super) fn check_mandate(&self, tenant: &Tenant, mandate: &Mandate<'_>) -> Result<Charter> {
        let mut charter = self.charter(tenant)?;
        charter.applicable(mandate.proposal, mandate.by)?;
        charter.remove(mandate.proposal)?;
        Ok(charter)
    }

    /// The charter without proposals to give access back, if there are any. For whoever holds the directory.
    pub(super) fn without_restores(&self, tenant: &Tenant) -> Result<Option<Charter>> {
        let mut charter = self.charter(tenant)?;
        let before = charter.proposals.len();
        charter.proposals.retain(|proposal| proposal.change != ProposedChange::Restore);
        Ok((charter.proposals.len() < before).then_some(charter))
    }

    pub(super) fn put_charter(&self, batch: &mut Batch, tenant: &Tenant, charter: &Charter) -> Result<()> {
        self.register.put(batch, CHARTERS, &[tenant.incarnation().as_bytes()], charter)
    }

    /// Has a tenant begin with the rules of another.
    #[cfg(feature = "backup")]
    pub(super) fn adopt_rules(&self, batch: &mut Batch, tenant: &Tenant, from: Incarnation) -> Result<()> {
        let original: Option<Charter> = self.register.get(CHARTERS, &[from.as_bytes()])?;
        let Some(Charter { rules, .. }) = original else { return Ok(()) };
        // Its keys are new: when they are rotated by age is for its own custodians to say.
        let rules = rules.rotate_keys_after(None);
        self.put_charter(batch, tenant, &Charter { rules, ..Charter::default() })
    }

    /// Changes a tenant's charter, durably, unless `change` refuses. What it returns stands in the tenant's trail, if it
    /// does not stand there already.
    pub(crate) fn change_charter<T>(
        &self,
        tenant: &Tenant,
        change: impl FnOnce(&mut Charter) -> Result<(T, Option<Event>)>,
    ) -> Result<T> {
        let _changes = self.begin_change();
        if tenant.status() == Status::Destroying {
            return Err(Error::denied());
        }
        let mut charter = self.charter(tenant)?;
        let (outcome, event) = change(&mut charter)?;
        let mut batch = Batch::new(Durability::Synced);
        self.put_charter(&mut batch, tenant, &charter)?;
        let rotate_after_secs = charter.rules.rotate_keys_after_secs;
        let entries = event.map(|event| (tenant.incarnation(), event)).into_iter().collect();
        self.change_upkeep_with(Some((batch, entries)), tenant, |upkeep| upkeep.rotate_after_secs = rotate_after_secs)?;
        Ok(outcome)
    }
}

/// Why somebody does something: to be read by others later, so it is neither empty nor a page.
pub(crate) fn check_reason(reason: &str) -> Result<()> {
    let is_text = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
    match (1..=REASON_MAX_LEN).contains(&reason.len()) && is_text(reason) {
        true => Ok(()),
        false => Err(Error::invalid("a reason has 1 to 1,024 bytes of text on one line")),
    }
}

fn no_such_proposal() -> Error {
    Error::new(ErrorKind::NotFound, "there is no open proposal of this number")
}

impl std::fmt::Display for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let custodians = if self.two_custodians { "two custodians" } else { "one custodian" };
        write!(f, "{custodians}, cooling-off {} s, ", self.cooling_off_secs)?;
        match self.rotate_keys_after_secs {
            Some(age) => write!(f, "keys rotated after {age} s"),
            None => f.write_str("keys not rotated by age"),
        }
    }
}
