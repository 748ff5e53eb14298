//! Rings against the reference, and against everything an attacker with the disk can put in their place.

mod covering;

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::slot::{Head, Parsed, Slot};
use super::*;
use crate::aead::XaesKey;
use crate::cells::{RingFile, SLOT_LEN, Side};
use crate::context::Context;
use crate::derive;
use crate::engine::Opaque;
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{ErrorKind, Result};
use crate::kms::{RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::name::Incarnation;
use crate::secret::Key32;
use crate::test_kit::{Scripted, array, hex, number, secret, section, text};

/// Root keys in memory that wrap as `LocalRoots` does, with nonces from a script, and remember what they were asked.
struct Roots {
    keys: Vec<(RootId, String, Key32)>,
    entropy: Arc<dyn Entropy>,
    wrapped: Mutex<Vec<[u8; 32]>>,
    unwraps: Mutex<u32>,
    answer: Mutex<Option<RootError>>,
}

impl Roots {
    fn new(keys: Vec<(RootId, String, Key32)>, entropy: Arc<dyn Entropy>) -> Self {
        Self { keys, entropy, wrapped: Mutex::default(), unwraps: Mutex::default(), answer: Mutex::default() }
    }

    fn key(&self, root: &RootId, context: &WrapContext) -> (&str, XaesKey, Context) {
        let (_, version, key) = self.keys.iter().find(|(id, ..)| id == root).expect("a root of the test");
        let (incarnation, epoch) = (context.incarnation(), context.epoch());
        let wrapping = XaesKey::new(&derive::local_root(key, root.as_str(), version, incarnation, epoch));
        let aad = Context::new("strongroom/v1/local-wrap")
            .bytes(root.as_str().as_bytes())
            .bytes(version.as_bytes())
            .bytes(incarnation.as_bytes())
            .u32(epoch);
        (version, wrapping, aad)
    }
}

impl RootKeys for Roots {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.wrapped.lock().unwrap().push(*secret.expose_secret());
        let (version, key, aad) = self.key(root, context);
        let sealed = key.seal_key(&*self.entropy, aad.as_slice(), secret.expose_secret()).unwrap();
        Ok(Wrapped { version: version.to_owned(), bytes: sealed })
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        *self.unwraps.lock().unwrap() += 1;
        if let Some(error) = *self.answer.lock().unwrap() {
            return Err(error);
        }
        let (_, key, aad) = self.key(root, context);
        let secret = key.open_key(aad.as_slice(), &wrapped.bytes).map_err(|_| RootError::Tampered)?;
        WrapSecret::from_slice(&secret).ok_or(RootError::Tampered)
    }
}

fn id(name: &str) -> RootId {
    RootId::new(name).unwrap()
}

fn policy(input: &Value) -> Policy {
    let names = |list: &Value| list.as_array().unwrap().iter().map(|name| id(text(name))).collect::<Vec<_>>();
    let mut alternatives: Vec<Vec<RootId>> = input["alternatives"].as_array().unwrap().iter().map(names).collect();
    alternatives.iter_mut().for_each(|roots| roots.sort());
    alternatives.sort();
    Policy {
        refresh_secs: number(&input["refresh"]),
        hard_expiry_secs: number(&input["hard_expiry"]),
        recovery_limit_secs: number(&input["recovery_limit"]),
        alternatives,
        recovery: input["recovery"].as_str().map(id),
    }
}

fn roots(input: &Value, entropy: Arc<dyn Entropy>) -> Roots {
    let root = |root: &Value| (id(text(&root["id"])), text(&root["version"]).to_owned(), secret(&root["key"]));
    Roots::new(input["roots"].as_array().unwrap().iter().map(root).collect(), entropy)
}

/// The slot as the reference writes it, zeros and checksum put back.
fn reference_slot(output: &Value) -> Box<[u8; SLOT_LEN]> {
    let mut slot = Box::new([0; SLOT_LEN]);
    let used = hex(&output["used"]);
    slot[..used.len()].copy_from_slice(&used);
    slot[SLOT_LEN - 32..].copy_from_slice(&hex(&output["trailer"]));
    slot
}

