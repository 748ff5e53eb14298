//! Leave to ask the recovery root: nobody else can, and there are two ways to it.

use std::time::Duration;

use super::policy::{Outage, Policy};
use crate::error::{Error, ErrorKind, Result};

/// Why the recovery root may be asked.
#[derive(Debug)]
pub(crate) enum Leave {
    Outage(OutageProof),
    Order(RecoveryOrder),
}

/// That all other root keys are out of reach, that none of their owners has refused, and that one of them allowed not long
/// ago.
#[derive(Debug)]
pub(crate) struct OutageProof {
    left: Duration,
}

/// That two custodians of the tenant have ordered it, because their root keys are lost.
#[derive(Debug)]
pub(crate) struct RecoveryOrder(());

impl OutageProof {
    /// `None` if the tenant is fenced, if the policy has no recovery root or its limit has passed since a root key last
    /// allowed, and if the clock has been set back behind that.
    pub(crate) fn of(
        _: Outage,
        policy: &Policy,
        is_fenced: bool,
        last_allowed_secs: u64,
        now_secs: u64,
    ) -> Option<Self> {
        policy.recovery().filter(|_| !is_fenced)?;
        let gone = Duration::from_secs(now_secs.checked_sub(last_allowed_secs)?);
        let left = policy.recovery_limit().checked_sub(gone).filter(|left| !left.is_zero())?;
        Some(Self { left })
    }
}

impl RecoveryOrder {
    /// # Errors
    /// `Denied` if it is one and the same person (issuer and subject), whatever the tenant's rules say.
    pub(crate) fn by_two(proposer: (&str, &str), approver: (&str, &str)) -> Result<Self> {
        match proposer == approver {
            false => Ok(Self(())),
            true => {
                Err(Error::new(ErrorKind::Denied, "another custodian has to agree before the recovery root is asked"))
            }
        }
    }
}

impl Leave {
    /// For how long what the recovery root opens may serve: in an outage only, an order is for a change of policy.
    pub(crate) fn serves(&self) -> Duration {
        match self {
            Self::Outage(proof) => proof.left,
            Self::Order(_) => Duration::ZERO,
        }
    }

    /// In words, for the trail.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Outage(_) => "outage of all other root keys",
            Self::Order(_) => "order of two custodians",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::policy::Shut;
    use crate::kms::RootError;

    fn outage() -> Outage {
        match Shut::fold([RootError::Unreachable]) {
            Shut::Outage(outage) => outage,
            shut => panic!("{shut:?}"),
        }
    }

    #[test]
    fn an_outage_opens_the_way_for_as_long_as_the_policy_says_and_never_to_the_fenced() {
        let plain = Policy::any_of([["a"]]).unwrap();
        let policy = plain.clone().recovery_root("r", Duration::from_secs(100)).unwrap();
        let left = |policy: &Policy, is_fenced, now_secs| {
            OutageProof::of(outage(), policy, is_fenced, 1000, now_secs)
                .map(|proof| Leave::Outage(proof).serves().as_secs())
        };
        assert_eq!(left(&policy, false, 1000), Some(100));
        assert_eq!(left(&policy, false, 1099), Some(1));
        assert_eq!(left(&policy, false, 1100), None);
        assert_eq!(left(&policy, false, 999), None, "the clock was set back");
        assert_eq!(left(&policy, true, 1000), None, "the tenant is fenced");
        assert_eq!(left(&plain, false, 1000), None, "there is no recovery root");
    }

    #[test]
    fn an_order_is_that_of_two() {
        let (anna, bert) = (("https://id.example", "anna"), ("https://id.example", "bert"));
        assert!(RecoveryOrder::by_two(anna, bert).is_ok());
        assert_eq!(RecoveryOrder::by_two(anna, anna).unwrap_err().kind(), ErrorKind::Denied);
    }
}
