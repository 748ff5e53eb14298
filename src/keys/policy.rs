//! Whose consent a ring needs: any of some alternatives, each all of some root keys.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::derive;
use crate::error::{Error, Result};
use crate::kms::{CALL_DEADLINE, RootError, RootId};

/// The most alternatives, and the most distinct roots, the recovery root included.
pub(super) const ALTERNATIVES_MAX: usize = 4;
pub(super) const ROOTS_MAX: usize = 4;
const HARD_EXPIRY_MAX_SECS: u32 = 7 * 24 * 3600;
const RECOVERY_LIMIT_MAX_SECS: u32 = 30 * 24 * 3600;

/// Which root keys open a tenant's keys, and how long an answer of theirs is good for: any of some alternatives, each of
/// them all of some root keys.
///
/// | policy | keys are managed by |
/// |---|---|
/// | `any_of([["service"]])` | the service |
/// | `any_of([["customer-a"], ["customer-b"]])` | the customer, who holds two keys so that losing one loses nothing |
/// | `any_of([["service", "customer"]])` | both: neither can open anything alone |
///
/// A tenant has at most 4 alternatives and 4 distinct root keys, the recovery root included.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a policy holds once a tenant is made with it or its custodian applies it"]
pub struct Policy {
    /// After this long the roots are asked again.
    pub(super) refresh_secs: u32,
    /// After this long without an answer the keys are gone from memory.
    pub(super) hard_expiry_secs: u32,
    pub(super) recovery_limit_secs: u32,
    /// Ascending, each ascending and without repetition.
    pub(super) alternatives: Vec<Vec<RootId>>,
    pub(super) recovery: Option<RootId>,
}

/// Why the root keys of a policy do not open its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// An owner has refused: the keys must go at once.
    Refused(RootError),
    /// Nobody refused and nobody allowed: what is in memory serves until the hard expiry.
    Outage(Outage),
    /// Something was unwrapped, and it is not what opens the ring. No owner has refused.
    Tampered,
}

/// That no root key answers: nothing but the answers of all of them makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage(RootError);

/// How long after an owner has refused somebody may still read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RevocationLatency {
    /// While the root keys can be reached: they are asked again after the refresh, or when the question before has been
    /// answered, and answer within [`CALL_DEADLINE`](crate::CALL_DEADLINE).
    pub reachable: Duration,
    /// While nobody reaches them: until the hard expiry, or for as long as a recovery root serves, whichever is longer.
    pub unreachable: Duration,
}

/// One alternative's part in the ring: its class, its roots and its digest.
#[derive(Clone, Debug)]
pub(super) struct Alternative<'p> {
    pub(super) roots: Vec<&'p RootId>,
    pub(super) digest: [u8; 32],
}

impl Policy {
    pub(super) const REFRESH_SECS: u32 = 300;
    pub(super) const HARD_EXPIRY_SECS: u32 = 3600;

    /// The policy of a tenant whose keys the service manages: one root, and that is the service's.
    pub fn service_managed(root: RootId) -> Self {
        Self {
            refresh_secs: Self::REFRESH_SECS,
            hard_expiry_secs: Self::HARD_EXPIRY_SECS,
            recovery_limit_secs: 0,
            alternatives: vec![vec![root]],
            recovery: None,
        }
    }

    /// Any of these alternatives opens the keys, each of which needs all its root keys. Their order does not matter.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a bad name of a root key, an alternative without any, one that is there
    /// twice, a root key that is twice in one, or more than there is room for.
    pub fn any_of<A, R>(alternatives: A) -> Result<Self>
    where
        A: IntoIterator,
        A::Item: IntoIterator<Item = R>,
        R: Into<String>,
    {
        let sorted = |roots: A::Item| {
            let mut roots = roots.into_iter().map(RootId::new).collect::<Result<Vec<_>>>()?;
            roots.sort();
            Ok(roots)
        };
        let mut alternatives = alternatives.into_iter().map(sorted).collect::<Result<Vec<_>>>()?;
        alternatives.sort();
        let policy = Self {
            refresh_secs: Self::REFRESH_SECS,
            hard_expiry_secs: Self::HARD_EXPIRY_SECS,
            recovery_limit_secs: 0,
            alternatives,
            recovery: None,
        };
        policy.checked()
    }

