//! The proof held against the thing itself: the memory of the process, every file, and every window of every file as a
//! key. Each with a control that finds what is there before the purge.
#![cfg(feature = "rocksdb")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::aead::XaesKey;
use crate::clock::ManualClock;
use crate::collection::CollectionDef;
use crate::directory::{Tenant, Thoroughness};
use crate::keys;
use crate::kms::LocalRoots;
use crate::secret::Key32;
use crate::strongroom::Strongroom;
use crate::test_kit::Gullible;
use crate::traces::{Search, SearchReport, Trace, TraceKind};

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");
const PLAIN: [TraceKind; 4] = [TraceKind::WrapSecret, TraceKind::RingKey, TraceKind::TenantKey, TraceKind::NameSecret];
const ROLE: &str = "STRONGROOM_TEST_PURGE_MEMORY";

struct World {
    room: Strongroom,
    clock: Arc<ManualClock>,
}

impl World {
    /// A store with a tenant who has records under two generations, its keys in memory.
    fn new(folder: &Path) -> Self {
        let clock = ManualClock::new(1_800_000_000_000);
        let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
        let room = Strongroom::builder(folder.join("store"), roots, Gullible).service_speaker("i", "service");
        let room = room.boxes_per_cell(2).clock(clock.clone()).open().unwrap();
        let spec = crate::TenantSpec::new("contoso", "i", "contoso");
        room.custody("service").unwrap().create_tenant(spec).unwrap();
        let world = Self { room, clock };
        world.write(0);
        world.room.tenant_custody("contoso", "contoso").unwrap().rotate_keys().unwrap();
        world.write(100);
        world
    }

    fn write(&self, from: u64) {
        let notes = self.room.session("contoso", "contoso").unwrap().collection(&NOTES).unwrap();
        for number in from..from + 20 {
            notes.put(&number, &vec![1; 300]).unwrap();
        }
    }

    fn tenant(&self) -> Arc<Tenant> {
        self.room.directory().find("contoso").unwrap()
    }

    /// What recognises every secret of the tenant. It holds none.
    fn traces(&self) -> Vec<Trace> {
        let (tenant, directory) = (self.tenant(), self.room.directory());
        let copies = |rings: &_| keys::copies_of(rings, tenant.box_number(), tenant.incarnation());
        let copies = directory.cells.with_rings(tenant.cell_number(), copies).unwrap();
        let remains = copies.remains(&**directory.register.roots());
        assert!(remains.has_opened && remains.generations == [1, 2]);
        remains.traces
    }

    fn purge(&self) {
        use crate::audit::Actor;
        use crate::purge::{PurgeStage, Statement};
        let statement = |subject: &str| Statement {
            issuer: "i".into(),
            tenant: "contoso".into(),
            subject: subject.into(),
            reason: "the contract has ended".into(),
            at_secs: 1_800_000_000,
        };
        let (directory, tenant) = (self.room.directory(), self.tenant());
        directory.request_purge(&tenant, &Actor::Store, statement("anna")).unwrap();
        directory.approve_purge(&tenant, &Actor::Store, statement("bert")).unwrap();
        self.clock.advance(Duration::from_secs(7 * 24 * 3600));
        let done = directory.execute_purge(tenant.incarnation(), &Actor::Store, Thoroughness::Linear, &mut |_| true);
        let done = done.unwrap();
        assert_eq!(done.stage, PurgeStage::Proven, "{:?}", done.missing);
    }
}

/// Every file below a folder.
fn contents(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { contents(&path) } else { vec![fs::read(path).unwrap()] }).collect()
}

fn search(traces: &[Trace], folder: &Path) -> SearchReport {
    let mut report = SearchReport::of(traces);
    Search::new(traces).folder("", folder, &mut report, &mut |_| true);
    report
}

/// Writes everything that this process may write to, its stacks and its heap, into a file.
fn dump_core(path: &Path) -> u64 {
    let (memory, mut out) = (File::open("/proc/self/mem").unwrap(), File::create(path).unwrap());
    // Listed first and whole: reading changes the list.
    let maps: Vec<String> =
        BufReader::new(File::open("/proc/self/maps").unwrap()).lines().map(Result::unwrap).collect();
    let (mut page, mut dumped) = (vec![0; 1 << 16], 0);
    for line in maps.iter().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        while at < to {
            let count = usize::try_from(to - at).unwrap().min(page.len());
            // What is mapped and cannot be read holds nothing.
            if memory.read_exact_at(&mut page[..count], at).is_ok() {
                out.write_all(&page[..count]).unwrap();
                dumped += count as u64;
            }
            at += count as u64;
        }
    }
    dumped
}

