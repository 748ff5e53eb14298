//! Who reaches what: every public method with every kind of credential, every tenant beside every other, and a tenant
//! alone against the same tenant in company.

use std::collections::BTreeSet;
use std::path::Path;

use strongroom::{Collection, CollectionDef, ErrorKind, Session};

use crate::matrix::World;
use crate::program::Actor;
use crate::support::{self, user};

/// `+` allowed, `D` denied, `C` closed, `N` not found, `K` its key destroyed. Columns: a reading and writing principal of the tenant (at the
/// custodian's door: a custodian), one who may only read, only write, of another tenant, of the same tenant claim of
/// another issuer, without a role, with no credential at all; then the right one, and between the door and the call
/// (at the doors: before the door) it expires, the tenant is suspended or deleted, or the store is closed.
const MATRIX: &str = "
method                   right read write other issuer none malformed expired suspended deleted closed
Strongroom::session          +    +     +     D      D    +         D       D         D       D      C
Strongroom::home_session     +    +     +     +      +    +         D       D         D       D      C
Strongroom::custody          +    D     D     D      D    D         D       D         +       +      C
Strongroom::tenant_custody   +    D    D    D    D    D    D    D    +    D    C
Strongroom::purged_tenant + D D D D D D D + + C
Custody::create_tenant       +    D     D     D      D    D         D       C         +       +      C
Custody::create_tenants      +    D     D     D      D    D         D       C         +       +      C
Custody::create_tenants_with +    D     D     D      D    D         D       C         +       +      C
Custody::suspend_tenant      +    D     D     D      D    D         D       C         +       N      C
Custody::resume_tenant       +    D     D     D      D    D         D       C         +       N      C
Custody::delete_tenant       +    D     D     D      D    D         D       C         +       N      C
Custody::tenants             +    D     D     D      D    D         D       C         +       +      C
Custody::tenant              +    D     D     D      D    D         D       C         +       N      C
Custody::stats               +    D     D     D      D    D         D       C         +       +      C
Custody::doctor              +    D     D     D      D    D         D       C         +       +      C
Custody::check_root          +    D     D     D      D    D         D       C         +       +      C
Custody::identity            +    D     D     D      D    D         D       +         +       +      +
CustodyDesk::handle          +    D     D     D      D    D         D       D         +       N      C
Custody::export_rings        +    D     D     D      D    D         D       C         +       +      C
Custody::backup              +    D     D     D      D    D         D       C         +       +      C
Custody::backups             +    D     D     D      D    D         D       C         +       +      C
Custody::verify_backup       +    D     D     D      D    D         D       C         +       +      C
Custody::restore_tenant      +    D     D     D      D    D         D       C         D       K      C
Custody::purges + D D D D D D C + + C
Custody::run_purges + D D D D D D C + + C
Custody::purged_tenant + D D D D D D C + + C
Custody::import_rings + D D D D D D C + + C
Custody::rotate_root         +    D    D    D    D    D    D    C    +    +    C
Custody::audit_events        +    D     D     D      D    D         D       C         +       N      C
Custody::audit_verify        +    D     D     D      D    D         D       C         +       N      C
Custody::audit_export        +    D     D     D      D    D         D       C         +       N      C
Custody::audit_checkpoint    +    D     D     D      D    D         D       C         +       N      C
Custody::audit_key           +    D     D     D      D    D         D       C         +       N      C
TenantCustody::tenant        +    D    D    D    D    D    D    +    +    +    +
TenantCustody::identity      +    D    D    D    D    D    D    +    +    +    +
TenantCustody::keys          +    D    D    D    D    D    D    C    +    D    C
TenantCustody::rotate_roots  +    D    D    D    D    D    D    C    +    D    C
TenantCustody::rotate_keys   +    D    D    D    D    D    D    C    +    D    C
TenantCustody::reseal        +    D    D    D    D    D    D    C    +    D    C
TenantCustody::census        +    D    D    D    D    D    D    C    +    D    C
TenantCustody::can_destroy   +    D    D    D    D    D    D    C    +    D    C
TenantCustody::retire        +    D    D    D    D    D    D    C    +    D    C
TenantCustody::rules         +    D    D    D    D    D    D    C    +    D    C
TenantCustody::proposals     +    D    D    D    D    D    D    C    +    D    C
TenantCustody::propose_policy +    D    D    D    D    D    D    C    +    D    C
TenantCustody::propose_rules +    D    D    D    D    D    D    C    +    D    C
TenantCustody::withdraw      +    D    D    D    D    D    D    C    +    D    C
TenantCustody::apply         +    D    D    D    D    D    D    C    +    D    C
TenantCustody::access + D D D D D D C + D C
TenantCustody::revoke + D D D D D D C + D C
TenantCustody::restore + D D D D D D C + D C
TenantCustody::propose_restore + D D D D D D C + D C
TenantCustody::propose_recovery + D D D D D D C + D C
TenantCustody::request_purge + D D D D D D C + D C
TenantCustody::approve_purge + D D D D D D C + D C
TenantCustody::cancel_purge + D D D D D D C + D C
TenantCustody::execute_purge + D D D D D D C + D C
TenantCustody::execute_purge_exhaustively + D D D D D D C + D C
TenantCustody::execute_purge_with + D D D D D D C + D C
TenantCustody::purge_status + D D D D D D C + D C
TenantCustody::audit_events  +    D    D    D    D    D    D    C    +    D    C
TenantCustody::audit_verify  +    D    D    D    D    D    D    C    +    D    C
TenantCustody::audit_export  +    D    D    D    D    D    D    C    +    D    C
TenantCustody::audit_checkpoint +    D    D    D    D    D    D    C    +    D    C
TenantCustody::audit_key     +    D    D    D    D    D    D    C    +    D    C
PurgedTenant::tenant + D D D D D D + + + +
PurgedTenant::status + D D D D D D C + + C
PurgedTenant::receipt + D D D D D D C + + C
PurgedTenant::receipt_numbered + D D D D D D C + + C
PurgedTenant::receipt_key + D D D D D D C + + C
PurgedTenant::prove + D D D D D D C + + C
PurgedTenant::declare_escrow_destroyed + D D D D D D C + + C
PurgedTenant::finalize + D D D D D D C + + C
PurgedTenant::audit_export + D D D D D D C + + C
Session::tenant              +    +     +     D      D    +         D       +         +       +      +
Session::identity            +    +     +     D      D    +         D       +         +       +      +
Session::collection          +    +     +     D      D    D         D       C         D       D      C
Session::collections         +    +     D     D      D    D         D       C         D       D      C
Session::prefetch_keys       +    +     +     D      D    D         D       C         D       D      C
Session::drop_collection     +    D     +     D      D    D         D       C         D       D      C
Session::batch               +    +     +     D      D    +         D       +         +       +      +
Session::transaction         +    +     +     D      D    +         D       +         +       +      +
Session::transact            +    D     +     D      D    D         D       C         D       D      C
Collection::get              +    +     D     D      D    D         D       C         D       D      C
Collection::entry            +    +     D     D      D    D         D       C         D       D      C
Collection::contains         +    +     D     D      D    D         D       C         D       D      C
Collection::get_many         +    +     D     D      D    D         D       C         D       D      C
Collection::iter             +    +     D     D      D    D         D       C         D       D      C
Collection::prefix           +    +     D     D      D    D         D       C         D       D      C
Collection::range            +    +     D     D      D    D         D       C         D       D      C
Collection::count            +    +     D     D      D    D         D       C         D       D      C
Collection::put              +    D     +     D      D    D         D       C         D       D      C
Collection::put_if           +    D     +     D      D    D         D       C         D       D      C
Collection::put_with         +    D     +     D      D    D         D       C         D       D      C
Collection::delete           +    D     +     D      D    D         D       C         D       D      C
Collection::delete_if        +    D     +     D      D    D         D       C         D       D      C
Scan::next                   +    +     D     D      D    D         D       C         D       D      C
WriteBatch::put              +    D     +     D      D    D         D       C         D       D      C
WriteBatch::put_if           +    D     +     D      D    D         D       C         D       D      C
WriteBatch::put_with         +    D     +     D      D    D         D       C         D       D      C
WriteBatch::delete           +    D     +     D      D    D         D       C         D       D      C
WriteBatch::delete_if        +    D     +     D      D    D         D       C         D       D      C
WriteBatch::durability       +    +     +     D      D    +         D       +         +       +      +
WriteBatch::commit           +    D     +     D      D    D         D       C         D       D      C
Transaction::get             +    +     D     D      D    D         D       C         D       D      C
Transaction::contains        +    +     D     D      D    D         D       C         D       D      C
Transaction::entry           +    +     D     D      D    D         D       C         D       D      C
Transaction::expect          +    +     D     D      D    D         D       C         D       D      C
Transaction::put             +    D     +     D      D    D         D       C         D       D      C
Transaction::put_with        +    D     +     D      D    D         D       C         D       D      C
Transaction::delete          +    D     +     D      D    D         D       C         D       D      C
Transaction::durability      +    +     +     D      D    +         D       +         +       +      +
Transaction::commit          +    +     +     D      D    D         D       C         D       D      C
";

