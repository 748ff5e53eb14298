//! Many tenants at a bounded cost: what is open, what is closed to make room, and what it takes, read from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom::{Budgets, CellStats, Collection, CollectionDef, Durability, ErrorKind, Strongroom, TenantSpec};

use crate::chance::Chance;
use crate::children::{self, Playing};
use crate::folders;
use crate::support::{CUSTODIAN, ISSUER, make_tenants, on_disk, user};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");
const QUICK: CollectionDef<&str, Vec<u8>> = NOTES.durability(Durability::Buffered);

fn put(room: &Strongroom, tenant: &str, value: &[u8]) {
    room.session(&user(tenant), tenant).unwrap().collection(&QUICK).unwrap().put(&"k", &value.to_vec()).unwrap();
}

fn get(room: &Strongroom, tenant: &str) -> Vec<u8> {
    room.session(&user(tenant), tenant).unwrap().collection(&NOTES).unwrap().get(&"k").unwrap().expect("a record")
}

fn fill(notes: &Collection<&'static str, Vec<u8>>, rows: usize) {
    for row in 0..rows {
        notes.put(&format!("row {row}").as_str(), &vec![1; 2000]).unwrap();
    }
}

/// A store of this many tenants, four to a cell, each with a record that is its name; closed, every cell flushed.
fn store_of(tenants: usize) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..tenants).map(|number| format!("tenant-{number}")).collect();
    let room = on_disk(folder.path()).budgets(Budgets::default().idle(Duration::ZERO)).open().unwrap();
    make_tenants(&room, &names.iter().map(String::as_str).collect::<Vec<_>>());
    names.iter().for_each(|name| put(&room, name, name.as_bytes()));
    wait_until(&room, "everything is closed", |stats| (stats.open, stats.views) == (0, 0));
    (folder, names)
}

fn wait_until(room: &Strongroom, what: &str, holds: impl Fn(&CellStats) -> bool) {
    for _ in 0..300 {
        if holds(&room.stats().cells) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}; {:?}", room.stats());
}

#[test]
fn who_reads_gets_a_view_and_who_writes_opens_the_cell() {
    let (folder, names) = store_of(8);
    let room = on_disk(folder.path()).open().unwrap();
    for name in &names {
        assert_eq!(get(&room, name), name.as_bytes());
    }
    let stats = room.stats();
    assert_eq!((stats.tenants, stats.cells.known, stats.cells.open, stats.cells.views), (8, 2, 0, 8));
    put(&room, &names[0], b"changed");
    let stats = room.stats().cells;
    assert_eq!((stats.open, stats.views), (1, 4), "the readers of its neighbours moved over");
    assert_eq!(get(&room, &names[0]), b"changed");
    for name in &names[1..] {
        assert_eq!(get(&room, name), name.as_bytes());
    }
    assert_eq!((room.stats().cells.open, room.stats().cells.views), (1, 4));
}

#[test]
fn a_scan_goes_on_as_it_began_when_its_cell_is_opened_for_writing() {
    let (folder, names) = store_of(4);
    let rows = 400;
    {
        let room = on_disk(folder.path()).budgets(Budgets::default().idle(Duration::ZERO)).open().unwrap();
        fill(&room.session(&user(&names[0]), &names[0]).unwrap().collection(&QUICK).unwrap(), rows);
        wait_until(&room, "the cell is clean and closed", |stats| stats.open == 0);
    }
    let room = on_disk(folder.path()).open().unwrap();
    let notes = room.session(&user(&names[0]), &names[0]).unwrap().collection(&NOTES).unwrap();
    let mut scan = notes.iter().unwrap();
    scan.next().unwrap().unwrap();
    assert_eq!(room.stats().cells.open, 0, "it reads through a view");
    put(&room, &names[1], b"a neighbour writes");
    notes.put(&"row new", &vec![9]).unwrap();
    (0..rows).for_each(|row| notes.delete(&format!("row {row}").as_str()).unwrap());
    assert_eq!(scan.by_ref().map(Result::unwrap).count(), rows, "and the first, and without the new");
    assert_eq!(notes.count().unwrap(), 2, "k and the new row");
}