fn reference_belief(input: &Value, output: &Value) -> Belief {
    let epoch = EpochBelief {
        epoch: number(&input["epoch"]),
        policy_digest: array(&output["policy_digest"]),
        ring_check: Some(array(&output["ring_check"])),
    };
    let least_sequence = input["sequence"].as_u64().unwrap();
    Belief { incarnation: Incarnation::new(array(&input["incarnation"])), epochs: vec![epoch], least_sequence }
}

#[test]
fn policies_are_the_references() {
    for entry in section("policy", 3) {
        let policy = policy(&entry["in"]);
        assert_eq!(policy.encode(), hex(&entry["out"]["policy_bytes"]));
        assert_eq!(policy.digest().to_vec(), hex(&entry["out"]["policy_digest"]));
    }
}

#[test]
fn rings_of_the_reference_open() {
    for entry in section("ring", 5) {
        let (input, output) = (&entry["in"], &entry["out"]);
        let rings = RingFile::in_memory(1);
        rings.write(0, Side::A, Slot::from_bytes(reference_slot(output))).unwrap();
        let roots: Arc<dyn RootKeys> = Arc::new(roots(input, Arc::new(OsEntropy)));
        let ring = load(&rings, 0, &reference_belief(input, output), &roots);
        let ring = ring.unwrap_or_else(|error| panic!("{}: {error}", entry["name"]));
        assert_eq!(ring.write_generation(), number(&input["write_generation"]));
        for generation in input["generations"].as_array().unwrap() {
            let generation = number(&generation["generation"]);
            assert!(ring.record_key(generation, 256, 1).is_ok());
        }
        assert_eq!(rings.read(0, Side::B).unwrap(), reference_slot(output), "the twin is made equal");
    }
}

#[test]
fn a_ring_made_here_is_the_references_to_the_byte() {
    let mut made = 0;
    for entry in section("ring", 5) {
        let (input, output) = (&entry["in"], &entry["out"]);
        let first = |field: &str, value: u64| input[field].as_u64() == Some(value);
        let generations = input["generations"].as_array().unwrap();
        if !(first("epoch", 1) && first("sequence", 1) && generations.len() == 1) {
            continue;
        }
        let mut nonces = input["nonces"].as_array().unwrap().iter().map(hex);
        let mut script = vec![hex(&input["name_secret"]), hex(&generations[0]["key"]), hex(&input["ring_key"])];
        for root in input["roots"].as_array().unwrap() {
            script.push(hex(&root["wrap_secret"]));
            script.extend(nonces.next());
        }
        script.extend(nonces);
        let entropy = std::sync::Arc::new(Scripted::new(script));
        let rings = RingFile::in_memory(1);
        let (belief, _) = create(
            &rings,
            0,
            Incarnation::new(array(&input["incarnation"])),
            policy(&input["policy"]),
            &roots(input, entropy.clone()),
            &*entropy,
            generations[0]["created"].as_u64().unwrap(),
        )
        .unwrap();
        assert!(entropy.is_used_up());
        assert_eq!(belief, reference_belief(input, output));
        for side in [Side::A, Side::B] {
            assert_eq!(rings.read(0, side).unwrap(), reference_slot(output), "{}", entry["name"]);
        }
        made += 1;
    }
    assert!(made >= 1, "at least the ring of a service-managed tenant");
}

/// A tenant's ring in box 0 of a cell of two boxes.
struct World {
    rings: RingFile,
    belief: Belief,
    roots: Arc<Roots>,
}

impl World {
    fn new() -> Self {
        let (rings, roots) = (RingFile::in_memory(2), one_root(5));
        let belief = make(&rings, 0, [1; 16], &roots);
        Self { rings, belief, roots: Arc::new(roots) }
    }

    fn load(&self) -> Result<Ring> {
        load(&self.rings, 0, &self.belief, &self.roots())
    }

    fn roots(&self) -> Arc<dyn RootKeys> {
        self.roots.clone()
    }

    fn refusal(&self) -> ErrorKind {
        self.load().unwrap_err().kind()
    }

    fn unwraps(&self) -> u32 {
        *self.roots.unwraps.lock().unwrap()
    }

    fn set_both(&self, slot: &[u8; SLOT_LEN]) {
        self.set(Side::A, slot);
        self.set(Side::B, slot);
    }