/// Methods that ask for no credential: two begin to open a store, one closes it; those of the desk ask with each request.
const WITHOUT_CREDENTIAL: [&str; 9] = [
    "Strongroom::builder",
    "Strongroom::in_memory",
    "Strongroom::close",
    "Strongroom::connections",
    "Strongroom::stats",
    "Strongroom::tend",
    "Strongroom::custody_desk",
    "CustodyDesk::folder",
    "CustodyDesk::serve_unix",
];
/// Rows of the matrix for what is public through a trait.
const THROUGH_TRAITS: [&str; 1] = ["Scan::next"];
/// The types whose public methods need a row, and where they are written.
const SOURCES: [(&str, &str); 9] = [
    ("Strongroom", "src/strongroom.rs"),
    ("Custody", "src/custody"),
    ("TenantCustody", "src/custody"),
    ("PurgedTenant", "src/custody"),
    ("CustodyDesk", "src/custody/desk"),
    ("Session", "src/session.rs"),
    ("Collection", "src/collection/mod.rs"),
    ("WriteBatch", "src/collection/batch.rs"),
    ("Transaction", "src/collection/transaction.rs"),
];

struct Cell<'t> {
    method: &'t str,
    column: &'t str,
    expected: char,
}

fn cells(table: &str) -> Vec<Cell<'_>> {
    let mut lines = table.trim().lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let cell = |method, column, expected: &str| Cell { method, column, expected: expected.parse().unwrap() };
    lines
        .flat_map(|line| {
            assert_eq!(line.len(), columns.len(), "a cell is missing in the row of {}", line[0]);
            let row = columns.iter().zip(line.clone()).skip(1);
            row.map(|(column, expected)| cell(line[0], *column, expected)).collect::<Vec<_>>()
        })
        .collect()
}

