//! Changes of a ring: its first epoch, the next one, another generation, one generation fewer. Made whole in memory and
//! proven to open, then written; nothing here touches a disk.

use std::collections::BTreeMap;

use super::policy::{Alternative, Policy};
use super::ring::{Keyset, Origin, Ring};
use super::slot::{Head, Parsed, Slot};
use super::store::{Belief, EpochBelief};
use crate::aead::XaesKey;
use crate::context::Context;
use crate::derive;
use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::kms::{Call, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::name::Incarnation;
use crate::secret::Key32;

/// A slot that is to be written, what its row is to believe then, and the ring as it opens.
pub(crate) struct Change {
    pub(super) slot: Slot,
    epoch: EpochBelief,
    ring: Ring,
}

impl Change {
    /// New keys for a new tenant: epoch 1, generation 1.
    pub(crate) fn first(
        incarnation: Incarnation,
        policy: Policy,
        roots: &dyn RootKeys,
        entropy: &dyn Entropy,
        now_secs: u64,
    ) -> Result<Self> {
        let keyset = Keyset::generate(entropy, now_secs)?;
        new_epoch(incarnation, policy, keyset, (1, 1), roots, entropy)
    }

    /// The same tenant keys in a new epoch: fresh wrap secrets and a fresh ring key, so that nothing that an old root
    /// version opens opens this. One wrap per distinct root of `policy`.
    ///
    /// `number` is one that no slot of this tenant has ever had.
    ///
    /// # Errors
    /// As the roots answer; `Invalid` if an answer is past the limits of a slot.
    pub(crate) fn epoch(
        ring: &Ring,
        policy: Policy,
        number: u32,
        roots: &dyn RootKeys,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let sequence = ring.sequence() + 1;
        new_epoch(ring.incarnation(), policy, ring.keyset().copy(), (number, sequence), roots, entropy)
    }

    /// One more generation, which is written under from then on. No root key is asked: the keyset is sealed again
    /// under the same ring key.
    ///
    /// # Errors
    /// `Conflict` if as many generations live as a ring has room for.
    pub(crate) fn generation(ring: &Ring, entropy: &dyn Entropy, now_secs: u64) -> Result<Self> {
        same_epoch(ring, ring.keyset().with_generation(entropy, now_secs)?, entropy)
    }

    /// One generation fewer: its key is in no slot once this is written. No root key is asked.
    ///
    /// # Errors
    /// `Invalid` for the generation that is written under, and one that does not live.
    pub(crate) fn retirement(ring: &Ring, generation: u32, entropy: &dyn Entropy) -> Result<Self> {
        same_epoch(ring, ring.keyset().without_generation(generation)?, entropy)
    }

    /// What the row is to believe once this is written.
    pub(crate) fn belief(&self) -> Belief {
        let (incarnation, least_sequence) = (self.ring.incarnation(), self.sequence());
        Belief { incarnation, epochs: vec![self.epoch.clone()], least_sequence }
    }

    pub(crate) fn epoch_belief(&self) -> &EpochBelief {
        &self.epoch
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.ring.sequence()
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(crate) fn into_ring(self) -> Ring {
        self.ring
    }
}

fn new_epoch(
    incarnation: Incarnation,
    policy: Policy,
    keyset: Keyset,
    (epoch, sequence): (u32, u64),
    roots: &dyn RootKeys,
    entropy: &dyn Entropy,
) -> Result<Change> {
    let ring_key = Key32::random(entropy)?;
    let (wrapped, secrets) = wrap_secrets(&policy, incarnation, epoch, roots, entropy)?;
    let seals = policy
        .all()
        .map(|alternative| seal_ring_key(&ring_key, &alternative, &secrets, incarnation, epoch, entropy))
        .collect::<Result<Vec<_>>>()?;
    let origin = Origin { epoch, sequence, ring_key, roots: wrapped, seals };
    sealed(incarnation, policy, keyset, origin, entropy)
}

fn same_epoch(ring: &Ring, keyset: Keyset, entropy: &dyn Entropy) -> Result<Change> {
    let origin = ring.origin().next();
    sealed(ring.incarnation(), ring.policy().clone(), keyset, origin, entropy)
}

fn sealed(
    incarnation: Incarnation,
    policy: Policy,
    keyset: Keyset,
    origin: Origin,
    entropy: &dyn Entropy,
) -> Result<Change> {
    let Origin { epoch, sequence, ring_key, roots, seals } = &origin;
    let head = Head { sequence: *sequence, epoch: *epoch, incarnation, policy: &policy, roots, seals }.encode();
    let seal = XaesKey::new(&derive::ring_seal(ring_key, incarnation, *epoch));
    let sealed = seal.seal_key(entropy, keyset_aad(&head).as_slice(), &keyset.encode())?;
    let slot = Slot::live(&head, &sealed);
    // What is about to take the place of the old one is read as it will be read.
    let found = Parsed::parse(slot.as_bytes()).ok_or_else(|| Error::internal("a new ring slot cannot be parsed"))?;
    seal.open_key(keyset_aad(&found.head).as_slice(), &found.keyset)?;
    let policy_digest = policy.digest();
    let ring_check = *derive::ring_check(ring_key, incarnation, *epoch, &policy_digest).expose_secret();
    let epoch = EpochBelief { epoch: *epoch, policy_digest, ring_check: Some(ring_check) };
    Ok(Change { slot, epoch, ring: Ring::new(incarnation, policy, keyset, origin) })
}

/// One wrap secret per distinct root, fresh, wrapped.
#[expect(clippy::type_complexity, reason = "two views of one list, made together and used apart")]
fn wrap_secrets(
    policy: &Policy,
    incarnation: Incarnation,
    epoch: u32,
    roots: &dyn RootKeys,
    entropy: &dyn Entropy,
) -> Result<(Vec<(RootId, Wrapped)>, BTreeMap<RootId, WrapSecret>)> {
    let mut wrapped = Vec::new();
    let mut secrets = BTreeMap::new();
    for root in policy.roots() {
        let secret = WrapSecret::new(Key32::random(entropy)?);
        let context = WrapContext::new(*incarnation.as_bytes(), root.clone(), epoch, Call::new()?);
        let answer = roots.wrap(root, &secret, &context)?;
        answer.check_limits()?;
        wrapped.push((root.clone(), answer));
        secrets.insert(root.clone(), secret);
    }
    Ok((wrapped, secrets))
}

fn seal_ring_key(
    ring_key: &Key32,
    alternative: &Alternative<'_>,
    secrets: &BTreeMap<RootId, WrapSecret>,
    incarnation: Incarnation,
    epoch: u32,
    entropy: &dyn Entropy,
) -> Result<([u8; 32], Vec<u8>)> {
    let members: Vec<&Key32> = alternative.roots.iter().map(|&root| secrets[root].key()).collect();
    let kek = XaesKey::new(&derive::kek(&members, incarnation, epoch, &alternative.digest));
    let aad = ring_key_aad(incarnation, epoch, &alternative.digest);
    Ok((alternative.digest, kek.seal_key(entropy, aad.as_slice(), ring_key.expose_secret())?))
}

pub(super) fn ring_key_aad(incarnation: Incarnation, epoch: u32, alternative: &[u8; 32]) -> Context {
    Context::new("strongroom/v1/ring-key").bytes(incarnation.as_bytes()).u32(epoch).bytes(alternative)
}

pub(super) fn keyset_aad(head: &[u8]) -> Context {
    Context::new("strongroom/v1/keyset-aad").bytes(head)
}

impl Wrapped {
    fn check_limits(&self) -> Result<()> {
        use crate::kms::{VERSION_MAX_LEN, WRAPPED_MAX_LEN};
        let fits = |length: usize, limit: usize| (1..=limit).contains(&length);
        if fits(self.version.len(), VERSION_MAX_LEN) && fits(self.bytes.len(), WRAPPED_MAX_LEN) {
            return Ok(());
        }
        Err(Error::invalid("a root key answered with a version or wrapped secret past the limits of a ring slot"))
    }
}
