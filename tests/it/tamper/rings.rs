//! Ring slots that somebody has changed: an untouched twin heals, everything else is refused, and no root key is asked
//! before a slot is the one that the directory describes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use strongroom::{Custody, ErrorKind, ManualClock, Strongroom};

use super::{BOXES, FILES, Sample, builder, open_with, reader};
use crate::folders;
use crate::support::{self, CUSTODIAN, user};
use crate::witness::Witness;

const SLOT: usize = 8192;
const CHECKSUM_AT: usize = SLOT - 32;
/// Places in a slot that the chapter on the format gives.
const SEQUENCE_AT: usize = 4;
const EPOCH_AT: usize = 12;
const POLICY_AT: usize = 32;

type Slot = Vec<u8>;

#[derive(Clone, Copy, Debug)]
enum Side {
    A,
    B,
}

/// A store that is open while its ring file is under attack: suspending and resuming a tenant makes it read again.
struct Siege {
    room: Strongroom,
    custody: Custody,
    roots: Witness,
    rings: File,
    clock: Arc<ManualClock>,
}

impl Siege {
    fn of(store: &Path, roots: Witness) -> Self {
        let rings = OpenOptions::new().read(true).write(true).open(store.join("cells/0000/rings")).unwrap();
        let clock = ManualClock::new(1_800_000_000_000);
        let room = builder(store, roots.clone()).clock(clock.clone()).open().unwrap();
        Self { clock, custody: room.custody(CUSTODIAN).unwrap(), room, roots, rings }
    }

    fn slot(&self, number: u32, side: Side) -> Slot {
        let mut slot = vec![0; SLOT];
        self.rings.read_exact_at(&mut slot, offset(number, side)).unwrap();
        slot
    }

    fn put(&self, number: u32, side: Side, slot: &[u8]) {
        self.rings.write_all_at(slot, offset(number, side)).unwrap();
    }

    fn put_both(&self, number: u32, slot: &[u8]) {
        self.put(number, Side::A, slot);
        self.put(number, Side::B, slot);
    }

    /// Has the tenant's ring read from the file. Returns the answer, and how often the roots were asked for it.
    fn load(&self, tenant: &str) -> (Result<(), ErrorKind>, usize) {
        self.custody.suspend_tenant(tenant).unwrap();
        self.custody.resume_tenant(tenant).unwrap();
        // Root keys that have refused are not asked again in the same second.
        if self.custody.tenant(tenant).unwrap().fence.is_some() {
            self.clock.advance(Duration::from_secs(1));
        }
        self.roots.take_unwraps();
        let value = reader(&self.room, tenant).and_then(|session| session.collection(&FILES)?.get(&"d"));
        let answer = value.map_err(|error| error.kind()).map(|value| {
            assert_eq!(value, Some(format!("file d of {tenant}").into_bytes()), "a wrong answer");
        });
        (answer, self.roots.take_unwraps())
    }

    fn refused(&self, tenant: &str, kind: ErrorKind, asked: usize, what: &str) {
        assert_eq!(self.load(tenant), (Err(kind), asked), "{what}");
    }
}

fn offset(number: u32, side: Side) -> u64 {
    let place = match side {
        Side::A => 1 + number,
        Side::B => 1 + BOXES + number,
    };
    u64::from(place) * SLOT as u64
}

/// The trailer is no secret: whoever changes a slot can make it fit again.
fn with_checksum(mut slot: Slot) -> Slot {
    let checksum = Sha256::digest(&slot[..CHECKSUM_AT]);
    slot[CHECKSUM_AT..].copy_from_slice(&checksum);
    slot
}