/// In a process of its own: its memory is its own, and what a dump leaves in it is looked at by nobody after it.
#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn no_secret_of_a_purged_tenant_is_left_in_memory() {
    let Ok(role) = std::env::var(ROLE) else {
        for role in ["living", "purged"] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "directory::purge::tests::no_secret_of_a_purged_tenant_is_left_in_memory"])
                .args(["--nocapture", "--test-threads=1"])
                .env(ROLE, role)
                .output()
                .unwrap();
            let said = [child.stdout, child.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
            assert!(child.status.success() && said.contains("1 passed"), "{role}: {said}");
        }
        return;
    };
    let (folder, dump) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::new(folder.path());
    let traces = world.traces();
    if role == "purged" {
        world.purge();
    }
    let dumped = dump_core(&dump.path().join("core"));
    let found = search(&traces, dump.path());
    let plain = found.hits.iter().filter(|hit| PLAIN.contains(&hit.kind)).count();
    println!("{role}: {dumped} bytes, {} hits, {plain} of them plain", found.hits_total);
    assert!(found.hits_total <= 32, "all of them are listed: {found:?}");
    match role.as_str() {
        "living" => assert!(
            [TraceKind::RingKey, TraceKind::TenantKey, TraceKind::NameSecret]
                .iter()
                .all(|kind| { found.hits.iter().any(|hit| hit.kind == *kind) })
        ),
        _ => assert_eq!(plain, 0, "{:?}", found.hits),
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no RocksDB")]
fn no_trace_is_left_in_any_file_and_every_kind_was_there_that_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let traces = world.traces();
    let before = search(&traces, &folder.path().join("store"));
    let mut kinds: Vec<TraceKind> = before.hits.iter().map(|hit| hit.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let sealed = [TraceKind::WrappedSecret, TraceKind::SealedRingKey, TraceKind::SealedKeyset, TraceKind::RingSlot];
    assert_eq!(kinds, sealed, "in the ring file, and no plain secret anywhere");
    assert!(before.hits.iter().all(|hit| hit.file.ends_with("/rings")));
    world.purge();
    assert!(search(&traces, &folder.path().join("store")).is_clean());
}

/// Linear search finds what it knows. This asks whether anything at all in the files is a key.
#[test]
#[cfg_attr(miri, ignore = "Miri has no RocksDB")]
fn no_window_of_any_file_is_a_key_that_opens_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (tenant, store) = (world.tenant(), folder.path().join("store"));
    let ring = tenant.ring().unwrap();
    let rows = tenant.view().unwrap().page(tenant.keyspace(), &[], None, 1 << 16).unwrap().rows;
    let (key, sealed) = rows.last().cloned().expect("a record");
    // As the page on the format has it: generation at 2, nonce at 6, commitment to the key at 30.
    let generation = u32::from_be_bytes(sealed[2..6].try_into().unwrap());
    let (nonce, commitment) = (sealed[6..30].try_into().unwrap(), &sealed[30..62]);
    let collection = u32::from_be_bytes(*key.first_chunk().unwrap());
    let opens = |window: &[u8]| {
        let key = Key32::from_slice(window).unwrap();
        let derived = crate::derive::record_key(&key, tenant.incarnation(), generation, collection, 1);
        XaesKey::new(&derived).commitment(nonce)[..] == *commitment
    };
    let tenant_key = ring.tenant_key_for_tests(generation);
    assert!(opens(&tenant_key), "the control: it is the key of this record");
    drop(ring);
    let incarnation = tenant.incarnation();
    world.purge();
    // As the store itself does it, if that is asked for.
    let set_aside = vec![(key.clone(), sealed.clone())];
    let directory = world.room.directory();
    let by_itself = || directory.try_windows(incarnation, &set_aside, &mut || true).unwrap().unwrap();
    assert!(matches!(by_itself(), (tried, 0) if tried > 10_000));
    assert!(directory.try_windows(incarnation, &set_aside, &mut || false).unwrap().is_none());
    fs::write(store.join("stray"), [&[9; 13][..], &*tenant_key, &[9; 7]].concat()).unwrap();
    assert!(matches!(by_itself(), (tried, 1) if tried > 10_000), "the control: it is found where it lies");
    fs::remove_file(store.join("stray")).unwrap();
    let files = contents(&store);
    let windows = files.iter().flat_map(|bytes| bytes.windows(32)).filter(|window| window[..8] != [0; 8]);
    let tried = windows.inspect(|window| assert!(!opens(window))).count();
    println!("windows tried: {tried}");
    assert!(tried > 10_000);
    let planted = [&[9; 13][..], &*tenant_key, &[9; 7]].concat();
    assert!(planted.windows(32).any(opens), "the control: it is found where it lies");
}
