//! Opening a store: who may, what is refused, and that a refusal leaves everything as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use strongroom::{CollectionDef, ErrorKind, LocalRoots, Result, Strongroom};

use crate::child;
use crate::support::{self, CUSTODIAN, ISSUER, Plain, user};

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// A closed store in `folder` with one record of the tenant `contoso`.
fn make_store(folder: &Path) {
    let room = support::on_disk(folder).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let session = room.session(&user("contoso"), "contoso").unwrap();
    session.collection(&NOTES).unwrap().put(&1, &vec![7]).unwrap();
}

fn assert_whole(folder: &Path) {
    let room = support::on_disk(folder).open().unwrap();
    let session = room.session(&user("contoso"), "contoso").unwrap();
    assert_eq!(session.collection(&NOTES).unwrap().get(&1).unwrap(), Some(vec![7]));
}

/// Every file below `folder` with its bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.to_str().unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_store_is_open_once_until_its_last_handle_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let session = room.session(&user("contoso"), "contoso").unwrap();
    let notes = session.collection(&NOTES).unwrap();
    notes.put(&1, &vec![7]).unwrap();
    let scan = notes.iter().unwrap();
    let is_taken = || kind(support::on_disk(folder.path()).open()) == Some(ErrorKind::Conflict);
    assert!(is_taken(), "open");
    room.close();
    assert!(is_taken(), "closed, with a session");
    drop(session);
    assert!(is_taken(), "with a collection");
    drop(notes);
    assert!(is_taken(), "with a scan");
    drop(scan);
    assert_whole(folder.path());
}

#[test]
fn a_store_is_open_in_one_process_only() {
    const TEST: &str = "opening::a_store_is_open_in_one_process_only";
    if let Some(argument) = child::argument() {
        let (expected, folder) = argument.split_once(' ').unwrap();
        let outcome = kind(support::on_disk(Path::new(folder)).open());
        return assert_eq!(format!("{outcome:?}"), expected);
    }
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let room = support::on_disk(folder.path()).open().unwrap();
    child::run(TEST, &format!("Some(Conflict) {}", folder.path().display())).assert_success();
    drop(room);
    child::run(TEST, &format!("None {}", folder.path().display())).assert_success();
    assert_whole(folder.path());
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let lay: [(&str, fn(&Path)); 5] = [
        ("a file", |store| fs::write(store.join("notes.txt"), "mine").unwrap()),
        ("a hidden file", |store| fs::write(store.join(".hidden"), "mine").unwrap()),
        ("a folder", |store| fs::create_dir(store.join("db")).unwrap()),
        ("cells without a format", |store| fs::create_dir_all(store.join("cells/0000")).unwrap()),
        ("somebody's cells", |store| {
            fs::create_dir(store.join("cells")).unwrap();
            fs::write(store.join("cells/mine"), "mine").unwrap();
        }),
    ];
    for (name, lay) in lay {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        fs::create_dir(&store).unwrap();
        lay(&store);
        let before = contents(&store);
        assert_eq!(kind(support::on_disk(folder.path()).open()), Some(ErrorKind::Invalid), "{name}");
        assert_eq!(contents(&store), before, "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store"), "a file").unwrap();
    assert!(support::on_disk(folder.path()).open().is_err());
    assert_eq!(fs::read(folder.path().join("store")).unwrap(), b"a file");
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let (store, format) = (folder.path().join("store"), folder.path().join("store/FORMAT"));
    let good = fs::read(&format).unwrap();
    for bad in
        ["strongroom store, format 2\n", "strongroom store, format 1", "strongroom store, format 1\n\n", "", "\0"]
    {
        fs::write(&format, bad).unwrap();
        let before = contents(&store);
        assert_eq!(kind(support::on_disk(folder.path()).open()), Some(ErrorKind::Invalid), "{bad:?}");
        assert_eq!(contents(&store), before, "{bad:?}");
    }
    fs::remove_file(&format).unwrap();
    assert_eq!(kind(support::on_disk(folder.path()).open()), Some(ErrorKind::Invalid), "none");
    fs::write(&format, good).unwrap();
    assert_whole(folder.path());
}

/// The outcome of opening a store in `store` with its roots in `roots`, and what the store's folder then has.
fn open_at(store: &Path, roots: &Path) -> (Option<ErrorKind>, bool) {
    let roots = LocalRoots::open_with_root(roots, "service").unwrap();
    let outcome = kind(Strongroom::builder(store, roots, Plain).open());
    (outcome, store.join("FORMAT").exists())
}

#[test]
fn roots_and_store_must_not_lie_in_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let refused = (Some(ErrorKind::Invalid), false);
    assert_eq!(open_at(&at("a"), &at("a/keys")), refused, "roots in the store");
    assert_eq!(open_at(&at("b"), &at("b/deep/er/keys")), refused, "roots deep in the store");
    assert_eq!(open_at(&at("c/store"), &at("c")), refused, "the store in the roots");
    assert_eq!(open_at(&at("d"), &at("d")), refused, "the same folder");
    std::os::unix::fs::symlink(at("c"), at("link")).unwrap();
    assert_eq!(open_at(&at("link/store"), &at("c")), refused, "the store in the roots, through a link");
    assert_eq!(open_at(&at("link/new/store"), &at("c")), refused, "and not made yet");
    assert_eq!(open_at(&at("x/../c/store"), &at("c")), refused, "by another name");
    assert_eq!(open_at(&at("e"), &at("e-keys")), (None, true), "names that begin alike");
    assert_eq!(open_at(&at("f/store"), &at("f/keys")), (None, true), "side by side");
}

