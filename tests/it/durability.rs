//! No acknowledgement before the disk has it: every call that a child makes to the file system is written down, and
//! at every acknowledgement nothing that recovery needs may be written and not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use strongroom::{CollectionDef, Durability, LocalRoots, RootId, Strongroom, TenantSpec};

use crate::children::{self, Playing};
use crate::folders;
use crate::support::{self, CUSTODIAN, ISSUER, user};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");
const TRACES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("traces").ordered();
const BOXES: usize = 2;
const SLOT: usize = 8192;

/// Tells the watching library that something has been acknowledged.
fn acknowledge(what: &str) {
    File::open(children::folder().join(format!("ACK-{what}"))).expect_err("the library answers that there is no such");
}

/// The child: every kind of operation, each acknowledged as soon as it has returned.
pub fn acknowledge_everything() {
    // Not there yet, and not their parents either.
    let (roots, store) = (children::folder().join("a/keys"), children::folder().join("b/c/store"));
    let local = LocalRoots::open_with_root(&roots, "service").unwrap();
    acknowledge("root key made");
    local.generate(&RootId::new("service").unwrap()).unwrap();
    acknowledge("root key version made");
    let builder = || {
        let local = LocalRoots::open(&roots).unwrap();
        Strongroom::builder(&store, local, support::Plain).service_speaker(ISSUER, "service").boxes_per_cell(2)
    };
    let room = builder().open().unwrap();
    acknowledge("store made");
    let custody = room.custody(CUSTODIAN).unwrap();
    let make = |name: &str| custody.create_tenant(TenantSpec::new(name, ISSUER, name)).unwrap();
    make("contoso");
    acknowledge("tenant and cell made");
    make("fabrikam");
    acknowledge("tenant made");
    let session = room.session(&user("contoso"), "contoso").unwrap();
    let notes = session.collection(&NOTES).unwrap();
    acknowledge("collection made");
    notes.put(&"a", &vec![1; 100]).unwrap();
    acknowledge("put");
    let batch = || session.batch().put(&NOTES, &"b", &vec![2]).unwrap().put(&TRACES, &"c", &vec![3]).unwrap();
    batch().commit().unwrap();
    acknowledge("batch");
    session.collection(&NOTES.durability(Durability::Buffered)).unwrap().put(&"d", &vec![4]).unwrap();
    acknowledge("buffered put");
    notes.delete(&"a").unwrap();
    acknowledge("delete");
    batch().durability(Durability::Buffered).commit().unwrap();
    acknowledge("buffered batch");
    session.drop_collection("traces").unwrap();
    acknowledge("collection dropped");
    custody.suspend_tenant("contoso").unwrap();
    acknowledge("tenant suspended");
    custody.resume_tenant("contoso").unwrap();
    acknowledge("tenant resumed");
    custody.delete_tenant("fabrikam").unwrap();
    acknowledge("tenant deleted");
    make("fabrikam");
    make("northwind");
    acknowledge("second cell made");
    drop((custody, session, notes, room));
    let room = builder().open().unwrap();
    acknowledge("store opened again");
    let session = room.session(&user("contoso"), "contoso").unwrap();
    session.collection(&NOTES).unwrap().put(&"e", &vec![5]).unwrap();
    acknowledge("put after opening");
    // Whoever makes a folder may not make it last.
    std::fs::create_dir(children::folder().join("d")).unwrap();
    let local = LocalRoots::open(&roots).unwrap();
    drop(Strongroom::builder(children::folder().join("d"), local, support::Plain).open().unwrap());
    acknowledge("store made in a folder that was there");
}

/// One line of the library.
#[derive(Debug)]
struct Event {
    kind: char,
    path: String,
    rest: String,
    thread: String,
}

/// Runs the child and returns what it did. With `lie`, syncs answer yes and do nothing.
fn watch(lie: bool) -> Vec<Event> {
    let folder = folders::in_memory();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let mut command = children::command("acknowledger", folder.path(), 0);
    command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder.path());
    command.env("SYNCWATCH_TRACE", trace.path());
    if lie {
        command.env("SYNCWATCH_LIE", "1");
    }
    let (status, _) = Playing::begin(command).wait();
    assert!(status.success(), "the child failed: {status}");
    let root = folder.path().to_str().unwrap();
    let text = std::fs::read_to_string(trace.path()).unwrap().replace(&format!("{root}/"), "").replace(root, "");
    text.lines().map(|line| Event::parse(line).unwrap_or_else(|| panic!("{line:?} is no event"))).collect()
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t').map(str::to_owned);
        let kind = fields.next()?.chars().next()?;
        Some(Self { kind, path: fields.next()?, rest: fields.next()?, thread: fields.next()? })
    }

    /// Offset and length of a write.
    fn place(&self) -> (usize, usize) {
        let (offset, length) = self.rest.split_once('+').expect("a write says where and how much");
        (offset.parse().expect("a number"), length.parse().expect("a number"))
    }
}