    fn set(&self, side: Side, slot: &[u8; SLOT_LEN]) {
        self.rings.write(0, side, Slot::from_bytes(Box::new(*slot))).unwrap();
    }
}

fn one_root(fill: u8) -> Roots {
    let key = (id("service"), "v1".to_owned(), Key32::with(|key| key.fill(fill)));
    Roots::new(vec![key], std::sync::Arc::new(OsEntropy))
}

fn make(rings: &RingFile, number: u32, incarnation: [u8; 16], roots: &Roots) -> Belief {
    let policy = Policy::service_managed(id("service"));
    create(rings, number, Incarnation::new(incarnation), policy, roots, &OsEntropy, 7).unwrap().0
}

/// Puts a right checksum under changed bytes, as anyone with the disk can.
fn with_checksum(mut slot: Box<[u8; SLOT_LEN]>) -> Box<[u8; SLOT_LEN]> {
    use sha2::{Digest, Sha256};
    let checksum = Sha256::digest(&slot[..SLOT_LEN - 32]);
    slot[SLOT_LEN - 32..].copy_from_slice(&checksum);
    slot
}

#[test]
fn any_bit_of_one_slot_is_repaired_and_of_both_is_refused() {
    let world = World::new();
    let whole = world.rings.read(0, Side::A).unwrap();
    for bit in (0..1024 * 8).chain(8159 * 8..SLOT_LEN * 8) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        world.set(Side::A, &damaged);
        assert!(world.load().is_ok(), "bit {bit}");
        assert_eq!(world.rings.read(0, Side::A).unwrap(), whole, "repaired");
        world.set_both(&damaged);
        assert_eq!(world.refusal(), ErrorKind::Corrupt, "bit {bit}");
        world.set_both(&whole);
    }
}

#[test]
fn any_bit_with_a_right_checksum_is_refused_too() {
    let world = World::new();
    let whole = world.rings.read(0, Side::A).unwrap();
    let used = whole[..SLOT_LEN - 32].iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for bit in 0..(used + 8) * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        world.set_both(&with_checksum(changed));
        assert!(matches!(world.refusal(), ErrorKind::Corrupt | ErrorKind::Tampered), "bit {bit}");
    }
}

#[test]
fn a_slot_that_the_row_does_not_describe_costs_no_call_to_a_root() {
    let changes: [fn(&mut Belief); 5] = [
        |belief| belief.incarnation = Incarnation::new([9; 16]),
        |belief| belief.least_sequence += 1,
        |belief| belief.epochs[0].epoch += 1,
        |belief| belief.epochs[0].policy_digest[0] ^= 1,
        |belief| belief.epochs.clear(),
    ];
    for change in changes {
        let mut world = World::new();
        change(&mut world.belief);
        assert_eq!(world.refusal(), ErrorKind::Corrupt);
        assert_eq!(world.unwraps(), 0);
    }
}

/// The slot that comes after `slot`: the next sequence, and generation 2 instead of 1.
fn successor(slot: &[u8; SLOT_LEN], ring_key: &Key32) -> Box<[u8; SLOT_LEN]> {
    let Parsed { sequence, epoch, incarnation, policy, roots, seals, head, keyset } = Parsed::parse(slot).unwrap();
    let ring_seal = XaesKey::new(&derive::ring_seal(ring_key, incarnation, epoch));
    let aad = |head: &[u8]| Context::new("strongroom/v1/keyset-aad").bytes(head);
    let mut keyset = ring_seal.open_key(aad(&head).as_slice(), &keyset).unwrap();
    // The last bytes of the write generation and of the number of the only one.
    (keyset[36], keyset[41]) = (2, 2);
    let next = Head { sequence: sequence + 1, epoch, incarnation, policy: &policy, roots: &roots, seals: &seals };
    let head = next.encode();
    let sealed = ring_seal.seal_key(&OsEntropy, aad(&head).as_slice(), &keyset).unwrap();
    Slot::live(&head, &sealed).into_bytes().try_into().unwrap()
}