    /// A root key that opens nothing in daily work, and has two uses, each on the record before it happens: an outage of
    /// all others, for at most `limit` (whole seconds) after one of them last allowed; and when the tenant's custodians
    /// order it because theirs are lost.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a bad name, one that an alternative names, no room, or a limit of more than
    /// 30 days.
    pub fn recovery_root(mut self, root: impl Into<String>, limit: Duration) -> Result<Self> {
        self.recovery = Some(RootId::new(root)?);
        self.recovery_limit_secs = secs(limit)?;
        self.checked()
    }

    /// After `refresh` the root keys are asked again, 5 minutes unless said otherwise; after `hard_expiry` without an
    /// answer the keys are gone from memory, an hour unless said otherwise. Counted in whole seconds.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) unless 1 s <= `refresh` <= `hard_expiry` <= 7 days.
    pub fn expiries(mut self, refresh: Duration, hard_expiry: Duration) -> Result<Self> {
        (self.refresh_secs, self.hard_expiry_secs) = (secs(refresh)?, secs(hard_expiry)?);
        self.checked()
    }

    /// The alternatives, each the root keys that it needs.
    #[must_use]
    pub fn alternatives(&self) -> &[Vec<RootId>] {
        &self.alternatives
    }

    /// The recovery root, if there is one.
    #[must_use]
    pub fn recovery(&self) -> Option<&RootId> {
        self.recovery.as_ref()
    }

    pub(super) fn checked(self) -> Result<Self> {
        let is_timely = self.refresh_secs >= 1
            && self.hard_expiry_secs <= HARD_EXPIRY_MAX_SECS
            && self.recovery_limit_secs <= RECOVERY_LIMIT_MAX_SECS;
        match self.is_well_formed() && is_timely {
            true => Ok(self),
            false => Err(Error::invalid(
                "a policy has 1 to 4 alternatives of 1 to 4 distinct root keys, at most 4 in all with the recovery root, \
                 which no alternative names, 1 s <= refresh <= hard expiry <= 7 days, and a recovery limit of 30 days at \
                 most",
            )),
        }
    }

    /// After how long the root keys are asked again.
    #[must_use]
    pub fn refresh(&self) -> Duration {
        Duration::from_secs(self.refresh_secs.into())
    }

    /// After how long without an answer the keys are gone from memory.
    #[must_use]
    pub fn hard_expiry(&self) -> Duration {
        Duration::from_secs(self.hard_expiry_secs.into())
    }

    /// For how long, after one of the others last allowed, the recovery root serves in an outage.
    #[must_use]
    pub fn recovery_limit(&self) -> Duration {
        Duration::from_secs(self.recovery_limit_secs.into())
    }

    /// How long it takes at most, after an owner has refused in its key service, until nobody reads the tenant's records any
    /// more. A custodian who cannot wait for it [revokes](crate::TenantCustody::revoke).
    ///
    /// The second figure is counted from when one of the root keys last allowed. Across restarts it is held to the wall
    /// clock, which whoever runs the machine can set back.
    #[must_use]
    pub fn max_revocation_latency(&self) -> RevocationLatency {
        let recovery = self.recovery.as_ref().map_or(Duration::ZERO, |_| self.recovery_limit());
        RevocationLatency {
            reachable: self.refresh().max(CALL_DEADLINE) + CALL_DEADLINE,
            unreachable: self.hard_expiry().max(recovery) + CALL_DEADLINE,
        }
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        derive::policy_digest(&self.encode())
    }

    /// Every root that the policy names, ascending.
    pub(crate) fn roots(&self) -> BTreeSet<&RootId> {
        self.alternatives.iter().flatten().chain(&self.recovery).collect()
    }