/// Runs every cell in a store of its own and tells which ones turned out otherwise.
fn mismatches(table: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut mismatches = Vec::new();
    for Cell { method, column, expected } in cells(table) {
        let world = World::for_method(method, folder.path());
        let found = match world.attempt(method, column).map_err(|error| error.kind()) {
            Ok(()) => '+',
            Err(ErrorKind::Denied) => 'D',
            Err(ErrorKind::Closed) => 'C',
            Err(ErrorKind::NotFound) => 'N',
            Err(ErrorKind::KeyDestroyed) => 'K',
            Err(other) => panic!("{method} as {column}: {other:?}"),
        };
        if found != expected {
            mismatches.push(format!("{method} as {column}: {found}, not {expected}"));
        }
        let nothing_befell = !["expired", "suspended", "deleted", "closed"].contains(&column);
        if found != '+' && nothing_befell && !world.is_unchanged() {
            mismatches.push(format!("{method} as {column} was refused and changed something"));
        }
    }
    mismatches
}

#[test]
fn exactly_the_allowed_cells_are_allowed() {
    assert_eq!(mismatches(MATRIX), [""; 0]);
    println!("cells of the API matrix: {}", cells(MATRIX).len());
}

#[test]
fn control_a_wrong_cell_is_reported() {
    let wrong = "method read none\nCollection::put + D\nCollection::get + +";
    assert_eq!(mismatches(wrong), ["Collection::put as read: D, not +", "Collection::get as none: D, not +"]);
}