#[test]
fn cells_beyond_the_budget_are_closed_and_come_back_whole() {
    let (folder, names) = store_of(24);
    let room = on_disk(folder.path()).budgets(Budgets::default().open_cells(2)).open().unwrap();
    for round in 0..3 {
        for name in &names {
            put(&room, name, format!("{name} in round {round}").as_bytes());
            assert!(room.stats().cells.open <= 2);
        }
    }
    for name in &names {
        assert_eq!(get(&room, name), format!("{name} in round 2").as_bytes());
    }
    let stats = room.stats().cells;
    assert!(stats.closed_total >= 15, "six cells, two at a time, three times: {stats:?}");
}

#[test]
fn views_of_its_own_cell_do_not_lock_a_writer_out() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..44).map(|number| format!("tenant-{number}")).collect();
    let open = |budgets: Budgets| on_disk(folder.path()).boxes_per_cell(64).budgets(budgets).open().unwrap();
    {
        let room = open(Budgets::default().idle(Duration::ZERO));
        make_tenants(&room, &names.iter().map(String::as_str).collect::<Vec<_>>());
        names.iter().for_each(|name| put(&room, name, name.as_bytes()));
        wait_until(&room, "everything is closed", |stats| (stats.open, stats.views) == (0, 0));
    }
    let room = open(Budgets::default().memory_bytes(16 << 20));
    names.iter().for_each(|name| assert_eq!(get(&room, name), name.as_bytes()));
    let stats = room.stats().cells;
    assert!(stats.handle_bytes + (4 << 20) > stats.handle_bytes_limit, "no room beside the views: {stats:?}");
    put(&room, &names[0], b"changed");
    let stats = room.stats().cells;
    assert_eq!((stats.open, stats.views), (1, 0), "they have gone for it");
    assert_eq!(get(&room, &names[43]), names[43].as_bytes());
    drop(room);
    let refused = on_disk(folder.path()).boxes_per_cell(4096).open().err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::Invalid), "for a cell that fits no budget there would never be room");
}

#[test]
fn what_the_directory_writes_is_flushed_too() {
    let folder = tempfile::tempdir().unwrap();
    let room = on_disk(folder.path()).boxes_per_cell(64).budgets(Budgets::default().memory_bytes(16 << 20));
    let room = room.open().unwrap();
    let long = "x".repeat(300);
    for round in 0..20 {
        let spec = |number| {
            let name = format!("tenant-{round}-{number}");
            (0..12).fold(TenantSpec::new(&name, ISSUER, &name), |spec, speaker| {
                spec.speaker(ISSUER, format!("{name}-{speaker}-{long}"))
            })
        };
        room.custody(CUSTODIAN).unwrap().create_tenants((0..64).map(spec).collect()).unwrap();
    }
    put(&room, "tenant-0-0", b"there is room to write");
    let stats = room.stats().cells;
    assert!(stats.memtable_bytes <= stats.memtable_bytes_limit, "{stats:?}");
}

#[test]
fn a_scan_that_stands_still_gives_way_and_says_so() {
    let (folder, names) = store_of(12);
    let budgets = Budgets::default().open_cells(1).idle(Duration::from_millis(300));
    let room = on_disk(folder.path()).budgets(budgets).open().unwrap();
    put(&room, &names[0], b"so that the cell is open");
    let notes = room.session(&user(&names[0]), &names[0]).unwrap().collection(&QUICK).unwrap();
    fill(&notes, 300);
    let mut still = notes.iter().unwrap();
    still.next().unwrap().unwrap();
    put(&room, &names[4], b"another cell");
    assert_eq!(room.stats().cells.open, 1);
    let end = still.find_map(Result::err).expect("an end before its time");
    assert_eq!(end.kind(), ErrorKind::Closed);
    assert!(still.next().is_none());
    assert_eq!(notes.count().unwrap(), 301, "begun again it sees everything");
}

#[test]
fn a_box_that_a_scan_keeps_unclean_is_wiped_later_and_only_then_handed_out() {
    let (folder, names) = store_of(4);
    let room = on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    let notes = room.session(&user(&names[0]), &names[0]).unwrap().collection(&QUICK).unwrap();
    fill(&notes, 400);
    let mut scan = notes.iter().unwrap();
    scan.next().unwrap().unwrap();
    custody.delete_tenant(&names[1]).unwrap();
    let stats = room.stats();
    assert_eq!((stats.tenants, stats.free_boxes, stats.unclean_boxes), (3, 0, 1), "a neighbour's scan holds on to it");
    make_tenants(&room, &["newcomer"]);
    assert_eq!(room.stats().cells.known, 2, "the newcomer gets another box, in another cell");
    drop(scan);
    custody.delete_tenant(&names[2]).unwrap();
    let stats = room.stats();
    assert_eq!((stats.tenants, stats.free_boxes, stats.unclean_boxes), (3, 5, 0));
    assert_eq!(get(&room, &names[0]), names[0].as_bytes());
}

