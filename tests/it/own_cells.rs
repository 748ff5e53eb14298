//! Tenants with a cell of their own: nobody else is ever placed in it.

use std::collections::BTreeMap;
use std::path::Path;

use strongroom::{CollectionDef, ErrorKind, Strongroom, TenantSpec};

use crate::folders;
use crate::support::{self, CUSTODIAN, ISSUER, user};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");

fn spec(name: &str) -> TenantSpec {
    TenantSpec::new(name, ISSUER, name)
}

/// How many boxes each cell has, by its ring file.
fn boxes(folder: &Path) -> BTreeMap<u32, u64> {
    let rings = folders::files(&folder.join("store/cells")).into_iter().filter(|path| folders::name(path) == "rings");
    let size = |path: &Path| (path.metadata().unwrap().len() / 8192 - 1) / 2;
    rings.map(|path| (folders::name(path.parent().unwrap()).parse().unwrap(), size(&path))).collect()
}

/// How many boxes of each cell are in use, by the slots that are not empty.
fn lived_in(folder: &Path) -> BTreeMap<u32, usize> {
    let used = |cell: u32, boxes: u64| {
        let rings = std::fs::read(folder.join(format!("store/cells/{cell:04}/rings"))).unwrap();
        rings.chunks(8192).skip(1).take(boxes as usize).filter(|slot| slot[1] == 1).count()
    };
    boxes(folder).into_iter().map(|(cell, boxes)| (cell, used(cell, boxes))).collect()
}

fn put_and_get(room: &Strongroom, name: &str) {
    let notes = room.session(&user(name), name).unwrap().collection(&NOTES).unwrap();
    notes.put(&"name", &name.as_bytes().to_vec()).unwrap();
    assert_eq!(notes.get(&"name").unwrap(), Some(name.as_bytes().to_vec()));
    assert_eq!(notes.count().unwrap(), 1);
}

#[test]
fn nobody_is_placed_beside_a_tenant_with_a_cell_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        let custody = room.custody(CUSTODIAN).unwrap();
        custody.create_tenant(spec("alone").own_cell()).unwrap();
        support::make_tenants(&room, &["a", "b", "c", "d", "e"]);
        assert_eq!(boxes(folder.path()), BTreeMap::from([(0, 1), (1, 4), (2, 4)]));
    }
    let room = support::on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.create_tenant(spec("too").own_cell()).unwrap();
    support::make_tenants(&room, &["f"]);
    assert_eq!(boxes(folder.path()), BTreeMap::from([(0, 1), (1, 4), (2, 4), (3, 1)]));
    assert_eq!(lived_in(folder.path()), BTreeMap::from([(0, 1), (1, 4), (2, 2), (3, 1)]));
    ["alone", "a", "b", "c", "d", "e", "too", "f"].iter().for_each(|name| put_and_get(&room, name));
}

#[test]
fn a_cell_of_ones_own_goes_to_the_next_who_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.create_tenant(spec("alone").own_cell()).unwrap();
    put_and_get(&room, "alone");
    custody.delete_tenant("alone").unwrap();
    support::make_tenants(&room, &["ordinary"]);
    assert_eq!(lived_in(folder.path()), BTreeMap::from([(0, 0), (1, 1)]), "not to one who does not");
    custody.create_tenant(spec("heir").own_cell()).unwrap();
    assert_eq!(lived_in(folder.path()), BTreeMap::from([(0, 1), (1, 1)]));
    put_and_get(&room, "heir");
}

#[test]
fn a_list_may_mix_them() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    let list = || {
        ["a", "B", "c", "D", "e"].map(|name| match name.to_lowercase() {
            lower if lower == name => spec(name),
            lower => spec(&lower).own_cell(),
        })
    };
    let made = custody.create_tenants(list().to_vec()).unwrap();
    let names: Vec<&str> = made.iter().map(|summary| summary.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert_eq!(lived_in(folder.path()), BTreeMap::from([(0, 3), (1, 1), (2, 1)]));
    assert_eq!(custody.create_tenants(list().to_vec()).unwrap(), made, "again");
    let shared = custody.create_tenants(vec![spec("a").own_cell()]);
    assert_eq!(shared.unwrap_err().kind(), ErrorKind::Conflict, "it is there, and shares its cell");
    names.iter().for_each(|name| put_and_get(&room, name));
}

#[test]
fn a_store_whose_cells_all_have_one_box_uses_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        support::make_tenants(&room, &["first"]);
        room.custody(CUSTODIAN).unwrap().create_tenant(spec("alone").own_cell()).unwrap();
        room.custody(CUSTODIAN).unwrap().delete_tenant("alone").unwrap();
    }
    let room = support::on_disk(folder.path()).boxes_per_cell(1).open().unwrap();
    support::make_tenants(&room, &["a", "b", "c", "d", "e"]);
    assert_eq!(lived_in(folder.path()), BTreeMap::from([(0, 4), (1, 1), (2, 1)]));
}