/// The names behind `pub fn` in the inherent impl blocks of a type.
fn public_methods(type_name: &str, source: &str) -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    let mut inside = false;
    for line in source.lines() {
        if line.starts_with("impl") {
            let of_type = [" {", "<"].iter().any(|next| line.contains(&format!(" {type_name}{next}")));
            inside = of_type && !line.contains(" for ");
        } else if line == "}" {
            inside = false;
        }
        let declaration = ["    pub fn ", "    pub const fn ", "    pub async fn "];
        let rest = declaration.iter().find_map(|start| line.strip_prefix(start)).filter(|_| inside);
        methods.extend(rest.map(|rest| format!("{type_name}::{}", rest.split(['(', '<']).next().unwrap())));
    }
    methods
}

fn methods_without_row(found: &BTreeSet<String>) -> Vec<&str> {
    let rows: BTreeSet<&str> = cells(MATRIX).iter().map(|cell| cell.method).collect();
    let is_covered = |method: &str| rows.contains(method) || WITHOUT_CREDENTIAL.contains(&method);
    found.iter().map(String::as_str).filter(|method| !is_covered(method)).collect()
}

fn all_public_methods() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| {
        crate::folders::files(&root.join(path)).into_iter().map(|file| std::fs::read_to_string(file).unwrap())
    };
    let methods = |(type_name, path): &(&'static str, &str)| {
        let type_name = *type_name;
        read(path).flat_map(move |text| public_methods(type_name, &text)).collect::<Vec<_>>()
    };
    SOURCES.iter().flat_map(methods).collect()
}

#[test]
fn every_public_method_has_a_row_and_every_row_a_method() {
    let found = all_public_methods();
    assert_eq!(methods_without_row(&found), [""; 0]);
    let rows: BTreeSet<&str> = cells(MATRIX).iter().map(|cell| cell.method).chain(WITHOUT_CREDENTIAL).collect();
    let gone: Vec<_> = rows.into_iter().filter(|row| !found.contains(*row) && !THROUGH_TRAITS.contains(row)).collect();
    assert_eq!(gone, [""; 0], "rows of methods that are no more");
}

#[test]
fn control_a_method_without_a_row_is_reported() {
    let source = "impl<K: Key, V> Collection<K, V> {\n    pub fn get(&self) {}\n    pub fn peek_all<T>(&self) {}\n}\n\
                  impl<V> Entry<V> {\n    pub fn value(&self) {}\n}\n\
                  impl<K, V> Clone for Collection<K, V> {\n    fn clone(&self) -> Self {}\n}\n";
    let found = public_methods("Collection", source);
    assert_eq!(found.len(), 2);
    assert_eq!(methods_without_row(&found), ["Collection::peek_all"]);
}

const TENANTS: [&str; 4] = ["adatum", "contoso", "fabrikam", "northwind"];
const MAIL: CollectionDef<(&str, u64), String> = CollectionDef::cbor("mail");
const LOG: CollectionDef<u64, String> = CollectionDef::bincode("log").ordered();
const SHARED: [u64; 3] = [1, 2, 3];

fn own_key(tenant: &str) -> u64 {
    100 + TENANTS.iter().position(|name| *name == tenant).unwrap() as u64
}

fn fill(session: &Session) {
    let tenant = session.tenant().as_str().to_owned();
    let (mail, log) = (session.collection(&MAIL).unwrap(), session.collection(&LOG).unwrap());
    for number in SHARED.into_iter().chain([own_key(&tenant)]) {
        mail.put(&("inbox", number), &format!("{tenant} {number}")).unwrap();
        log.put(&number, &format!("{tenant} {number}")).unwrap();
    }
}

