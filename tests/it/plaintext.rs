//! No plaintext in any file of a store, in any spelling; and who may touch those files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use strongroom::{CollectionDef, TenantSpec};

use crate::folders;
use crate::plain_tools::RawDatabase;
use crate::support::{self, CUSTODIAN};

const HIDDEN: CollectionDef<(&str, &str), Vec<u8>> = CollectionDef::bytes("marker-collection-hidden");
const ORDERED: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("marker-collection-ordered").ordered();
const TENANT: &str = "marker-tenant-name";
const ISSUER: &str = "https://marker-issuer.example";
const CLAIM: &str = "marker-speaker-claim";
const ORDERED_KEY: &str = "marker-ordered-record-key";
const SECRETS: [&str; 8] = [
    TENANT,
    ISSUER,
    CLAIM,
    "marker-collection-hidden",
    "marker-collection-ordered",
    "marker-hidden-record-key",
    "marker-value-hidden",
    "marker-value-ordered",
];

/// The spellings of a text that a search looks for.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let mut found = vec![text.as_bytes().to_vec(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()];
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    found.extend([hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    for skip in 0..3 {
        // Whole groups of three bytes from each alignment: what they become does not depend on what is around them.
        let inner = &text.as_bytes()[skip..];
        let inner = &inner[..inner.len() / 3 * 3];
        found.extend([STANDARD_NO_PAD.encode(inner).into_bytes(), URL_SAFE_NO_PAD.encode(inner).into_bytes()]);
    }
    found
}

/// Where in the files of a folder the text is found: in their bytes and in their names.
pub fn hits(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in folders::everything(folder) {
        let bytes = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
        for spelling in spellings(text) {
            if contains(&bytes, &spelling) || contains(name.as_bytes(), &spelling) {
                found.push(format!("{name}: {}", String::from_utf8_lossy(&spelling)));
            }
        }
    }
    found
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Works with the markers and leaves a store with tables, logs, a deleted tenant and a dropped collection behind.
fn work(folder: &Path) {
    for round in 0..2 {
        let room = support::on_disk(folder).service_speaker(ISSUER, "marker-service-claim").open().unwrap();
        let custody = room.custody(CUSTODIAN).unwrap();
        for name in [TENANT, "marker-tenant-name-deleted"] {
            drop(custody.create_tenant(TenantSpec::new(name, ISSUER, CLAIM)));
        }
        let session = room.session(&format!("{ISSUER}|{CLAIM}|read,write"), TENANT).unwrap();
        for number in 0..50 {
            let key = format!("{round} {number}");
            let value = format!("marker-value-hidden {number}").repeat(20).into_bytes();
            session.collection(&HIDDEN).unwrap().put(&("marker-hidden-record-key", &key), &value).unwrap();
            let key = format!("{ORDERED_KEY} {key}");
            session.collection(&ORDERED).unwrap().put(&key.as_str(), &b"marker-value-ordered".to_vec()).unwrap();
            if number == 0 {
                let long = b"marker-value-hidden and long".repeat(20_000);
                session.collection(&HIDDEN).unwrap().put(&("marker-hidden-record-key", "long"), &long).unwrap();
            }
        }
        drop(session.collection(&HIDDEN).unwrap().get(&("marker-hidden-record-key", "of nobody")).unwrap());
        // What fails goes to logs too.
        room.session(&format!("{ISSUER}|{CLAIM}|read"), "marker-tenant-name-absent").unwrap_err();
        custody.delete_tenant("marker-tenant-name-deleted").unwrap();
    }
}

#[test]
fn nothing_of_tenants_and_records_is_found_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    work(folder.path());
    let mut found = BTreeMap::new();
    for secret in SECRETS.iter().chain(&["marker-service-claim", "marker-tenant-name-absent"]) {
        found.insert(secret, hits(folder.path(), secret));
    }
    assert!(found.values().all(Vec::is_empty), "{found:#?}");
    let ordered = hits(folder.path(), ORDERED_KEY);
    assert!(
        ordered.iter().any(|hit| hit.contains(".sst") || hit.contains(".log")),
        "the control: ordered keys are found"
    );
    assert!(ordered.iter().all(|hit| hit.contains("cells/0000/db/")), "{ordered:?}");
    let files = folders::files(folder.path()).len();
    println!("files searched: {files}; texts: {}; spellings of each: {}", found.len(), spellings(TENANT).len());
}

#[test]
fn the_same_records_in_plain_rocksdb_are_found_in_every_spelling() {
    let folder = tempfile::tempdir().unwrap();
    let database = RawDatabase::make(&folder.path().join("db"));
    for (number, secret) in SECRETS.iter().enumerate() {
        database.put(0, format!("{secret} {number}").as_bytes(), b"");
        database.put(0, format!("key {number}").as_bytes(), secret.as_bytes());
    }
    database.flush();
    drop(database);
    for secret in SECRETS {
        assert!(hits(folder.path(), secret).iter().any(|hit| hit.contains(".sst")), "{secret} is not found in a table");
    }
    for spelling in spellings(TENANT) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), [&[0; 5000][..], &spelling].concat()).unwrap();
        assert!(!hits(folder.path(), TENANT).is_empty(), "{}", String::from_utf8_lossy(&spelling));
    }
    for skip in 0..3 {
        let inside = [&vec![b'x'; skip][..], TENANT.as_bytes(), b"and more"].concat();
        fs::write(folder.path().join("file"), STANDARD_NO_PAD.encode(inside)).unwrap();
        assert!(!hits(folder.path(), TENANT).is_empty(), "within a longer text that is base64, at {skip}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(TENANT), "").unwrap();
    assert_eq!(hits(folder.path(), TENANT).len(), 1, "a name of a file");
}

#[test]
fn the_name_of_the_machine_is_in_no_table() {
    let folder = tempfile::tempdir().unwrap();
    work(folder.path());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    // The property of a table that names its maker; a host's name alone may be too short to tell from chance.
    let property = format!("host.identity{host}");
    let marker = if host.len() > 5 { host.as_bytes() } else { property.as_bytes() };
    let names = |folder: &Path| -> Vec<String> {
        let files = folders::files(folder).into_iter().filter(|path| {
            let in_question = !folders::name(path).starts_with("LOG");
            in_question && contains(&fs::read(path).unwrap(), marker)
        });
        files.map(|path| path.display().to_string()).collect()
    };
    assert!(folders::files(folder.path()).iter().any(|path| folders::name(path).ends_with(".sst")), "there are tables");
    assert_eq!(names(folder.path()), [""; 0], "the host is called {host}");
    let plain = tempfile::tempdir().unwrap();
    let database = RawDatabase::make(&plain.path().join("db"));
    database.put(0, b"key", b"value");
    database.flush();
    assert!(names(plain.path()).iter().any(|path| path.ends_with(".sst")), "the control: plain RocksDB names the host");
}

#[test]
fn folders_are_the_owners_and_no_file_can_be_written_by_others() {
    let folder = tempfile::tempdir().unwrap();
    work(folder.path());
    let mut wrong = Vec::new();
    for path in folders::everything(&folder.path().join("store"))
        .into_iter()
        .chain(folders::everything(&folder.path().join("keys")))
    {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        // What RocksDB makes has the modes of RocksDB, and lies in a folder of ours.
        let ours = !path.parent().unwrap().ends_with("db");
        let good = match path.is_dir() {
            true => mode == 0o700,
            false if ours => mode == 0o600,
            false => mode & 0o022 == 0,
        };
        if !good {
            wrong.push(format!("{}: {mode:o}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
