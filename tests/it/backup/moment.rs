//! The moment of a backup in which the directory stands still.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom::backup::{self, BackupPlan};
use strongroom::{Budgets, ErrorKind, Strongroom, TenantSpec};

use crate::chance::Chance;
use crate::drill::{Drill, everything, fill};
use crate::folders;
use crate::support::{self, CUSTODIAN, ISSUER};

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect("a number"))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
#[ignore = "measures, and says nothing of right or wrong; STRONGROOM_TENANTS says how large the store is"]
fn how_long_whoever_changes_a_tenant_waits_for_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let tenants = number("STRONGROOM_TENANTS", 20_000);
    {
        let room = support::on_disk(folder.path()).boxes_per_cell(16).open().unwrap();
        let custody = room.custody(CUSTODIAN).unwrap();
        let spec = |number: usize| TenantSpec::new(format!("t{number}"), ISSUER, "t");
        custody.create_tenants((0..tenants).map(spec).collect()).unwrap();
    }
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    drill.export(&room);
    for backup in ["first", "second"] {
        let is_done = AtomicBool::new(false);
        let (taken, longest) = std::thread::scope(|scope| {
            let prober = scope.spawn(|| {
                let mut longest = Duration::ZERO;
                while !is_done.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    custody.suspend_tenant("t0").unwrap();
                    longest = longest.max(began.elapsed());
                    custody.resume_tenant("t0").unwrap();
                    // Whoever comes again at once gets the lock again.
                    std::thread::sleep(Duration::from_millis(2));
                }
                longest
            });
            let began = Instant::now();
            custody.backup(BackupPlan::store(drill.backups())).unwrap();
            let taken = began.elapsed();
            is_done.store(true, Ordering::SeqCst);
            (taken, prober.join().unwrap())
        });
        println!(
            "{tenants} tenants, {:?}: {backup} backup {taken:?}, longest wait {longest:?}",
            room.stats().cells.open
        );
    }
}

/// What a writer has written of a tenant, and acknowledged.
type Acknowledged = Mutex<BTreeMap<String, usize>>;

/// Makes tenants of its own, writes to them, suspends and deletes them, and keeps count.
fn come_and_go(room: &Strongroom, who: usize, acknowledged: &Acknowledged, is_running: impl Fn() -> bool) {
    let custody = room.custody(CUSTODIAN).unwrap();
    let mut chance = Chance::of_this_run(&format!("comer and goer {who}"));
    let mut mine: Vec<String> = Vec::new();
    for round in 0.. {
        if !is_running() {
            return;
        }
        match chance.below(8) {
            0 | 1 => {
                let name = format!("t{who}-{round}");
                support::make_tenants(room, &[&name]);
                acknowledged.lock().unwrap().insert(name.clone(), 0);
                mine.push(name);
            }
            2 if mine.len() > 3 => {
                let name = mine.swap_remove(chance.below(mine.len()));
                // Before it is gone: whoever counts afterwards does not expect it.
                acknowledged.lock().unwrap().remove(&name);
                custody.delete_tenant(&name).unwrap();
            }
            3 if !mine.is_empty() => {
                let name = &mine[chance.below(mine.len())];
                custody.suspend_tenant(name).unwrap();
                custody.resume_tenant(name).unwrap();
            }
            _ if !mine.is_empty() => {
                let name = &mine[chance.below(mine.len())];
                fill(room, name, round, 1);
                *acknowledged.lock().unwrap().get_mut(name).unwrap() += 1;
            }
            _ => {}
        }
    }
}