/// What a power cut would take.
#[derive(Default)]
struct Disk {
    /// Writes to each file so far, and how many of them a sync has covered.
    written: BTreeMap<String, (u64, u64)>,
    /// Entries whose folder has not been synced since they appeared.
    unsettled: BTreeSet<String>,
    /// How many writes a sync that is under way will cover.
    syncing: BTreeMap<(String, String), u64>,
}

impl Disk {
    fn see(&mut self, event: &Event) {
        let Event { kind, path, rest, thread } = event;
        let call = (thread.clone(), path.clone());
        match kind {
            // RocksDB may begin a log with a record about the log before it. No sealed record is as short.
            'W' if path.ends_with(".log") && event.place().0 == 0 && event.place().1 < 64 => {}
            'W' => self.written.entry(path.clone()).or_default().0 += 1,
            's' => drop(self.syncing.insert(call, self.written.get(path).map_or(0, |(writes, _)| *writes))),
            'S' => {
                let covered = self.syncing.remove(&call).expect("a sync that began");
                self.written.entry(path.clone()).and_modify(|counts| counts.1 = covered);
                self.unsettled.retain(|entry| parent(entry) != path);
            }
            'C' => drop(self.unsettled.insert(path.clone())),
            'U' => {
                self.written.remove(path);
                self.unsettled.remove(path);
            }
            'R' => self.rename(path, rest),
            'L' => {
                self.unsettled.insert(rest.clone());
                self.written.insert(rest.clone(), self.written.get(path).copied().unwrap_or_default());
            }
            _ => panic!("{event:?}"),
        }
    }

    fn rename(&mut self, old: &str, new: &str) {
        let moved = |path: String| match path.strip_prefix(old) {
            Some(below) if below.is_empty() || below.starts_with('/') => format!("{new}{below}"),
            _ => path,
        };
        self.written.remove(new);
        self.written =
            std::mem::take(&mut self.written).into_iter().map(|(path, count)| (moved(path), count)).collect();
        self.unsettled = std::mem::take(&mut self.unsettled).into_iter().map(moved).collect();
        self.unsettled.insert(new.to_owned());
    }

    /// Files that recovery needs, with writes that no sync has covered.
    fn unsynced(&self) -> impl Iterator<Item = &str> {
        let unsynced = self.written.iter().filter(|(_, (writes, covered))| writes > covered);
        unsynced.map(|(path, _)| path.as_str()).filter(|path| matters(path))
    }

    /// Entries under which a file that recovery needs has been written, and which their folder may lose.
    fn unsettled(&self) -> impl Iterator<Item = &str> {
        let holds_something = |entry: &&str| {
            self.written.keys().any(|path| matters(path) && (path == entry || path.starts_with(&format!("{entry}/"))))
        };
        self.unsettled.iter().map(String::as_str).filter(holds_something)
    }

    /// What recovery needs, and would not find or not find whole.
    fn dirty(&self) -> BTreeSet<&str> {
        self.unsynced().chain(self.unsettled()).collect()
    }

    /// What recovery would not find or not find whole under a name that it looks for.
    fn dirty_under(&self, name: &str) -> BTreeSet<&str> {
        let below = |path: &&str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        let unsynced = self.unsynced().filter(|path| *path == name || below(path));
        unsynced.chain(self.unsettled().filter(below)).collect()
    }
}