/// Bytes of the slot before its zeros.
fn used(slot: &[u8]) -> usize {
    slot[..CHECKSUM_AT].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

fn flipped(slot: &[u8], bit: usize) -> Slot {
    let mut slot = slot.to_vec();
    slot[bit / 8] ^= 1 << (bit % 8);
    slot
}

fn siege() -> (Sample, Siege) {
    let sample = Sample::make();
    let siege = Siege::of(&sample.store(), Witness::of(&sample.keys()));
    assert_eq!(siege.load("contoso"), (Ok(()), 1), "the control: an untouched ring opens");
    (sample, siege)
}

#[test]
fn every_flipped_bit_of_one_slot_is_healed_and_of_both_refused() {
    let (_sample, siege) = siege();
    let whole = siege.slot(0, Side::A);
    assert_eq!(siege.slot(0, Side::B), whole, "at rest both slots are the same");
    let used_bits = 0..used(&whole) * 8;
    let bits: Vec<usize> = used_bits
        .clone()
        .chain((used_bits.end..CHECKSUM_AT * 8).step_by(997))
        .chain(CHECKSUM_AT * 8..SLOT * 8)
        .collect();
    for &bit in &bits {
        let side = if bit % 2 == 0 { Side::A } else { Side::B };
        siege.put(0, side, &flipped(&whole, bit));
        assert_eq!(siege.load("contoso"), (Ok(()), 1), "bit {bit} of {side:?}");
        assert_eq!(siege.slot(0, side), whole, "bit {bit} of {side:?} was not repaired");
        siege.put_both(0, &flipped(&whole, bit));
        siege.refused("contoso", ErrorKind::Corrupt, 0, &format!("bit {bit} of both"));
        siege.put_both(0, &whole);
    }
    assert_eq!(siege.load("contoso"), (Ok(()), 1));
    println!("bits flipped in one slot and in both: {}", bits.len());
}

#[test]
fn every_changed_bit_under_a_checksum_that_fits_is_refused_or_healed() {
    let (_sample, siege) = siege();
    let whole = siege.slot(0, Side::A);
    let policy_end = POLICY_AT + 2 + usize::from(u16::from_be_bytes([whole[POLICY_AT], whole[POLICY_AT + 1]]));
    let (mut asked_for, mut bits) = (0, 0);
    for bit in 0..used(&whole) * 8 {
        let forged = with_checksum(flipped(&whole, bit));
        siege.put_both(0, &forged);
        let (answer, asked) = siege.load("contoso");
        let kind = answer.expect_err(&format!("bit {bit}: a forged slot opened"));
        // A version that names no key of ours, or an id of another root, is a refusal of the roots.
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Tampered | ErrorKind::KeyRevoked), "bit {bit}: {kind}");
        if (EPOCH_AT * 8..policy_end * 8).contains(&bit) {
            assert_eq!(
                (kind, asked),
                (ErrorKind::Corrupt, 0),
                "bit {bit}: a slot that is not the row's came to the roots"
            );
        }
        asked_for += asked.min(1);
        siege.put(0, Side::B, &whole);
        assert_eq!(siege.load("contoso").0, Ok(()), "bit {bit}: the untouched twin does not serve");
        assert_eq!(siege.slot(0, Side::A), whole, "bit {bit}: was not repaired");
        bits += 1;
    }
    println!("bits forged: {bits}; of these the roots were asked for: {asked_for}");
}

#[test]
fn slots_of_others_of_before_and_of_elsewhere_are_refused_before_any_root_is_asked() {
    let (sample, siege) = siege();
    let (contoso, fabrikam) = (siege.slot(0, Side::A), siege.slot(1, Side::A));
    let corrupt = |slot: &[u8], what: &str| {
        siege.put_both(0, slot);
        siege.refused("contoso", ErrorKind::Corrupt, 0, what);
        siege.put_both(0, &contoso);
    };
    corrupt(&fabrikam, "another tenant's slot");
    corrupt(&vec![0; SLOT], "slots of zeros");
    corrupt(&with_checksum(vec![0; SLOT]), "zeros with a checksum");
    corrupt(&vec![0xFF; SLOT], "slots of ones");
    let elsewhere = Sample { folder: folders::in_memory(), facts: BTreeMap::default() };
    folders::copy(&sample.keys(), &elsewhere.keys());
    let room = elsewhere.open(&elsewhere.store()).unwrap();
    support::make_tenants(&room, &["contoso"]);
    drop(room);
    let rings = fs::read(elsewhere.store().join("cells/0000/rings")).unwrap();
    corrupt(&rings[SLOT..2 * SLOT], "the slot of another store under the same root");
    // Deleted and made again, the name has another ring; the old one is of no use any more.
    siege.custody.delete_tenant("contoso").unwrap();
    let purged = siege.slot(0, Side::A);
    assert_eq!((purged.clone(), used(&purged)), (siege.slot(0, Side::B), POLICY_AT), "a purged slot holds no key");
    support::make_tenants(&siege.room, &["contoso"]);
    let session = siege.room.session(&user("contoso"), "contoso").unwrap();
    session.collection(&FILES).unwrap().put(&"d", &b"file d of contoso".to_vec()).unwrap();
    let reborn = siege.slot(0, Side::A);
    for (slot, what) in [(&contoso, "the slot of an earlier tenant of this name"), (&purged, "its purged slot")] {
        siege.put_both(0, slot);
        siege.refused("contoso", ErrorKind::Corrupt, 0, what);
    }
    siege.put_both(0, &reborn);
    assert_eq!(siege.load("contoso"), (Ok(()), 1));
    assert_eq!(siege.load("fabrikam"), (Ok(()), 1), "the neighbour is served all the while");
}

