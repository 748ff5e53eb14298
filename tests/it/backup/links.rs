//! What others lay into the folder of backups leads nowhere: no link is followed, and nothing that is not of the
//! backups is removed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::backup::{self, BackupPlan};
use strongroom::{ErrorKind, Strongroom};

use crate::drill::{Drill, fill};
use crate::folders;
use crate::support::{self, CUSTODIAN};

fn backed_up(folder: &Path) -> (Drill, Strongroom) {
    let drill = Drill::new(folder);
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    fill(&room, "a", 0, 30);
    drill.backup(&room);
    (drill, room)
}

fn back_up(drill: &Drill, room: &Strongroom) -> Result<u64, ErrorKind> {
    let made = room.custody(CUSTODIAN).unwrap().backup(BackupPlan::store(drill.backups()));
    made.map(|report| report.number).map_err(|error| error.kind())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| folders::name(&entry.unwrap().path()).to_owned()).collect();
    names.sort();
    names
}

fn largest(folder: &Path) -> PathBuf {
    let objects = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    objects.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_folder_of_the_backups_that_is_a_link_is_refused_and_nothing_behind_it_removed() {
    for name in ["objects", "backups"] {
        let folder = tempfile::tempdir().unwrap();
        let (drill, room) = backed_up(folder.path());
        assert_eq!(back_up(&drill, &room), Ok(2), "the control");
        let (ours, keys) = (drill.backups().join(name), folder.path().join("keys"));
        fs::remove_dir_all(&ours).unwrap();
        symlink(&keys, &ours).unwrap();
        let before = names(&keys);
        assert!(!before.is_empty());
        assert_eq!(back_up(&drill, &room), Err(ErrorKind::Invalid), "{name}");
        assert_eq!(names(&keys), before, "{name}");
        let listed = backup::list(drill.backups(), &drill.escrow()).map(drop).map_err(|error| error.kind());
        assert_eq!(listed, Err(ErrorKind::Invalid), "{name}");
    }
}

#[test]
fn links_under_the_names_of_unfinished_files_are_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("file"), "theirs").unwrap();
    let backups = drill.backups();
    symlink(foreign.join("file"), backups.join("objects/.incoming")).unwrap();
    symlink(&foreign, backups.join("backups/.making")).unwrap();
    fill(&room, "a", 1, 30);
    assert_eq!(back_up(&drill, &room), Ok(2));
    assert_eq!(fs::read_to_string(foreign.join("file")).unwrap(), "theirs");
    assert_eq!(names(&foreign), ["file"]);
    fs::remove_file(backups.join("LOCK")).unwrap();
    symlink(foreign.join("made"), backups.join("LOCK")).unwrap();
    assert!(back_up(&drill, &room).is_err());
    assert_eq!(names(&foreign), ["file"]);
}

#[test]
fn only_what_has_the_name_of_an_object_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    let objects = drill.backups().join("objects");
    let (left, unlike) = (format!("{:064}", 1), format!("{:063}A", 1));
    fs::write(objects.join(&left), "of a backup that was cut short").unwrap();
    for name in ["README", &unlike, &format!("{:065}", 1)] {
        fs::write(objects.join(name), "theirs").unwrap();
    }
    symlink(folder.path().join("keys"), objects.join(format!("{:064}", 2))).unwrap();
    fs::create_dir(objects.join(format!("{:064}", 3))).unwrap();
    assert_eq!(back_up(&drill, &room), Ok(2));
    let there = names(&objects);
    assert!(!there.contains(&left), "the control: what no backup names goes");
    let stay = ["README".to_owned(), unlike, format!("{:065}", 1), format!("{:064}", 2), format!("{:064}", 3)];
    stay.iter().for_each(|name| assert!(there.contains(name), "{name}"));
}

#[test]
fn a_pipe_or_link_in_the_place_of_a_file_is_damage_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    drop(room);
    let verify = || backup::verify(drill.backups(), &drill.escrow(), None).map(drop).map_err(|error| error.kind());
    assert_eq!(verify(), Ok(()), "the control");
    let made = crate::backup::damage::backup_folder(&drill, 1);
    for path in [largest(&drill.backups().join("objects")), made.join("manifest"), made.join("manifest.sig")] {
        let whole = folder.path().join("whole");
        fs::rename(&path, &whole).unwrap();
        make_pipe(&path);
        assert_eq!(verify(), Err(ErrorKind::Corrupt), "{path:?}");
        fs::remove_file(&path).unwrap();
        symlink(&whole, &path).unwrap();
        assert_eq!(verify(), Err(ErrorKind::Corrupt), "{path:?}");
        fs::remove_file(&path).unwrap();
        fs::rename(&whole, &path).unwrap();
        assert_eq!(verify(), Ok(()));
    }
}

#[test]
fn folders_with_the_greatest_number_or_none_are_refused_or_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    let backups = drill.backups().join("backups");
    for name in ["7-1", "+00007-1", "000007-x", "notes"] {
        fs::create_dir(backups.join(name)).unwrap();
    }
    assert_eq!(back_up(&drill, &room), Ok(2), "no backup is called so");
    let last = backups.join(format!("{}-0", u64::MAX));
    fs::create_dir(&last).unwrap();
    assert_eq!(back_up(&drill, &room), Err(ErrorKind::Invalid));
    fs::remove_dir(last).unwrap();
    assert_eq!(back_up(&drill, &room), Ok(3));
}