/// Whether recovery needs the file. What is not named here is LOG, LOCK, OPTIONS and IDENTITY.
fn matters(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let begins = ["MANIFEST-", "CURRENT", "FORMAT", "rings"].iter().any(|begin| name.starts_with(begin));
    begins || [".log", ".sst", ".key"].iter().any(|end| name.ends_with(end))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// What was dirty at each acknowledgement.
fn dirty_at_each(events: &[Event]) -> Vec<(&str, BTreeSet<String>)> {
    let mut disk = Disk::default();
    let mut found = Vec::new();
    for event in events {
        if event.kind == 'A' {
            found.push((event.path.as_str(), disk.dirty().into_iter().map(str::to_owned).collect()));
        } else {
            disk.see(event);
        }
    }
    found
}

#[test]
fn nothing_is_acknowledged_before_it_is_on_the_disk() {
    let events = watch(false);
    let acknowledgements = dirty_at_each(&events);
    assert_eq!(acknowledgements.len(), 19, "{acknowledgements:?}");
    let mut wrong = Vec::new();
    for (what, dirty) in &acknowledgements {
        if what.starts_with("buffered") {
            // The positive control: these leave the log of their cell, and nothing else, for later.
            assert_eq!(
                dirty.iter().map(|path| parent(path)).collect::<Vec<_>>(),
                ["b/c/store/cells/0000/db"],
                "{what}"
            );
            assert!(dirty.iter().all(|path| path.ends_with(".log")), "{what}: {dirty:?}");
        } else if !dirty.is_empty() {
            wrong.push((what, dirty));
        }
    }
    assert!(wrong.is_empty(), "acknowledged and not on the disk: {wrong:#?}");
    println!("calls seen: {}; acknowledgements checked: {}; controls: 2", events.len(), acknowledgements.len());
}

#[test]
fn a_sync_that_does_not_happen_is_found_for_every_kind_of_operation() {
    let events = watch(true);
    // Each operation on its own: what was dirty before it is of no account.
    let mut disk = Disk::default();
    let mut controls = 0;
    for event in &events {
        if event.kind != 'A' {
            disk.see(event);
            continue;
        }
        // Opening a store that is whole needs to write nothing.
        assert!(!disk.dirty().is_empty() || event.path == "store opened again", "{}: not found", event.path);
        controls += 1;
        disk = Disk::default();
    }
    println!("controls: {controls}");
}

/// What was dirty under each name when it was given, and how many names were.
fn dirty_when_named(events: &[Event]) -> (BTreeSet<String>, usize) {
    let (mut disk, mut dirty, mut names) = (Disk::default(), BTreeSet::new(), 0);
    for event in events.iter().filter(|event| event.kind != 'A') {
        disk.see(event);
        if matches!(event.kind, 'R' | 'L') {
            dirty.extend(disk.dirty_under(&event.rest).into_iter().map(str::to_owned));
            names += 1;
        }
    }
    (dirty, names)
}

#[test]
fn nothing_has_its_name_before_all_that_it_names_is_on_the_disk() {
    // Else a power cut could leave a cell without its rings, which no later opening could make good.
    let (dirty, names) = dirty_when_named(&watch(false));
    assert_eq!(dirty, BTreeSet::new());
    // The control: two root keys, two formats, four cells.
    assert!(names >= 8, "{names}");
    let (dirty, _) = dirty_when_named(&watch(true));
    for file in ["a/keys/service.v1.key", "b/c/store/FORMAT", "b/c/store/cells/0000/rings", "b/c/store/zero/rings"] {
        assert!(dirty.contains(file), "{file} is not among {dirty:?}");
    }
}

#[test]
fn a_store_has_its_format_before_anything_else() {
    // Else a power cut could leave cells without a format, which are taken for the folder of somebody else.
    let mut disk = Disk::default();
    let events = watch(false);
    let first_cell = events.iter().position(|event| event.kind == 'C' && event.path == "b/c/store/.making-zero");
    events[..first_cell.expect("a cell")].iter().filter(|event| event.kind != 'A').for_each(|event| disk.see(event));
    assert!(disk.written.contains_key("b/c/store/FORMAT"));
    assert!(disk.unsettled().all(|entry| !entry.starts_with("b/c/store")), "{:?}", disk.dirty());
}

/// Writes and syncs of ring files and logs between two acknowledgements, in order, without repetition.
fn order_before(events: &[Event], acknowledgement: &str) -> Vec<String> {
    let end = events.iter().position(|event| event.kind == 'A' && event.path == acknowledgement).unwrap();
    let begin = events[..end].iter().rposition(|event| event.kind == 'A').map_or(0, |place| place + 1);
    let mut order = Vec::new();
    for event in &events[begin..end] {
        let step = match (event.kind, event.path.rsplit('/').next().unwrap_or_default()) {
            ('W', "rings") => format!("write {}", slot(event)),
            ('S', "rings") => "sync rings".to_owned(),
            ('W', name) if name.ends_with(".log") => format!("write log of {}", cell(&event.path)),
            ('S', name) if name.ends_with(".log") => format!("sync log of {}", cell(&event.path)),
            _ => continue,
        };
        if order.last() != Some(&step) {
            order.push(step);
        }
    }
    order
}

/// Box and side, from the place in the file.
fn slot(event: &Event) -> String {
    let (offset, length) = event.place();
    assert_eq!((offset % SLOT, length), (0, SLOT), "{event:?}");
    let number = offset / SLOT - 1;
    format!("{}{}", number % BOXES, if number < BOXES { 'A' } else { 'B' })
}

fn cell(path: &str) -> &str {
    if path.contains("/zero/") { "zero" } else { "cell" }
}

#[test]
fn slots_are_written_and_synced_one_after_the_other_and_before_the_row() {
    let events = watch(false);
    let slots = |number: usize| {
        [format!("write {number}A"), "sync rings".to_owned(), format!("write {number}B"), "sync rings".to_owned()]
    };
    let row = ["write log of zero".to_owned(), "sync log of zero".to_owned()];
    assert_eq!(order_before(&events, "tenant made"), [&slots(1)[..], &row].concat());
    // Deleting: the row says so, then the slots are overwritten, then the box is wiped, then the row goes.
    let deleted = order_before(&events, "tenant deleted");
    assert_eq!(deleted[..6], [&row[..], &slots(1)].concat());
    assert_eq!(deleted[6..8], ["write log of cell", "sync log of cell"]);
    assert_eq!(deleted[deleted.len() - 2..], row);
    // Nothing else touches a ring, and no log of zero is written but for these.
    assert!(order_before(&events, "put").iter().all(|step| step.ends_with("log of cell")));
    let synced: Vec<_> = order_before(&events, "batch");
    assert_eq!(synced.last().map(String::as_str), Some("sync log of cell"));
}