/// Copies are made before the moment, while cells are written to, opened and closed, and boxes change hands.
#[test]
fn whatever_was_acknowledged_before_a_backup_is_in_it_and_no_tenant_by_half() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let open = || {
        // So few that they are opened and closed all the while.
        let budgets = Budgets::default().open_cells(2);
        support::on_disk(folder.path()).budgets(budgets).open().unwrap()
    };
    let room = open();
    support::make_tenants(&room, &["a"]);
    fill(&room, "a", 0, 1);
    let (stop, acknowledged) = (AtomicBool::new(false), Acknowledged::default());
    let expected: Vec<(u64, BTreeMap<String, usize>)> = std::thread::scope(|scope| {
        for who in 0..3 {
            let (room, acknowledged, stop) = (&room, &acknowledged, &stop);
            scope.spawn(move || come_and_go(room, who, acknowledged, || !stop.load(Ordering::SeqCst)));
        }
        let backup = |_| {
            std::thread::sleep(Duration::from_millis(200));
            let before = acknowledged.lock().unwrap().clone();
            // Whoever is made after the rings were exported is in the backup, and comes back by the escrow of the end.
            let custody = room.custody(CUSTODIAN).unwrap();
            let made = custody.backup(BackupPlan::store(drill.backups()).escrow_never()).unwrap();
            let after = acknowledged.lock().unwrap().clone();
            // Of those that are there still.
            (made.number, before.into_iter().filter(|(name, _)| after.contains_key(name)).collect())
        };
        let expected = (0..8).map(backup).collect();
        stop.store(true, Ordering::SeqCst);
        expected
    });
    // Whoever was deleted since stays away.
    drill.backup(&room);
    let living = everything(&room);
    let (mut tenants, mut records) = (0, 0);
    for (number, expected) in expected {
        let elsewhere = tempfile::tempdir().unwrap();
        let report = drill.restore_to(number, &elsewhere.path().join("store"));
        assert_eq!(report.incomplete, 0);
        let restored = drill.builder_at(&elsewhere.path().join("store")).open().unwrap();
        let custody = restored.custody(CUSTODIAN).unwrap();
        // Whoever was suspended in the moment is so in the backup, with all records.
        for tenant in custody.tenants().unwrap() {
            custody.resume_tenant(tenant.name.as_str()).unwrap();
        }
        let found = everything(&restored);
        for (name, least) in expected.iter().filter(|(name, _)| living.contains_key(*name)) {
            let held = found.get(name).unwrap_or_else(|| panic!("{name} is missing from backup {number}"));
            assert!(held.len() >= 2 * least, "{name}: {} rows of {least} in backup {number}", held.len());
            tenants += 1;
            records += least;
        }
        for (name, held) in &found {
            assert!(living.contains_key(name), "{name} was deleted");
            assert!(
                held.iter().all(|(key, value)| living[name].get(key) == Some(value)),
                "{name}: nothing was changed"
            );
            let notes = held.keys().filter(|(collection, _)| collection == "notes").count();
            assert_eq!(notes * 2, held.len(), "half a batch of {name} in backup {number}");
        }
        // And it lives: boxes are clean, and hold what is written to them.
        support::make_tenants(&restored, &["n1", "n2", "n3", "n4", "n5"]);
        for name in ["n1", "n2", "n3", "n4", "n5"] {
            fill(&restored, name, 0, 1);
            assert_eq!(everything(&restored)[name].len(), 2, "{name} in backup {number}");
        }
    }
    println!("tenants found again: {tenants}, with {records} records that were acknowledged before");
    assert!(tenants > 20 && records > 20);
}

#[test]
fn a_backup_opens_no_cell_that_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    {
        let room = drill.open();
        let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
        support::make_tenants(&room, &names.iter().map(String::as_str).collect::<Vec<_>>());
        names.iter().step_by(3).for_each(|name| fill(&room, name, 0, 5));
    }
    let expected = everything(&drill.open());
    // Opened and closed once more, so that nothing is left in a log.
    drop(drill.open());
    let room = drill.open();
    drill.export(&room);
    let opened = room.stats().cells.opened_total;
    let custody = room.custody(CUSTODIAN).unwrap();
    let report = custody.backup(BackupPlan::store(drill.backups())).unwrap();
    let cells = room.stats().cells;
    assert_eq!((cells.known, cells.open, cells.views, cells.opened_total), (5, 0, 0, opened));
    drill.hold(report.number, &expected);
    // The control: a cell that is written to is one that is open.
    fill(&room, "t0", 1, 1);
    let written = room.stats().cells;
    assert!(written.open == 1 && written.opened_total > opened);
    let report = custody.backup(BackupPlan::store(drill.backups())).unwrap();
    let cells = room.stats().cells;
    assert_eq!((cells.open, cells.opened_total), (1, written.opened_total));
    drill.hold(report.number, &everything(&room));
}

#[test]
fn a_file_that_was_cut_is_copied_again_and_what_was_changed_in_place_is_for_verify_to_find() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    fill(&room, "a", 0, 400);
    drill.export(&room);
    let custody = room.custody(CUSTODIAN).unwrap();
    let backup = || custody.backup(BackupPlan::store(drill.backups())).unwrap();
    backup();
    backup();
    let expected = everything(&room);
    let verify = || backup::verify(drill.backups(), &drill.escrow(), None);
    // The largest is a table, which is not read again while it is unchanged.
    let objects = folders::files(&drill.backups().join("objects"));
    let table = objects.into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let whole = std::fs::read(&table).unwrap();
    for wrong in [whole[..whole.len() / 2].to_vec(), Vec::new(), [&whole[..], b"x"].concat()] {
        std::fs::write(&table, wrong).unwrap();
        assert_eq!(verify().unwrap_err().kind(), ErrorKind::Corrupt);
        let report = backup();
        assert!(report.bytes_copied >= whole.len() as u64, "{report:?}");
        assert!(std::fs::read(&table).unwrap() == whole);
        verify().unwrap();
    }
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&table, changed).unwrap();
    backup();
    let found = verify().expect_err("the backup does not read what is unchanged, and verify does");
    assert_eq!(found.kind(), ErrorKind::Corrupt);
    assert!(found.to_string().contains(folders::name(&table)), "{found}");
    // What to do about it: without the file it is copied again, and every backup that names it is whole.
    std::fs::remove_file(&table).unwrap();
    let report = backup();
    verify().unwrap();
    drill.hold(report.number, &expected);
}