    /// The alternatives that a read may use; the recovery root is not among them.
    pub(super) fn ordinary(&self) -> impl Iterator<Item = Alternative<'_>> {
        self.alternatives.iter().map(|roots| Alternative::new(0, roots.iter().collect()))
    }

    /// What R is sealed to beside them, for whoever has [leave](super::recovery::Leave) to ask it.
    pub(super) fn last_resort(&self) -> Option<Alternative<'_>> {
        self.recovery.as_ref().map(|root| Alternative::new(1, vec![root]))
    }

    /// All that R is sealed to, in the order of the slot: the alternatives, then the recovery root.
    pub(super) fn all(&self) -> impl Iterator<Item = Alternative<'_>> {
        self.ordinary().chain(self.last_resort())
    }

    /// `refresh, hard expiry, recovery limit (u32 seconds each) || count u8 || alternatives (count u8, each u8-length
    /// root id ascending), ascending || u8-length recovery root id, or 0`
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        for seconds in [self.refresh_secs, self.hard_expiry_secs, self.recovery_limit_secs] {
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        out.push(length(self.alternatives.len()));
        for alternative in &self.alternatives {
            out.push(length(alternative.len()));
            alternative.iter().for_each(|root| push_id(&mut out, Some(root)));
        }
        push_id(&mut out, self.recovery.as_ref());
        out
    }

    /// The inverse of [`encode`](Self::encode): every limit held, every order strict, nothing left over.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = super::reader::Reader::new(bytes);
        let [refresh_secs, hard_expiry_secs, recovery_limit_secs] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let count = usize::from(reader.u8()?);
        if !(1..=ALTERNATIVES_MAX).contains(&count) {
            return None;
        }
        let mut alternatives = Vec::with_capacity(count);
        for _ in 0..count {
            let members = usize::from(reader.u8()?);
            if !(1..=ROOTS_MAX).contains(&members) {
                return None;
            }
            alternatives.push((0..members).map(|_| reader.root_id()).collect::<Option<Vec<_>>>()?);
        }
        let recovery = if reader.peek()? == 0 { reader.u8().map(|_| None)? } else { Some(reader.root_id()?) };
        let policy = Self { refresh_secs, hard_expiry_secs, recovery_limit_secs, alternatives, recovery };
        (reader.is_empty() && policy.is_well_formed()).then_some(policy)
    }

    /// Ascending and distinct throughout, and within the limits of the slot.
    pub(super) fn is_well_formed(&self) -> bool {
        let ordinary_members = self.alternatives.iter().flatten();
        (1..=ALTERNATIVES_MAX).contains(&self.alternatives.len())
            && self.alternatives.is_sorted_by(|a, b| a < b)
            && self.alternatives.iter().all(|roots| !roots.is_empty() && roots.is_sorted_by(|a, b| a < b))
            && self.recovery.as_ref().is_none_or(|recovery| !ordinary_members.clone().any(|root| root == recovery))
            && self.roots().len() <= ROOTS_MAX
            && self.refresh_secs <= self.hard_expiry_secs
    }
}

impl<'p> Alternative<'p> {
    fn new(class: u8, roots: Vec<&'p RootId>) -> Self {
        let ids: Vec<&str> = roots.iter().map(|root| root.as_str()).collect();
        Self { digest: derive::alternative_digest(class, &ids), roots }
    }
}

impl Shut {
    /// What the alternatives come to, none of which has allowed: any refused: refused. Else any tampered with: tampered
    /// with. Else an outage.
    pub(super) fn fold(alternatives: impl IntoIterator<Item = RootError>) -> Self {
        alternatives.into_iter().map(Self::of).fold(Self::of(RootError::Unreachable), Self::or_worse)
    }

    /// The graver of two answers; of two that are alike, the later.
    pub(super) fn or_worse(self, next: Self) -> Self {
        match (self, next) {
            (Self::Refused(_), _) | (Self::Tampered, Self::Outage(_)) => self,
            _ => next,
        }
    }

    /// The answer of one alternative: a member that refuses outweighs one that cannot be reached.
    pub(super) fn of_members<'e>(errors: impl Iterator<Item = &'e RootError>) -> Option<RootError> {
        let mut errors: Vec<RootError> = errors.copied().collect();
        errors.sort_by_key(|error| match Self::of(*error) {
            Self::Refused(_) => 0,
            Self::Tampered => 1,
            Self::Outage(_) => 2,
        });
        errors.first().copied()
    }

    fn of(error: RootError) -> Self {
        match error {
            RootError::Unreachable | RootError::Throttled => Self::Outage(Outage(error)),
            RootError::Tampered => Self::Tampered,
            RootError::Denied | RootError::Disabled | RootError::Destroyed => Self::Refused(error),
        }
    }
}

impl From<Shut> for Error {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::Tampered => Self::tampered(),
            Shut::Refused(error) | Shut::Outage(Outage(error)) => {
                let kind = Self::from(error).kind();
                Self::new(kind, "the root keys of this tenant do not open its ring").with_source(error)
            }
        }
    }
}

