//! Regions: a tenant lives in the folder of its region and nowhere else, and whatever is wrong with one region is the
//! trouble of nobody else.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use strongroom::{CollectionDef, ErrorKind, Result, Strongroom, StrongroomBuilder, TenantSpec};

use crate::folders;
use crate::heard::Heard;
use crate::support::{self, CUSTODIAN, ISSUER, user};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");

/// A store with the tenants `home`, `paris` (in `eu`) and `boston` (in `us`), each with a record; closed.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let room = world.open();
        for (name, region) in [("home", None), ("paris", Some("eu")), ("boston", Some("us"))] {
            make(&room, name, region).unwrap();
            put(&room, name).unwrap();
        }
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn builder(&self) -> StrongroomBuilder {
        support::on_disk(self.folder.path()).region("eu", self.at("eu")).region("us", self.at("us"))
    }

    fn open(&self) -> Strongroom {
        self.builder().open().unwrap()
    }

    /// What each of the tenants hears that wants its record.
    fn answers(&self) -> [(&'static str, Result<(), ErrorKind>); 3] {
        answers(&self.open())
    }
}

const ALL_WELL: [(&str, Result<(), ErrorKind>); 3] = [("home", Ok(())), ("paris", Ok(())), ("boston", Ok(()))];

/// All is well but for paris.
fn only_paris(kind: ErrorKind) -> [(&'static str, Result<(), ErrorKind>); 3] {
    [("home", Ok(())), ("paris", Err(kind)), ("boston", Ok(()))]
}

fn answers(room: &Strongroom) -> [(&'static str, Result<(), ErrorKind>); 3] {
    ["home", "paris", "boston"].map(|name| (name, get(room, name).map_err(|error| error.kind())))
}

fn make(room: &Strongroom, name: &str, region: Option<&str>) -> Result<()> {
    let spec = TenantSpec::new(name, ISSUER, name);
    let spec = region.into_iter().fold(spec, TenantSpec::region);
    room.custody(CUSTODIAN)?.create_tenant(spec).map(drop)
}

fn put(room: &Strongroom, name: &str) -> Result<()> {
    let notes = room.session(&user(name), name)?.collection(&NOTES)?;
    notes.put(&"name", &name.as_bytes().to_vec()).map(drop)
}

fn get(room: &Strongroom, name: &str) -> Result<()> {
    let session = room.session(&format!("{ISSUER}|{name}|read"), name)?;
    assert_eq!(session.collection(&NOTES)?.get(&"name")?, Some(name.as_bytes().to_vec()));
    Ok(())
}

/// The names in a folder, sorted.
fn list(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    folders::files(folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_tenant_lives_in_the_folder_of_its_region_and_nowhere_else() {
    let world = World::new();
    assert_eq!(world.answers(), ALL_WELL);
    let cells = ["store", "eu", "us"].map(|root| list(&world.at(root).join("cells")));
    assert_eq!(cells, [["0000"], ["0001"], ["0002"]], "numbers are of the store");
    assert_eq!(list(&world.at("eu")), ["LOCK", "REGION", "cells"]);
    let room = world.open();
    let summaries = room.custody(CUSTODIAN).unwrap().tenants().unwrap();
    let regions = summaries
        .iter()
        .map(|tenant| (tenant.name.as_str(), tenant.region.as_ref().map(strongroom::RegionName::as_str)));
    assert_eq!(regions.collect::<Vec<_>>(), [("boston", Some("us")), ("home", None), ("paris", Some("eu"))]);
    let before = contents(&world.at("us"));
    let (values, deleted) = (b"x".repeat(100_000), room.custody(CUSTODIAN).unwrap());
    let notes = room.session(&user("paris"), "paris").unwrap().collection(&NOTES).unwrap();
    notes.put(&"large", &values).unwrap();
    deleted.delete_tenant("paris").unwrap();
    assert_eq!(contents(&world.at("us")), before, "whatever happens in another region");
    make(&room, "lyon", Some("eu")).unwrap();
    assert_eq!(list(&world.at("eu/cells")), ["0001"], "its box has an heir");
}

#[test]
fn a_list_over_all_regions_is_made_in_each() {
    let world = World::new();
    let room = world.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    let spec = |number: usize| {
        let spec = TenantSpec::new(format!("t{number:02}"), ISSUER, format!("t{number:02}"));
        match number % 3 {
            0 => spec,
            1 => spec.region("eu"),
            _ => spec.region("us").own_cell(),
        }
    };
    let made = custody.create_tenants((0..12).map(spec).collect()).unwrap();
    for (number, summary) in made.iter().enumerate() {
        let region = [None, Some("eu"), Some("us")][number % 3];
        assert_eq!(
            (summary.name.as_str(), summary.region.as_ref().map(strongroom::RegionName::as_str)),
            (&*format!("t{number:02}"), region)
        );
        put(&room, summary.name.as_str()).unwrap();
    }
    assert_eq!(custody.create_tenants((0..12).map(spec).collect()).unwrap(), made, "again");
    let elsewhere = custody.create_tenants(vec![spec(0).region("eu")]).unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::Conflict, "it is there, and lives elsewhere");
    let cells = ["store", "eu", "us"].map(|root| list(&world.at(root).join("cells")).len());
    assert_eq!(cells, [2, 2, 5]);
    made.iter().for_each(|summary| get(&room, summary.name.as_str()).unwrap());
}

#[test]
fn a_region_that_nobody_configured_is_invalid() {
    let world = World::new();
    let room = world.open();
    assert_eq!(make(&room, "rio", Some("br")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(make(&room, "rio", Some("No Region")).unwrap_err().kind(), ErrorKind::Invalid);
    let spec = |name: &str| TenantSpec::new(name, ISSUER, name);
    let list = vec![spec("a").region("eu"), spec("b"), spec("c").region("br")];
    let error = room.custody(CUSTODIAN).unwrap().create_tenants(list).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("specs[2]"), "{error}");
    assert_eq!(room.custody(CUSTODIAN).unwrap().tenants().unwrap().len(), 3, "nothing was made");
}

#[test]
fn folders_that_lie_in_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |regions: &[(&str, &str)]| {
        let regions = regions.iter().map(|(name, path)| (name, folder.path().join(path)));
        let builder =
            regions.fold(support::on_disk(folder.path()), |builder, (name, path)| builder.region(*name, path));
        let kind = builder.open().err().map(|error| error.kind());
        assert!(kind.is_none() || !folder.path().join("store").exists(), "nothing is made");
        kind == Some(ErrorKind::Invalid)
    };
    assert!(refused(&[("eu", "store/eu")]), "in the store");
    assert!(refused(&[("eu", "store")]), "the store itself");
    assert!(refused(&[("eu", "keys/eu")]), "in the root keys");
    assert!(refused(&[("eu", "a"), ("us", "a/b")]), "in another region");
    assert!(refused(&[("eu", "a"), ("us", "a")]), "one for two");
    assert!(refused(&[("eu", "a"), ("eu", "b")]), "two for one");
    assert!(refused(&[("EU", "a")]), "no name");
    assert!(refused(&[("", "a")]), "no name at all");
    assert!(!refused(&[("eu", "a"), ("us", "ab")]), "the control");
}

#[test]
fn a_disk_that_is_away_shuts_its_region_alone_and_nothing_is_made_in_its_place() {
    let world = World::new();
    fs::rename(world.at("eu"), world.at("aside")).unwrap();
    for mount_point in [false, true] {
        if mount_point {
            fs::create_dir(world.at("eu")).unwrap();
        }
        let room = world.open();
        assert_eq!(answers(&room), only_paris(ErrorKind::Unavailable));
        assert_eq!(make(&room, "lyon", Some("eu")).unwrap_err().kind(), ErrorKind::Unavailable);
        make(&room, if mount_point { "chicago" } else { "denver" }, Some("us")).unwrap();
        assert!(room.custody(CUSTODIAN).unwrap().suspend_tenant("paris").is_ok(), "its row is not there");
        room.custody(CUSTODIAN).unwrap().resume_tenant("paris").unwrap();
        drop(room);
        assert_eq!(world.at("eu").exists(), mount_point);
        assert!(!mount_point || list(&world.at("eu")).is_empty());
    }
    fs::remove_dir(world.at("eu")).unwrap();
    fs::rename(world.at("aside"), world.at("eu")).unwrap();
    assert_eq!(world.answers(), ALL_WELL, "back again");
}

#[test]
fn a_deletion_in_a_region_that_is_away_is_finished_when_it_is_back() {
    let world = World::new();
    fs::rename(world.at("eu"), world.at("aside")).unwrap();
    {
        let room = world.open();
        let refused = room.custody(CUSTODIAN).unwrap().delete_tenant("paris").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert_eq!(answers(&room), only_paris(ErrorKind::Denied));
    }
    fs::rename(world.at("aside"), world.at("eu")).unwrap();
    let room = world.open();
    assert_eq!(room.custody(CUSTODIAN).unwrap().tenants().unwrap().len(), 2, "gone");
    make(&room, "paris", Some("eu")).unwrap();
    put(&room, "paris").unwrap();
}

#[test]
fn an_operator_hears_which_region_is_not_configured_and_no_name_of_a_tenant() {
    let world = World::new();
    let heard = Heard::default();
    let room = heard.during(|| support::on_disk(world.folder.path()).region("us", world.at("us")).open().unwrap());
    assert_eq!(answers(&room), only_paris(ErrorKind::Unavailable));
    assert_eq!(make(&room, "lyon", Some("eu")).unwrap_err().kind(), ErrorKind::Invalid);
    drop(room);
    let text = heard.text();
    assert!(text.contains("region=eu") && text.contains("tenants=1"), "{text}");
    assert!(!text.contains("paris"), "{text}");
    assert_eq!(world.answers(), ALL_WELL);
}

#[test]
fn the_folder_of_another_store_or_region_is_refused_and_left_alone() {
    let (world, other) = (World::new(), World::new());
    fs::rename(world.at("eu"), world.at("aside")).unwrap();
    for (wrong, why) in [(other.at("eu"), "another store"), (world.at("us"), "another region")] {
        folders::copy(&wrong, &world.at("eu"));
        let before = contents(&world.at("eu"));
        let heard = Heard::default();
        let room = heard.during(|| world.open());
        assert_eq!(answers(&room), only_paris(ErrorKind::Unavailable), "{why}");
        let refused = make(&room, "lyon", Some("eu")).unwrap_err();
        assert!(refused.to_string().contains(why) && heard.text().contains(why), "{refused}");
        drop(room);
        assert_eq!(contents(&world.at("eu")), before, "{why}");
        fs::remove_dir_all(world.at("eu")).unwrap();
    }
    fs::rename(world.at("aside"), world.at("eu")).unwrap();
    for marker in ["", "strongroom region, format 2\n", "strongroom region, format 1\nregion eu\n"] {
        let good = fs::read(world.at("eu/REGION")).unwrap();
        fs::write(world.at("eu/REGION"), marker).unwrap();
        assert_eq!(world.answers(), only_paris(ErrorKind::Unavailable), "{marker:?}");
        fs::write(world.at("eu/REGION"), good).unwrap();
    }
    assert_eq!(world.answers(), ALL_WELL);
}

#[test]
fn a_folder_of_something_else_is_no_region_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let eu = folder.path().join("eu");
    fs::create_dir(&eu).unwrap();
    fs::write(eu.join("notes.txt"), "mine").unwrap();
    let open = || support::on_disk(folder.path()).region("eu", &eu).open().unwrap();
    assert_eq!(make(&open(), "paris", Some("eu")).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(list(&eu), ["notes.txt"]);
    fs::remove_file(eu.join("notes.txt")).unwrap();
    fs::create_dir(eu.join("lost+found")).unwrap();
    make(&open(), "paris", Some("eu")).unwrap();
    assert_eq!(list(&eu), ["LOCK", "REGION", "cells", "lost+found"], "a new file system");
}

/// Makes the header of a ring file say another region, under a checksum that fits.
fn relabel(rings: &Path, region: &str) {
    let file = fs::OpenOptions::new().read(true).write(true).open(rings).unwrap();
    let mut page = [0; 8192];
    file.read_exact_at(&mut page, 0).unwrap();
    page[21..64].fill(0);
    page[21] = region.len() as u8;
    page[22..22 + region.len()].copy_from_slice(region.as_bytes());
    let checksum = Sha256::digest(&page[..8160]);
    page[8160..].copy_from_slice(&checksum);
    file.write_all_at(&page, 0).unwrap();
}

#[test]
fn a_cell_in_the_folder_of_another_region_is_refused_alone() {
    let world = World::new();
    let home = world.at("eu/cells/0001");
    for place in ["us/cells/0001", "store/cells/0001"] {
        fs::rename(&home, world.at(place)).unwrap();
        assert_eq!(world.answers(), only_paris(ErrorKind::Corrupt), "{place}");
        let room = world.open();
        make(&room, "lyon", Some("eu")).unwrap();
        make(&room, "chicago", Some("us")).unwrap();
        put(&room, "chicago").unwrap();
        room.custody(CUSTODIAN).unwrap().delete_tenant("lyon").unwrap();
        room.custody(CUSTODIAN).unwrap().delete_tenant("chicago").unwrap();
        drop(room);
        fs::rename(world.at(place), &home).unwrap();
        assert_eq!(world.answers(), ALL_WELL, "{place}");
    }
    // Whoever moves a cell can make its header fit; the sealed row of its tenant says otherwise still.
    fs::rename(&home, world.at("us/cells/0001")).unwrap();
    relabel(&world.at("us/cells/0001/rings"), "us");
    assert_eq!(world.answers(), only_paris(ErrorKind::Corrupt));
    relabel(&world.at("us/cells/0001/rings"), "eu");
    fs::rename(world.at("us/cells/0001"), &home).unwrap();
    relabel(&home.join("rings"), "us");
    assert_eq!(world.answers(), only_paris(ErrorKind::Corrupt), "in its place, with another's label");
    relabel(&home.join("rings"), "eu");
    assert_eq!(world.answers(), ALL_WELL);
}

#[test]
fn a_copy_of_a_cell_elsewhere_takes_no_part() {
    let world = World::new();
    for (cell, place) in [
        ("eu/cells/0001", "us/cells/0001"),
        ("eu/cells/0001", "store/cells/0001"),
        ("store/cells/0000", "eu/cells/0000"),
    ] {
        folders::copy(&world.at(cell), &world.at(place));
        let before = contents(&world.at(place));
        assert_eq!(world.answers(), ALL_WELL, "{place}");
        assert_eq!(contents(&world.at(place)), before, "{place}");
        fs::remove_dir_all(world.at(place)).unwrap();
    }
}

#[test]
fn no_number_of_a_cell_is_given_twice_though_its_disk_is_away() {
    let world = World::new();
    {
        let room = world.open();
        room.custody(CUSTODIAN).unwrap().delete_tenant("boston").unwrap();
    }
    {
        // Nobody lives in `us`, and its disk is away: its empty cell 0002 is not seen.
        let room = support::on_disk(world.folder.path()).region("eu", world.at("eu")).open().unwrap();
        (0..5).for_each(|number| make(&room, &format!("t{number}"), None).unwrap());
    }
    assert_eq!(list(&world.at("store/cells")), ["0000", "0003"]);
    let room = world.open();
    make(&room, "boston", Some("us")).unwrap();
    assert_eq!(list(&world.at("us/cells")), ["0002"], "its free box is used");
    put(&room, "boston").unwrap();
    assert_eq!(answers(&room), ALL_WELL);
}

#[test]
fn strangers_in_a_region_go_to_its_own_quarantine() {
    let world = World::new();
    for name in [".making-0007", "backup", "7"] {
        fs::create_dir(world.at("eu/cells").join(name)).unwrap();
    }
    assert_eq!(world.answers(), ALL_WELL);
    assert_eq!(list(&world.at("eu/cells")), ["0001"]);
    assert_eq!(list(&world.at("eu/quarantine")), ["0000", "0001", "0002"]);
    assert!(!world.at("store/quarantine").exists());
}

#[test]
fn a_region_is_open_in_one_store_at_a_time() {
    let world = World::new();
    let copy = tempfile::tempdir().unwrap();
    for part in ["store", "keys"] {
        folders::copy(&world.at(part), &copy.path().join(part));
    }
    let open_copy = || {
        let builder = support::on_disk(copy.path()).region("eu", world.at("eu"));
        answers(&builder.region("us", world.at("us")).open().unwrap())
    };
    let room = world.open();
    let shut = Err(ErrorKind::Unavailable);
    assert_eq!(open_copy(), [("home", Ok(())), ("paris", shut), ("boston", shut)]);
    assert_eq!(answers(&room), ALL_WELL);
    drop(room);
    assert_eq!(open_copy(), ALL_WELL, "the control");
}

#[test]
fn a_store_in_memory_has_its_regions_there() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).region("eu", folder.path().join("eu")).open().unwrap();
    make(&room, "paris", Some("eu")).unwrap();
    make(&room, "home", None).unwrap();
    assert_eq!(make(&room, "boston", Some("us")).unwrap_err().kind(), ErrorKind::Invalid);
    for name in ["paris", "home"] {
        put(&room, name).unwrap();
        get(&room, name).unwrap();
    }
    assert!(!folder.path().join("eu").exists());
}
