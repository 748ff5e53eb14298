//! Two slots that differ: what the root keys say of one does not cover what they say of the other.

use super::*;

#[test]
fn what_one_slot_is_answered_does_not_cover_a_refusal_of_the_other() {
    let (denied, tampered, away) = (RootError::Denied, RootError::Tampered, RootError::Unreachable);
    let worst = |one, other| Shut::fold([one]).or_worse(Shut::fold([other]));
    assert_eq!((worst(denied, tampered), worst(tampered, denied)), (Shut::Refused(denied), Shut::Refused(denied)));
    assert_eq!((worst(denied, away), worst(away, denied)), (Shut::Refused(denied), Shut::Refused(denied)));
    assert_eq!((worst(away, tampered), worst(tampered, away)), (Shut::Tampered, Shut::Tampered));
    // A slot that somebody put beside the good one, whose root key was never asked before: the good one's owner refuses.
    let world = World::new();
    let good = world.rings.read(0, Side::A).unwrap();
    let roots =
        Arc::new(Choosy { roots: one_root(5), refused: Parsed::parse(&good).unwrap().roots[0].1.bytes.clone() });
    let mut slot = Parsed::parse(&good).unwrap();
    slot.roots[0].1.bytes[40] ^= 1;
    let head = Head {
        sequence: slot.sequence + 1,
        epoch: slot.epoch,
        incarnation: slot.incarnation,
        policy: &slot.policy,
        roots: &slot.roots,
        seals: &slot.seals,
    };
    let forged = Slot::live(&head.encode(), &slot.keyset);
    for (a, b) in [(forged.as_bytes(), &*good), (&*good, forged.as_bytes())] {
        world.set(Side::A, a);
        world.set(Side::B, b);
        let roots: Arc<dyn RootKeys> = roots.clone();
        let patience = crate::kms::Patience::new();
        let shut = read(&world.rings, 0, &world.belief).unwrap().open(&roots, &patience).map(drop).unwrap_err();
        assert_eq!(shut, Shut::Refused(denied));
    }
}

/// Refuses one wrapped secret, and knows nothing of any other.
struct Choosy {
    roots: Roots,
    refused: Vec<u8>,
}

impl RootKeys for Choosy {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.roots.wrap(root, secret, context)
    }

    fn unwrap(&self, _: &RootId, wrapped: &Wrapped, _: &WrapContext) -> Result<WrapSecret, RootError> {
        Err(if wrapped.bytes == self.refused { RootError::Denied } else { RootError::Tampered })
    }
}