#[test]
fn a_ring_made_by_an_attacker_is_refused() {
    let (_sample, siege) = siege();
    let (contoso, fabrikam) = (siege.slot(0, Side::A), siege.slot(1, Side::A));
    let change = |at: usize, bytes: &[u8]| {
        let mut slot = contoso.clone();
        slot[at..at + bytes.len()].copy_from_slice(bytes);
        with_checksum(slot)
    };
    let policy_end = POLICY_AT + 2 + usize::from(u16::from_be_bytes([contoso[POLICY_AT], contoso[POLICY_AT + 1]]));
    let id_at = policy_end + 2;
    let secret_at = id_at + "service".len() + 1 + "v1".len() + 2;
    let secret_len = usize::from(u16::from_be_bytes([contoso[secret_at - 2], contoso[secret_at - 1]]));
    let seals_at = secret_at + secret_len + 1;
    let refresh = 1u32.to_be_bytes();
    let cases = [
        ("a sequence that is higher", change(SEQUENCE_AT, &9u64.to_be_bytes()), ErrorKind::Tampered, 1),
        ("a sequence that is lower", change(SEQUENCE_AT, &0u64.to_be_bytes()), ErrorKind::Corrupt, 0),
        ("another epoch", change(EPOCH_AT, &2u32.to_be_bytes()), ErrorKind::Corrupt, 0),
        ("another refresh", change(POLICY_AT + 2, &refresh), ErrorKind::Corrupt, 0),
        ("another root in the list", change(id_at, b"servicf"), ErrorKind::Corrupt, 0),
        (
            "another tenant's wrapped secret",
            change(secret_at, &fabrikam[secret_at..][..secret_len]),
            ErrorKind::Tampered,
            1,
        ),
        ("another tenant's sealed ring key", change(seals_at, &fabrikam[seals_at..][..136]), ErrorKind::Tampered, 1),
        ("another tenant's keyset", change(seals_at + 136, &fabrikam[seals_at + 136..][..300]), ErrorKind::Tampered, 1),
        (
            "another tenant's all but the head",
            change(policy_end, &fabrikam[policy_end..CHECKSUM_AT]),
            ErrorKind::Tampered,
            1,
        ),
    ];
    assert_eq!(&contoso[secret_at - 5..secret_at - 2], b"\x02v1", "the places of this test are those of the format");
    for (what, slot, kind, asked) in &cases {
        siege.put_both(0, slot);
        siege.refused("contoso", *kind, *asked, what);
        siege.put(0, Side::A, &contoso);
        assert_eq!(siege.load("contoso").0, Ok(()), "{what}, in B only");
        assert_eq!(siege.slot(0, Side::B), contoso, "{what}: was not repaired");
    }
    println!("forged rings: {}", cases.len());
}

#[test]
fn the_stores_own_ring_is_healed_from_its_twin_and_else_refused() {
    let sample = Sample::make();
    let path = sample.store().join("zero/rings");
    let whole = fs::read(&path).unwrap();
    let (a, b) = (SLOT..2 * SLOT, 2 * SLOT..3 * SLOT);
    let used = used(&whole[a.clone()]);
    for place in (0..used).step_by(7).chain([CHECKSUM_AT, SLOT - 1]) {
        let mut damaged = whole.clone();
        damaged[a.start + place] ^= 1;
        fs::write(&path, &damaged).unwrap();
        drop(sample.open(&sample.store()).unwrap());
        assert_eq!(fs::read(&path).unwrap(), whole, "byte {place} was not repaired");
        damaged[b.start + place] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(sample.open(&sample.store()).unwrap_err().kind(), ErrorKind::Corrupt, "byte {place}");
        let forged = with_checksum(damaged[a.clone()].to_vec());
        damaged[a.clone()].copy_from_slice(&forged);
        damaged[b.clone()].copy_from_slice(&forged);
        fs::write(&path, &damaged).unwrap();
        let healed = place >= CHECKSUM_AT;
        let Err(error) = sample.open(&sample.store()) else {
            assert!(healed, "byte {place}: a forged ring opened");
            continue;
        };
        let kind = error.kind();
        let refusals = [ErrorKind::Corrupt, ErrorKind::Tampered, ErrorKind::Invalid, ErrorKind::KeyRevoked];
        assert!(refusals.contains(&kind) && !healed, "byte {place}: {kind}");
        fs::write(&path, &whole).unwrap();
    }
    for slots in [vec![0; 2 * SLOT], vec![0xFF; 2 * SLOT]] {
        fs::write(&path, [&whole[..SLOT], &slots].concat()).unwrap();
        assert_eq!(sample.open(&sample.store()).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(&path).unwrap()[SLOT..], slots, "what is left of the ring is left for whoever looks at it");
    }
}