#[test]
fn strangers_among_the_cells_go_to_quarantine_and_are_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let cells = folder.path().join("store/cells");
    let strangers = [".making-0007", "0000.old", "7", "00000", "backup", "0x01"];
    for name in strangers {
        fs::create_dir(cells.join(name)).unwrap();
        fs::write(cells.join(name).join("what"), name).unwrap();
    }
    fs::write(cells.join("loose"), "loose").unwrap();
    assert_whole(folder.path());
    assert_whole(folder.path());
    let left: Vec<_> = fs::read_dir(&cells).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["0000"]);
    let kept = contents(&folder.path().join("store/quarantine"));
    let mut kept: Vec<_> = kept.into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    kept.sort_unstable();
    let mut expected = [&strangers[..], &["loose"]].concat();
    expected.sort_unstable();
    assert_eq!(kept, expected);
}

#[test]
fn a_store_without_its_directory_is_corrupt_and_keeps_its_cells() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let (zero, aside) = (folder.path().join("store/zero"), folder.path().join("aside"));
    fs::rename(&zero, &aside).unwrap();
    assert_eq!(kind(support::on_disk(folder.path()).open()), Some(ErrorKind::Corrupt));
    assert_eq!(kind(support::on_disk(folder.path()).open()), Some(ErrorKind::Corrupt), "and stays so");
    fs::remove_dir_all(&zero).unwrap();
    fs::rename(&aside, &zero).unwrap();
    assert_whole(folder.path());
}

#[test]
fn a_store_without_a_cell_says_so_and_serves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let (cell, aside) = (folder.path().join("store/cells/0000"), folder.path().join("aside"));
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        support::make_tenants(&room, &["a", "b", "c", "d"]);
    }
    fs::rename(&cell, &aside).unwrap();
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        assert_eq!(kind(room.session(&user("contoso"), "contoso")), Some(ErrorKind::Corrupt));
        assert_eq!(kind(room.session(&user("d"), "d").unwrap().collection(&NOTES)), None);
    }
    fs::rename(&aside, &cell).unwrap();
    assert_whole(folder.path());
}

#[test]
fn a_cell_that_is_away_keeps_its_number_and_its_tenants() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let (cells, aside) = (folder.path().join("store/cells"), folder.path().join("aside"));
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        support::make_tenants(&room, &["a", "b", "c", "d"]);
    }
    let last = fs::read_dir(&cells).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    fs::rename(&last, &aside).unwrap();
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        assert_eq!(kind(room.session(&user("d"), "d")), Some(ErrorKind::Corrupt));
        support::make_tenants(&room, &["e", "f", "g"]);
        assert!(!last.exists(), "a new cell takes another place");
        assert!(kind(room.custody(CUSTODIAN).unwrap().delete_tenant("d")).is_some(), "what is away cannot be wiped");
        for name in ["e", "f", "g"] {
            assert_eq!(kind(room.session(&user(name), name).unwrap().collection(&NOTES)), None);
        }
    }
    fs::rename(&aside, &last).unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    assert_eq!(kind(room.session(&user("d"), "d")), Some(ErrorKind::Denied), "its deletion has been finished");
    for name in ["e", "f", "g"] {
        assert_eq!(kind(room.session(&user(name), name).unwrap().collection(&NOTES)), None);
    }
}

fn root_file(folder: &Path) -> std::path::PathBuf {
    folder.join("keys/service.v1.key")
}

/// What opening says with a root key of these bytes, or without one.
fn open_with_root(folder: &Path, key: Option<[u8; 32]>) -> Option<ErrorKind> {
    let path = root_file(folder);
    drop(fs::remove_file(&path));
    if let Some(key) = key {
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let roots = LocalRoots::open(folder.join("keys")).unwrap();
    let builder = Strongroom::builder(folder.join("store"), roots, Plain);
    kind(builder.service_speaker(ISSUER, "service").boxes_per_cell(4).open())
}

#[test]
fn lost_or_other_root_keys_open_nothing_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let good: [u8; 32] = fs::read(root_file(folder.path())).unwrap().try_into().unwrap();
    let rings = |name: &str| fs::read(folder.path().join("store").join(name).join("rings")).unwrap();
    let before = (rings("zero"), rings("cells/0000"));
    assert_eq!(open_with_root(folder.path(), None), Some(ErrorKind::KeyRevoked), "lost");
    assert_eq!(open_with_root(folder.path(), Some([9; 32])), Some(ErrorKind::Tampered), "another key");
    let mut near = good;
    near[31] ^= 1;
    assert_eq!(open_with_root(folder.path(), Some(near)), Some(ErrorKind::Tampered), "one bit");
    assert_eq!((rings("zero"), rings("cells/0000")), before);
    assert_eq!(open_with_root(folder.path(), Some(good)), None);
    assert_whole(folder.path());
}

#[test]
fn a_service_root_of_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path());
    let roots = LocalRoots::open_with_root(folder.path().join("keys"), "other").unwrap();
    let opened = Strongroom::builder(folder.path().join("store"), roots, Plain).service_root("other").open();
    assert_eq!(kind(opened), Some(ErrorKind::Invalid));
    let opened = support::on_disk(folder.path()).service_root("No Name").open();
    assert_eq!(kind(opened), Some(ErrorKind::Invalid));
    let opened = support::on_disk(folder.path()).service_root("absent").open();
    assert_eq!(kind(opened), Some(ErrorKind::Invalid));
    assert_whole(folder.path());
}

#[test]
fn a_new_store_needs_its_root_and_is_made_at_the_second_try() {
    let folder = tempfile::tempdir().unwrap();
    let roots = LocalRoots::open(folder.path().join("keys")).unwrap();
    let opened = Strongroom::builder(folder.path().join("store"), roots, Plain).open();
    assert_eq!(kind(opened), Some(ErrorKind::KeyRevoked));
    make_store(folder.path());
    assert_whole(folder.path());
}