impl std::fmt::Display for Policy {
    /// `a or b and c, refresh 300 s, hard expiry 3600 s`: a root key alone, or two together.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members = |roots: &Vec<RootId>| roots.iter().map(RootId::as_str).collect::<Vec<_>>().join(" and ");
        let alternatives: Vec<String> = self.alternatives.iter().map(members).collect();
        f.write_str(&alternatives.join(" or "))?;
        if let Some(recovery) = &self.recovery {
            write!(f, ", recovery {} within {} s", recovery.as_str(), self.recovery_limit_secs)?;
        }
        write!(f, ", refresh {} s, hard expiry {} s", self.refresh_secs, self.hard_expiry_secs)
    }
}

fn secs(span: Duration) -> Result<u32> {
    u32::try_from(span.as_secs()).map_err(|_| Error::invalid("a span of a policy is longer than 136 years"))
}

fn push_id(out: &mut Vec<u8>, id: Option<&RootId>) {
    let bytes = id.map_or(&[][..], |id| id.as_str().as_bytes());
    out.push(length(bytes.len()));
    out.extend_from_slice(bytes);
}

fn length(length: usize) -> u8 {
    u8::try_from(length).expect("counts and ids are bounded below 256")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<RootId> {
        names.iter().map(|name| RootId::new(*name).unwrap()).collect()
    }

    #[test]
    fn any_refusal_outweighs_then_what_was_tampered_with_then_an_outage() {
        use RootError::{Denied, Destroyed, Tampered, Throttled, Unreachable};
        assert_eq!(Shut::fold([Unreachable, Destroyed]), Shut::Refused(Destroyed));
        assert_eq!(Shut::fold([Destroyed, Unreachable]), Shut::Refused(Destroyed));
        assert_eq!(Shut::fold([Tampered, Denied, Tampered]), Shut::Refused(Denied));
        assert_eq!(Shut::fold([Throttled, Tampered, Unreachable]), Shut::Tampered);
        assert_eq!(Shut::fold([Throttled]), Shut::Outage(Outage(Throttled)));
        assert_eq!(Shut::of_members([Unreachable, Tampered, Denied].iter()), Some(Denied));
        assert_eq!(Shut::of_members([Unreachable, Tampered].iter()), Some(Tampered));
        assert_eq!(Shut::of_members([Unreachable].iter()), Some(Unreachable));
        assert_eq!(Shut::of_members([].iter()), None);
    }

    #[test]
    fn a_policy_states_how_long_a_refusal_takes_at_most() {
        let policy = Policy::any_of([["a"], ["b"]]).unwrap();
        let policy = policy.expiries(Duration::from_secs(60), Duration::from_secs(600)).unwrap();
        let latency = policy.max_revocation_latency();
        assert_eq!((latency.reachable, latency.unreachable), (Duration::from_secs(70), Duration::from_secs(610)));
        let day = Duration::from_secs(86_400);
        let hasty = policy.clone().expiries(Duration::from_secs(2), Duration::from_secs(600)).unwrap();
        assert_eq!(hasty.max_revocation_latency().reachable, CALL_DEADLINE * 2, "an answer may be as old as its call");
        let latency = policy.recovery_root("r", day).unwrap().max_revocation_latency();
        assert_eq!(latency.unreachable, day + CALL_DEADLINE);
    }

    #[test]
    fn policies_come_back_and_disorder_is_refused() {
        let mut policy = Policy::service_managed(RootId::new("service").unwrap());
        policy.alternatives = vec![ids(&["a", "b"]), ids(&["c"])];
        policy.recovery = Some(RootId::new("r").unwrap());
        assert_eq!(Policy::decode(&policy.encode()), Some(policy.clone()));
        let refused = |change: fn(&mut Policy)| {
            let mut changed = policy.clone();
            change(&mut changed);
            assert_eq!(Policy::decode(&changed.encode()), None, "{changed:?}");
        };
        refused(|policy| policy.alternatives.reverse());
        refused(|policy| policy.alternatives[0].reverse());
        refused(|policy| policy.alternatives[0] = ids(&["a", "a"]));
        refused(|policy| policy.recovery = Some(RootId::new("a").unwrap()));
        refused(|policy| policy.alternatives.push(ids(&["d", "e", "f"])));
        refused(|policy| policy.refresh_secs = 5000);
        let bytes = policy.encode();
        assert!((0..bytes.len()).all(|cut| Policy::decode(&bytes[..cut]).is_none()));
    }
}