#[test]
fn idle_cells_are_flushed_and_closed() {
    let (folder, names) = store_of(8);
    let room = on_disk(folder.path()).budgets(Budgets::default().idle(Duration::from_millis(500))).open().unwrap();
    put(&room, &names[0], b"one");
    assert_eq!(get(&room, &names[5]), names[5].as_bytes());
    assert_eq!((room.stats().cells.open, room.stats().cells.views), (1, 1));
    wait_until(&room, "both are closed", |stats| (stats.open, stats.views) == (0, 0));
    assert_eq!(logs(folder.path()), 0, "nothing is left in the logs");
    assert_eq!(get(&room, &names[0]), b"one");
}

/// Bytes in the write-ahead logs of all cells; those that go while they are looked at hold nothing.
fn logs(folder: &Path) -> u64 {
    let cells = fs::read_dir(folder.join("store/cells")).unwrap().flatten();
    let files = cells.filter_map(|cell| fs::read_dir(cell.path().join("db")).ok()).flatten().flatten();
    let logs = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
    logs.filter_map(|log| log.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The child: writes to every tenant, and waits to be killed.
pub fn write_everywhere() {
    let room = on_disk(&children::folder()).open().unwrap();
    for number in 0..children::which() {
        put(&room, &format!("tenant-{number}"), format!("after {number}").as_bytes());
    }
    children::say("written");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn after_a_crash_dirty_cells_recover_by_themselves() {
    let (folder, names) = store_of(12);
    let child = Playing::begin(children::command("everywhere", folder.path(), 12));
    assert_eq!(child.hear().as_deref(), Some("written"));
    child.kill();
    assert!(logs(folder.path()) > 0, "the control: a crash leaves writes in the logs");
    let room = on_disk(folder.path()).open().unwrap();
    wait_until(&room, "three cells were opened and closed", |stats| stats.closed_total == 3 && stats.open == 0);
    assert_eq!(logs(folder.path()), 0);
    for (number, name) in names.iter().enumerate() {
        assert_eq!(get(&room, name), format!("after {number}").as_bytes());
    }
    assert_eq!(room.stats().cells.open, 0, "so they can be read through views");
}

fn database(folder: &Path, cell: u32) -> PathBuf {
    folder.join(format!("store/cells/{cell:04}/db"))
}

#[test]
fn a_failed_cell_is_shut_alone_and_opens_again_when_it_can() {
    let (folder, names) = store_of(8);
    let current = database(folder.path(), 0).join("CURRENT");
    let aside = folder.path().join("CURRENT");
    fs::rename(&current, &aside).unwrap();
    let room = on_disk(folder.path()).open().unwrap();
    let refused = |tenant: &str| room.session(&user(tenant), tenant).err().map(|error| error.kind());
    assert_eq!(refused(&names[0]), Some(ErrorKind::Corrupt));
    assert_eq!(refused(&names[1]), Some(ErrorKind::Corrupt), "its neighbours too");
    assert_eq!(room.stats().cells.failed, 1);
    put(&room, &names[4], b"the other cell goes on");
    assert_eq!(get(&room, &names[4]), b"the other cell goes on");
    fs::rename(&aside, &current).unwrap();
    assert_eq!(refused(&names[0]), Some(ErrorKind::Corrupt), "it is not tried again at every request");
    let opens = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        refused(&names[0]).is_none()
    });
    assert!(opens, "but before long");
    assert_eq!(get(&room, &names[0]), names[0].as_bytes());
    put(&room, &names[1], b"written again");
    assert_eq!(room.stats().cells.failed, 0);
}

#[test]
fn a_full_disk_shuts_a_cell_that_opens_again_when_there_is_room() {
    let (folder, names) = store_of(8);
    let cell = folder.path().join("store/cells/0000");
    let aside = folder.path().join("cell");
    fs::rename(&cell, &aside).unwrap();
    fs::create_dir(&cell).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&cell).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: without the right to mount, no small disk can be made");
        return;
    }
    let _mount = Mount(cell.clone());
    folders::copy(&aside, &cell);
    let room = on_disk(folder.path()).open().unwrap();
    let ballast = cell.join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let notes = room.session(&user(&names[0]), &names[0]).unwrap().collection(&NOTES).unwrap();
    let put = |key: usize| notes.put(&format!("{key}").as_str(), &vec![7; 100_000]);
    let written = (0..100).take_while(|&key| put(key).is_ok()).count();
    assert!((1..100).contains(&written), "the disk was full after {written}");
    let refused = room.session(&user(&names[1]), &names[1]).err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::Unavailable), "its neighbours too");
    assert_eq!(get(&room, &names[4]), names[4].as_bytes(), "the other cell goes on");
    fs::remove_file(&ballast).unwrap();
    let opens = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        put(1000).is_ok()
    });
    assert!(opens, "there is room again: {:?}", put(1000));
    for key in 0..written {
        assert_eq!(notes.get(&format!("{key}").as_str()).unwrap().map(|value| value.len()), Some(100_000), "{key}");
    }
    assert_eq!(get(&room, &names[1]), names[1].as_bytes());
    drop((notes, room));
}

struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

const CHURN_TENANTS: usize = 240;
const CHURN_SECONDS: u64 = 8;
const MEMORY: usize = 48 << 20;
const FILES: u32 = 160;
const LOGS: u64 = 16 << 20;

fn tight() -> Budgets {
    Budgets::default().memory_bytes(MEMORY).open_files(FILES).wal_bytes(LOGS).open_cells(16)
}

/// Resident bytes, and open descriptors, of this process.
fn footprint() -> (usize, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    (kib << 10, fs::read_dir("/proc/self/fd").unwrap().count())
}

/// The child: threads read and write as tenants at random, while one watches what it takes.
pub fn churn() {
    let room = on_disk(&children::folder()).budgets(tight()).open().unwrap();
    let (idle_memory, idle_files) = footprint();
    let is_over = AtomicBool::new(false);
    let (mut memory, mut files, mut wal) = (0, 0, 0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (room, is_over) = (&room, &is_over);
            scope.spawn(move || {
                let mut chance = Chance::new(thread);
                let mut operations = 0u64;
                while !is_over.load(Ordering::SeqCst) {
                    let name = format!("tenant-{}", chance.below(CHURN_TENANTS));
                    let notes = room.session(&user(&name), &name).unwrap().collection(&QUICK).unwrap();
                    if chance.happens(20) {
                        for key in ["0", "1", "2", "3"] {
                            notes.put(&key, &vec![7; 200_000]).unwrap();
                        }
                    }
                    assert_eq!(notes.get(&"k").unwrap().unwrap(), name.as_bytes());
                    operations += 1;
                }
                children::say(&format!("operations {operations}"));
            });
        }
        for _ in 0..CHURN_SECONDS * 20 {
            std::thread::sleep(Duration::from_millis(50));
            let (resident, descriptors) = footprint();
            memory = memory.max(resident.saturating_sub(idle_memory));
            files = files.max(descriptors.saturating_sub(idle_files));
            wal = wal.max(logs(&children::folder()));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    children::say(&format!("took {memory} {files} {wal}"));
    children::say(&format!("stats {:?}", room.stats().cells));
}

#[test]
fn every_budget_holds_under_churn_with_more_active_tenants_than_fit() {
    let (folder, _) = store_of(CHURN_TENANTS);
    let (status, said) = Playing::begin(children::command("churn", folder.path(), 0)).wait();
    said.iter().for_each(|line| println!("{line}"));
    assert!(status.success());
    let took = said.iter().find_map(|line| line.strip_prefix("took ")).expect("figures");
    let took: Vec<u64> = took.split(' ').map(|figure| figure.parse().unwrap()).collect();
    for (what, took, budget) in
        [("memory", took[0], MEMORY as u64), ("files", took[1], FILES.into()), ("logs", took[2], LOGS)]
    {
        assert!(took * 10 <= budget * 11, "{what}: {took} of {budget}");
        assert!(took * 10 >= budget, "{what} was hardly used, so this shows nothing: {took} of {budget}");
    }
}