/// Everything that `reader` finds by every reading method, while looking for keys of its own, shared ones, and those
/// that only `owner` has.
fn everything_read(reader: &Session, owner: &str) -> Vec<String> {
    let keys: Vec<u64> = SHARED.into_iter().chain([own_key(owner)]).collect();
    let mail = reader.collection(&MAIL).unwrap();
    let log = reader.collection(&LOG).unwrap();
    let mut read = Vec::new();
    for &key in &keys {
        read.extend(mail.get(&("inbox", key)).unwrap());
        read.extend(log.get(&key).unwrap());
        read.extend(mail.entry(&("inbox", key)).unwrap().map(strongroom::Entry::into_value));
        read.extend(log.entry(&key).unwrap().map(|entry| entry.value().clone()));
    }
    let pairs: Vec<(&str, u64)> = keys.iter().map(|&key| ("inbox", key)).collect();
    read.extend(mail.get_many(&pairs).unwrap().into_iter().flatten());
    read.extend(log.get_many(&keys).unwrap().into_iter().flatten());
    read.extend(scanned(&mail).chain(scanned(&log)));
    read.extend(mail.prefix(("inbox",)).unwrap().map(|row| row.unwrap().1));
    read.extend(mail.prefix(("inbox", own_key(owner))).unwrap().map(|row| row.unwrap().1));
    read.extend(log.prefix(()).unwrap().map(|row| row.unwrap().1));
    read.extend(log.range(..).unwrap().map(|row| row.unwrap().1));
    read.extend(log.range(own_key(owner)..=own_key(owner)).unwrap().map(|row| row.unwrap().1));
    read
}

fn scanned<K: strongroom::Key>(collection: &Collection<K, String>) -> impl Iterator<Item = String> {
    collection.iter().unwrap().map(|row| row.unwrap().1)
}

fn check_all_pairs(room: &strongroom::Strongroom) {
    support::make_tenants(room, &TENANTS);
    let sessions = TENANTS.map(|name| room.session(&user(name), name).unwrap());
    sessions.iter().for_each(fill);
    let mut values = 0;
    for (reader, session) in TENANTS.iter().zip(&sessions) {
        for owner in TENANTS {
            let read = everything_read(session, owner);
            assert!(read.len() > 20 && read.iter().all(|value| value.starts_with(reader)), "{reader} among {owner}");
            values += read.len();
            let (mail, log) = (session.collection(&MAIL).unwrap(), session.collection(&LOG).unwrap());
            assert_eq!(mail.contains(&("inbox", own_key(owner))).unwrap(), *reader == owner);
            assert_eq!(log.contains(&own_key(owner)).unwrap(), *reader == owner);
            assert_eq!((mail.count().unwrap(), log.count().unwrap()), (4, 4));
            assert_eq!(session.collections().unwrap().len(), 2);
            let crossed = room.session(&user(reader), owner).map(drop).map_err(|error| error.kind());
            assert_eq!(crossed, if *reader == owner { Ok(()) } else { Err(ErrorKind::Denied) });
        }
    }
    println!("values read in all pairs of {} tenants: {values}", TENANTS.len());
}

#[test]
fn no_tenant_reads_a_record_of_another_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    check_all_pairs(&support::in_memory(folder.path()).open().unwrap());
}

#[test]
fn no_tenant_reads_a_record_of_another_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    check_all_pairs(&support::on_disk(folder.path()).open().unwrap());
}

/// What tenant `a` sees of its own program, with a neighbour whose program runs between its steps, or without.
fn transcript(builder: strongroom::StrongroomBuilder, seed: u64, neighbour: bool) -> Vec<String> {
    let room = builder.open().unwrap();
    support::make_tenants(&room, if neighbour { &["b", "a"] } else { &["a"] });
    let mut a = Actor::new(room.session(&user("a"), "a").unwrap(), seed);
    let mut b = neighbour.then(|| Actor::new(room.session(&user("b"), "b").unwrap(), !seed));
    let step = |_| {
        if let Some(b) = &mut b {
            (0..3).for_each(|_| drop(b.step()));
        }
        a.step()
    };
    (0..60).map(step).collect()
}

#[test]
fn a_tenant_sees_the_same_alone_and_beside_another() {
    let folder = tempfile::tempdir().unwrap();
    let in_memory = |seed, neighbour| transcript(support::in_memory(folder.path()), seed, neighbour);
    for seed in 0..20 {
        assert_eq!(in_memory(seed, false), in_memory(seed, true), "seed {seed}");
    }
    assert_ne!(in_memory(0, false), in_memory(1, false), "control: another program has another transcript");
    for seed in 0..3 {
        let on_disk = |neighbour| {
            let folder = tempfile::tempdir().unwrap();
            transcript(support::on_disk(folder.path()), seed, neighbour)
        };
        assert_eq!(on_disk(false), on_disk(true), "seed {seed} on disk");
    }
}