#[test]
fn a_ring_file_that_was_cut_extended_or_has_another_header_shuts_its_cell_alone() {
    let sample = Sample::make();
    let path = sample.store().join("cells/0000/rings");
    let whole = fs::read(&path).unwrap();
    let change = |place: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[place] = byte;
        bytes
    };
    let cases = [
        ("cut by a byte", whole[..whole.len() - 1].to_vec(), ErrorKind::Corrupt),
        ("cut by a slot", whole[..whole.len() - SLOT].to_vec(), ErrorKind::Corrupt),
        ("cut within the header", whole[..100].to_vec(), ErrorKind::Corrupt),
        ("empty", Vec::new(), ErrorKind::Corrupt),
        ("longer by a byte", [&whole[..], &[0]].concat(), ErrorKind::Corrupt),
        ("longer by a slot", [&whole[..], &[0; SLOT]].concat(), ErrorKind::Corrupt),
        ("another magic", change(0, b'S'), ErrorKind::Corrupt),
        ("another format", change(16, 2), ErrorKind::Invalid),
        ("more boxes", change(20, 4), ErrorKind::Corrupt),
        ("no boxes", change(20, 0), ErrorKind::Corrupt),
        ("something in the reserved part", change(21, 1), ErrorKind::Corrupt),
        ("another checksum", change(SLOT - 1, !whole[SLOT - 1]), ErrorKind::Corrupt),
    ];
    for (what, bytes, kind) in &cases {
        fs::write(&path, bytes).unwrap();
        let room = sample.open(&sample.store()).unwrap();
        assert_eq!(reader(&room, "contoso").unwrap_err().kind(), *kind, "{what}");
        support::make_tenants(&room, &["newcomer"]);
        assert!(reader(&room, "newcomer").is_ok(), "{what}: others are served, in another cell");
        room.custody(CUSTODIAN).unwrap().delete_tenant("newcomer").unwrap();
    }
    fs::write(&path, &whole).unwrap();
    let room = sample.open(&sample.store()).unwrap();
    assert!(reader(&room, "contoso").is_ok());
}

#[test]
fn no_wrap_secret_is_used_twice_or_shows_in_what_is_stored() {
    let folder = folders::in_memory();
    let roots = Witness::of(&folder.path().join("keys"));
    let names: Vec<String> = (0..20).map(|number| format!("tenant-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut files = Vec::new();
    for store in ["store", "another"] {
        let room = open_with(&folder.path().join(store), roots.clone()).unwrap();
        support::make_tenants(&room, &names);
        room.custody(CUSTODIAN).unwrap().delete_tenant("tenant-0").unwrap();
        support::make_tenants(&room, &["tenant-0"]);
        drop(room);
        files.extend(folders::files(&folder.path().join(store)).into_iter().map(|path| fs::read(path).unwrap()));
    }
    let wrapped = roots.wrapped();
    assert_eq!(wrapped.len(), 2 * (1 + 20 + 1), "one for each ring: two stores, their tenants, and one made again");
    assert_eq!(roots.contexts(), wrapped.len(), "each wrapped for a context of its own");
    let secrets: BTreeSet<[u8; 32]> = wrapped.iter().map(|(secret, _)| *secret).collect();
    assert_eq!(secrets.len(), wrapped.len(), "a wrap secret was used twice");
    assert!(!secrets.contains(&[0; 32]));
    let holds = |bytes: &[u8], secret: &[u8; 32]| bytes.windows(32).any(|window| window == secret);
    for secret in &secrets {
        assert!(!wrapped.iter().any(|(_, output)| holds(output, secret)), "a secret lies in what came of wrapping");
    }
    for bytes in &files {
        let windows: BTreeSet<&[u8]> = secrets.iter().map(|secret| &secret[..]).collect();
        assert!(!bytes.windows(32).any(|window| windows.contains(window)), "a secret lies in a file of the store");
    }
    println!("secrets: {}; files searched: {}", secrets.len(), files.len());
}