#[test]
fn of_two_slots_that_fit_the_later_is_believed_and_its_twin_made_equal() {
    let script = Scripted::new([vec![1; 32], vec![2; 32], vec![3; 32], vec![4; 32], vec![5; 24], vec![6; 24]]);
    let mut world = World::new();
    let policy = Policy::service_managed(id("service"));
    let made = create(&world.rings, 0, Incarnation::new([1; 16]), policy, &*world.roots, &script, 7).unwrap();
    world.belief = made.0;
    let earlier = world.rings.read(0, Side::A).unwrap();
    let later = successor(&earlier, &Key32::with(|key| key.fill(3)));
    for (a, b) in [(&later, &earlier), (&earlier, &later)] {
        world.set(Side::A, a);
        world.set(Side::B, b);
        assert_eq!(world.load().unwrap().write_generation(), 2);
        assert_eq!(
            (world.rings.read(0, Side::A).unwrap(), world.rings.read(0, Side::B).unwrap()),
            (later.clone(), later.clone())
        );
    }
}

#[test]
fn an_attackers_own_ring_is_refused_by_the_ring_check() {
    // The attacker can use the root (as with the public half of an RSA key) and makes a ring of the same incarnation,
    // epoch, policy and sequence. Everything opens; only the row's ring check says that it is another ring.
    let world = World::new();
    let forged = RingFile::in_memory(1);
    make(&forged, 0, [1; 16], &world.roots);
    world.set_both(&forged.read(0, Side::A).unwrap());
    assert_eq!(world.refusal(), ErrorKind::Tampered);
    assert_eq!(world.unwraps(), 1, "what lies in both slots is asked about once");
    // The control: without the check the forged ring would be believed.
    let mut careless = world.belief.clone();
    careless.epochs[0].ring_check = None;
    assert!(load(&world.rings, 0, &careless, &world.roots()).is_ok());
}

#[test]
fn rings_of_others_and_of_other_roots_do_not_open() {
    let world = World::new();
    make(&world.rings, 1, [2; 16], &world.roots);
    world.set_both(&world.rings.read(1, Side::A).unwrap());
    assert_eq!(world.refusal(), ErrorKind::Corrupt, "another tenant's slot");
    let world = World { roots: Arc::new(one_root(6)), ..World::new() };
    assert_eq!(world.refusal(), ErrorKind::Tampered, "another root key of the same name");
}

#[test]
fn another_tenants_ring_is_not_purged() {
    let world = World::new();
    make(&world.rings, 0, [2; 16], &world.roots);
    let theirs = world.rings.read(0, Side::A).unwrap();
    assert_eq!(purge(&world.rings, 0, &world.belief).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(world.rings.read(0, Side::A).unwrap(), theirs);
}

#[test]
fn a_purged_or_empty_ring_is_gone() {
    let world = World::new();
    purge(&world.rings, 0, &world.belief).unwrap();
    assert_eq!(world.refusal(), ErrorKind::Corrupt);
    for side in [Side::A, Side::B] {
        let slot = world.rings.read(0, side).unwrap();
        assert!(slot[32..SLOT_LEN - 32].iter().all(|&byte| byte == 0), "nothing sealed is left");
    }
    world.set_both(&[0; SLOT_LEN]);
    assert_eq!(world.refusal(), ErrorKind::Corrupt);
}

#[test]
fn what_the_roots_answer_is_what_the_caller_hears() {
    let answers = [
        (RootError::Unreachable, ErrorKind::Unavailable),
        (RootError::Throttled, ErrorKind::Throttled),
        (RootError::Denied, ErrorKind::KeyRevoked),
        (RootError::Disabled, ErrorKind::KeyRevoked),
        (RootError::Destroyed, ErrorKind::KeyRevoked),
        (RootError::Tampered, ErrorKind::Tampered),
    ];
    for (answer, kind) in answers {
        let world = World::new();
        *world.roots.answer.lock().unwrap() = Some(answer);
        assert_eq!(world.refusal(), kind);
    }
}

#[test]
fn no_secret_is_ever_wrapped_twice() {
    let (rings, roots) = (RingFile::in_memory(1), one_root(5));
    (0..64).for_each(|number| drop(make(&rings, 0, [number; 16], &roots)));
    let mut policy = Policy::service_managed(id("service"));
    policy.alternatives = vec![vec![id("a")], vec![id("a"), id("b")]];
    let two = Roots::new(
        ["a", "b"].map(|name| (id(name), "v1".to_owned(), Key32::with(|key| key.fill(1)))).into(),
        std::sync::Arc::new(OsEntropy),
    );
    create(&rings, 0, Incarnation::new([7; 16]), policy, &two, &OsEntropy, 7).unwrap();
    let mut secrets = std::mem::take(&mut *roots.wrapped.lock().unwrap());
    secrets.extend(two.wrapped.into_inner().unwrap());
    assert_eq!(secrets.len(), 66);
    secrets.push([0; 32]);
    secrets.sort_unstable();
    secrets.dedup();
    assert_eq!(secrets.len(), 67, "distinct, and none of them zero");
}

/// Answers every wrap alike.
struct Answering(Wrapped);

impl RootKeys for Answering {
    fn wrap(&self, _: &RootId, _: &WrapSecret, _: &WrapContext) -> Result<Wrapped, RootError> {
        Ok(self.0.clone())
    }

    fn unwrap(&self, _: &RootId, _: &Wrapped, _: &WrapContext) -> Result<WrapSecret, RootError> {
        Err(RootError::Denied)
    }
}

#[test]
fn an_answer_past_the_limits_of_a_slot_makes_no_ring() {
    let rings = RingFile::in_memory(1);
    let make = |version: usize, bytes: usize| {
        let roots = Answering(Wrapped { version: "v".repeat(version), bytes: vec![1; bytes] });
        let policy = Policy::service_managed(id("service"));
        create(&rings, 0, Incarnation::new([1; 16]), policy, &roots, &OsEntropy, 7).map(drop)
    };
    for (version, bytes) in [(0, 1), (1, 0), (129, 1), (1, 1025)] {
        assert_eq!(make(version, bytes).unwrap_err().kind(), ErrorKind::Invalid, "{version}, {bytes}");
        assert!([Side::A, Side::B].iter().all(|side| *rings.read(0, *side).unwrap() == [0; SLOT_LEN]));
    }
    assert!(make(1, 1).is_ok() && make(128, 1024).is_ok());
}

#[test]
fn retired_generations_are_destroyed_and_unknown_ones_are_tampered() {
    let ring = Ring::for_tests(Incarnation::new([1; 16]), [2; 32], &[(2, [3; 32]), (4, [4; 32])]);
    let kind = |generation| ring.record_key(generation, 256, 1).err().map(|error| error.kind());
    assert_eq!(kind(0), Some(ErrorKind::Tampered));
    assert_eq!(kind(1), Some(ErrorKind::KeyDestroyed));
    assert_eq!(kind(2), None);
    assert_eq!(kind(3), Some(ErrorKind::KeyDestroyed));
    assert_eq!(kind(4), None);
    assert_eq!(kind(5), Some(ErrorKind::Tampered));
}

#[test]
fn the_largest_slot_fits() {
    let names: Vec<RootId> = ["a", "b", "c", "d"].iter().map(|first| id(&first.repeat(63))).collect();
    let mut policy = Policy::service_managed(names[0].clone());
    policy.alternatives =
        (0..4).map(|skipped| (0..4).filter(|n| *n != skipped).map(|n| names[n].clone()).collect()).collect();
    policy.alternatives.sort();
    assert!(policy.is_well_formed());
    let wrapped = Wrapped { version: "v".repeat(128), bytes: vec![1; 1024] };
    let roots: Vec<_> = names.iter().map(|name| (name.clone(), wrapped.clone())).collect();
    let seals: Vec<_> = policy.all().map(|alternative| (alternative.digest, vec![2; 104])).collect();
    let head = Head {
        sequence: 1,
        epoch: 1,
        incarnation: Incarnation::new([1; 16]),
        policy: &policy,
        roots: &roots,
        seals: &seals,
    };
    let keyset = vec![3; 72 + 38 + 16 * 44];
    let slot: Box<[u8; SLOT_LEN]> = Slot::live(&head.encode(), &keyset).into_bytes().try_into().unwrap();
    let parsed = Parsed::parse(&slot).unwrap();
    assert_eq!((parsed.policy, parsed.roots, parsed.keyset), (policy, roots, keyset));
}
