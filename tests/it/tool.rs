//! The custodian's tool, run as a custodian runs it: on a closed store, and on a service that is working meanwhile.

mod access;
mod purges;
#[cfg(feature = "transit")]
mod vaults;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use strongroom::desk::DeskSocket;
use strongroom::{CollectionDef, Strongroom};

use crate::plain_tools::RawDatabase;
use crate::toolbox::Desktop;

const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes");
const CREATE: &str = "tenant create contoso https://issuer.example contoso";

/// A service with the desk's socket and its folders.
fn serve(desktop: &Desktop) -> (Strongroom, DeskSocket) {
    let room = desktop.open();
    let desk = room.custody_desk().folder("vault", desktop.path("vault")).unwrap();
    let desk = desk.folder("backups", desktop.path("backups")).unwrap();
    fs::create_dir_all(desktop.path("vault")).unwrap();
    let socket = desk.serve_unix(desktop.path("custody.sock")).unwrap();
    (room, socket)
}

/// Runs `work` on a closed store, and on another that a service has open.
fn both_ways(work: impl Fn(&Desktop)) {
    work(&Desktop::new());
    let desktop = Desktop::new();
    let _service = serve(&desktop);
    work(&desktop);
}

fn names(listed: &Value) -> Vec<&str> {
    let tenants = listed["done"]["tenants"].as_array().unwrap();
    tenants.iter().map(|tenant| tenant["name"].as_str().unwrap()).collect()
}

#[test]
fn tenants_are_kept_in_words_and_in_json() {
    both_ways(|desktop| {
        let run = |arguments: &str| desktop.run(arguments).assert_code(0);
        assert!(run(CREATE).out.starts_with("contoso"));
        run("tenant create fabrikam https://issuer.example fabrikam --speaker https://other.example f --own-cell");
        assert_eq!(names(&run("tenant list --json").json()), ["contoso", "fabrikam"]);
        assert!(run("tenant list").out.contains("fabrikam of https://issuer.example, f of https://other.example"));
        run("tenant suspend contoso");
        assert_eq!(run("tenant show contoso --json").json()["done"]["tenant"]["state"], "suspended");
        assert_eq!(run("status --json").json()["done"]["status"]["suspended"], 1);
        run("tenant resume contoso");
        assert!(run("status").out.starts_with("2 tenants, 0 suspended"));
        desktop.run("tenant delete contoso").assert_code(1);
        run("tenant delete contoso --yes");
        assert_eq!(names(&run("tenant list --json").json()), ["fabrikam"]);
        let who = run("login --json").json();
        assert_eq!(who["done"]["identity"]["subject"], "somebody");
        assert_eq!(who["done"]["identity"]["speaker"]["tenant"], "service");
    });
}

#[test]
fn a_service_makes_no_tenant_whose_issuer_it_does_not_know_and_the_tool_alone_cannot_tell() {
    let create = "tenant create contoso https://issuer.example/ contoso";
    // That of its custodians is another one still.
    let said = Desktop::new().run(create).assert_code(0);
    assert!(said.out.contains("contoso of https://issuer.example/"), "{said:?}");
    let desktop = Desktop::new();
    let _service = serve(&desktop);
    let said = desktop.run(create).assert_code(1);
    assert!(said.err.contains("accepts no credential of \"https://issuer.example/\""), "{said:?}");
    assert!(names(&desktop.run("tenant list --json").assert_code(0).json()).is_empty());
}

#[test]
fn exit_codes_say_what_happened() {
    both_ways(|desktop| {
        desktop.run(CREATE).assert_code(0);
        for (arguments, code) in [
            ("--help", 0),
            ("--version", 0),
            ("completion bash", 0),
            ("nonsense", 1),
            ("tenant suspend", 1),
            ("tenant create Contoso https://issuer.example x", 1),
            ("tenant list --config /nowhere/custodian.json", 1),
            ("tenant suspend nobody", 2),
            (CREATE, 2),
            ("policy show contoso", 2),
            ("tenant list --socket /nowhere/custody.sock --store /nowhere", 1),
        ] {
            let said = desktop.run(arguments).assert_code(code);
            assert_eq!(said.err.is_empty(), code == 0, "{arguments}: {said:?}");
        }
        let refused = desktop.run("tenant suspend nobody --json").assert_code(2).json();
        assert_eq!(refused["error"]["kind"], "NotFound");
    });
    let desktop = Desktop::new();
    fs::remove_file(desktop.path("custodian.json")).unwrap();
    desktop.run("tenant list --socket /nowhere/custody.sock").assert_code(3);
    desktop.run("tenant list").assert_code(1);
}

#[test]
fn only_the_right_token_is_good_for_anything() {
    both_ways(|desktop| {
        desktop.run(CREATE).assert_code(0);
        let tokens = [
            desktop.token("somebody", "service", &["custodian"], -3600),
            desktop.token("somebody", "service", &["read", "write"], 600),
            desktop.custodian_of("contoso"),
            "nonsense".to_owned(),
        ];
        for token in tokens {
            for arguments in [&["tenant", "suspend", "contoso"][..], &["doctor"], &["login"], &["--dry-run", "status"]]
            {
                let said = desktop.tool(&token).args(arguments).said().assert_code(2);
                assert!(!format!("{said:?}").contains(&token[..8]) || token == "nonsense", "no token is shown");
            }
        }
        let stranger = desktop.custodian_of("fabrikam");
        desktop.tool(&stranger).args(["rotate", "contoso"]).said().assert_code(2);
        desktop.tool("").args(["tenant", "list"]).said().assert_code(1);
        let shown = desktop.run("tenant show contoso --json").assert_code(0).json();
        assert_eq!(shown["done"]["tenant"]["state"], "active", "nothing of it was done");
    });
}

#[test]
fn a_token_is_kept_in_a_file_of_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let desktop = Desktop::new();
    let good = desktop.custodian_of("service");
    desktop.tool("nonsense").args(["login", "--save"]).said().assert_code(2);
    assert!(!desktop.path("custodian.token").exists(), "it was not accepted");
    desktop.tool(&good).args(["login", "--save", "--dry-run"]).said().assert_code(0);
    assert!(!desktop.path("custodian.token").exists());
    desktop.tool(&good).args(["login", "--save"]).said().assert_code(0);
    let file = desktop.path("custodian.token");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    desktop.tool("").args(["tenant", "list"]).said().assert_code(0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    desktop.tool("").args(["tenant", "list"]).said().assert_code(1);
}

#[test]
fn a_tenants_custodian_proposes_applies_and_rotates() {
    both_ways(|desktop| {
        desktop.run(CREATE).assert_code(0);
        let run = |arguments: &str| desktop.run_as_contoso(arguments).assert_code(0);
        desktop.run("root new second").assert_code(0);
        assert!(desktop.run("root list").assert_code(0).out.contains("second: v1\nservice: v1"));
        let reason = |command: &str| {
            let token = desktop.custodian_of("contoso");
            desktop.tool(&token).args(command.split_whitespace()).args(["--reason", "two are better", "--json"]).said()
        };
        let proposed = reason("policy propose contoso --any-of service --any-of second").assert_code(0).json();
        assert_eq!(proposed["done"]["proposed"], 1);
        run("policy apply contoso 1");
        let shown = run("policy show contoso --json").json();
        assert_eq!(shown["done"][0]["keys"]["policy"]["any_of"], json!([["second"], ["service"]]));
        assert!(run("policy show contoso").out.starts_with("policy: second, or service"));
        assert_eq!(run("rotate contoso --json").json()["done"]["generation"], 2);
        run("rotate contoso --roots");
        let keys = run("status --tenant contoso --json").json();
        assert_eq!(keys["done"]["keys"]["epoch"], 3);
        reason("policy propose-rules contoso --two-custodians").assert_code(0);
        run("policy withdraw contoso 2");
        reason("policy propose contoso").assert_code(1);
        run("login --tenant contoso");
    });
}

#[test]
fn a_root_rotates_under_a_running_service_that_reads_and_writes() {
    let desktop = Desktop::new();
    let (room, _socket) = serve(&desktop);
    desktop.run(CREATE).assert_code(0);
    let token = desktop.token("user", "contoso", &["read", "write"], 600);
    let notes = room.session(&token, "contoso").unwrap().collection(&NOTES).unwrap();
    notes.put(&1, &"before".to_owned()).unwrap();
    assert!(desktop.run("root new service").assert_code(0).out.starts_with("service v2"));
    let dry = desktop.run("root rotate service --dry-run --json").assert_code(0).json();
    assert_eq!(dry["done"]["planned"].as_array().unwrap().len(), 1);
    let report = desktop.run("root rotate service --json").assert_code(0).json();
    assert_eq!(report["done"]["rotated"]["moved"], json!(["contoso"]));
    assert_eq!(report["done"]["rotated"]["version"], "v2");
    assert_eq!(notes.get(&1).unwrap().as_deref(), Some("before"));
    notes.put(&2, &"after".to_owned()).unwrap();
    let again = desktop.run("root rotate service --json").assert_code(0).json();
    assert_eq!(again["done"]["rotated"]["already"], 1);
}

#[test]
fn backups_are_made_and_restored_from_the_command_line() {
    let desktop = Desktop::new();
    desktop.run(CREATE).assert_code(0);
    let recipient = desktop.run("recovery-key recovery.txt").assert_code(0).out;
    desktop.run("recovery-key recovery.txt").assert_code(2);
    desktop.run("backup make backups").assert_code(1);
    let export = |file: &str| desktop.run(&format!("ring export {file} --recipient {recipient}"));
    fs::create_dir(desktop.path("escrows")).unwrap();
    export("escrows/rings.age").assert_code(0);
    export("escrows/rings.age").assert_code(2);
    desktop.run("backup make backups").assert_code(0);
    let list = desktop.run("backup list backups --json").assert_code(0).json();
    assert_eq!(list["done"]["backups"].as_array().unwrap().len(), 1);
    desktop.run("backup verify backups").assert_code(0);
    desktop.run("restore-backup tenant backups contoso contoso-then").assert_code(0);
    let sealed = "backups escrows/rings.age";
    desktop.run(&format!("backup drill {sealed} scratch --identity recovery.txt")).assert_code(0);
    assert!(!desktop.path("scratch").exists());
    let anew = "--store anew --identity recovery.txt";
    desktop.run(&format!("restore-backup store {sealed} {anew} --dry-run")).assert_code(0);
    assert!(!desktop.path("anew").exists());
    desktop.run(&format!("restore-backup store {sealed} {anew}")).assert_code(0);
    let listed = desktop.run("tenant list --store anew --json").assert_code(0).json();
    assert_eq!(names(&listed), ["contoso"]);
    let object = files(&desktop.path("backups/objects")).into_keys().next_back().unwrap();
    fs::write(&object, "damage").unwrap();
    desktop.run("backup verify backups").assert_code(4);
}

#[test]
fn a_service_takes_backups_into_its_own_folders_only() {
    let desktop = Desktop::new();
    let (_room, _socket) = serve(&desktop);
    desktop.run(CREATE).assert_code(0);
    let tool = || desktop.tool(&desktop.custodian_of("service")).env("STRONGROOM_PASSPHRASE", "correct horse battery");
    tool().args(["ring", "export", "/tmp/rings.age"]).said().assert_code(1);
    tool().args(["ring", "export", "elsewhere/rings.age"]).said().assert_code(2);
    tool().args(["ring", "export", "vault/rings.age"]).said().assert_code(0);
    assert!(desktop.path("vault/rings.age").is_file());
    desktop.run("backup make /tmp/backups").assert_code(1);
    desktop.run("backup make backups").assert_code(0);
    desktop.run("backup verify backups").assert_code(0);
}

#[test]
fn the_doctor_sees_what_is_wrong() {
    both_ways(|desktop| {
        desktop.run(CREATE).assert_code(0);
        let said = desktop.run("doctor --json").assert_code(4).json();
        let grade = |said: &Value, of: &str| {
            let findings = said["done"]["health"]["findings"].as_array().unwrap().clone();
            let found = findings.into_iter().find(|finding| finding["of"] == of);
            found.unwrap_or_else(|| panic!("{of} in {said:#}"))["grade"].as_str().unwrap().to_owned()
        };
        assert_eq!(grade(&said, "escrow"), "bad");
        for good in ["folder of the store", "root service", "slots that differ", "rings in damage", "clock"] {
            assert_eq!(grade(&said, good), "good", "{good}");
        }
        let file = if desktop.path("vault").exists() { "vault/rings.age" } else { "rings.age" };
        let tool = desktop.tool(&desktop.custodian_of("service")).env("STRONGROOM_PASSPHRASE", "correct horse battery");
        tool.args(["ring", "export", file]).said().assert_code(0);
        let said = desktop.run("doctor --json").assert_code(0).json();
        assert_eq!(grade(&said, "escrow"), "good");
        damage_a_slot(&desktop.path("store"));
        let said = desktop.run("doctor --json").assert_code(0).json();
        assert_eq!(
            (grade(&said, "slots that differ").as_str(), grade(&said, "rings in damage").as_str()),
            ("notice", "good")
        );
    });
}

#[test]
fn trails_are_shown_exported_and_verified_anywhere() {
    both_ways(|desktop| {
        desktop.run(CREATE).assert_code(0);
        desktop.run_as_contoso("rotate contoso").assert_code(0);
        let kept = desktop.run_as_contoso("audit checkpoint --tenant contoso").assert_code(0).out;
        fs::write(desktop.path("kept.note"), kept).unwrap();
        desktop.run_as_contoso("rotate contoso").assert_code(0);
        let shown = desktop.run_as_contoso("audit show --tenant contoso --json").assert_code(0).json();
        let acts = shown["done"]["events"].as_array().unwrap().iter().map(|event| event["act"].as_str().unwrap());
        assert_eq!(acts.filter(|act| *act == "generation added").count(), 2, "{shown:#}");
        desktop.run("audit show").assert_code(0);
        desktop.run("audit verify --of contoso").assert_code(0);
        desktop.run_as_contoso("audit verify --of contoso").assert_code(2);
        desktop.run_as_contoso("audit verify --tenant contoso --earlier kept.note").assert_code(0);
        let key = desktop.run_as_contoso("audit key --tenant contoso").assert_code(0).out;
        desktop.run_as_contoso("audit export trail.jsonl --tenant contoso --dry-run").assert_code(0);
        assert!(!desktop.path("trail.jsonl").exists());
        desktop.run_as_contoso("audit export trail.jsonl --tenant contoso").assert_code(0);
        desktop.run_as_contoso("audit export trail.jsonl --tenant contoso").assert_code(2);
        let offline = format!("audit verify trail.jsonl --earlier kept.note --key {key}");
        let verified = desktop.tool("").args(offline.split_whitespace()).args(["--json"]).said().assert_code(0).json();
        assert_eq!(verified["done"]["verified"]["is_signed"], true);
        let text = fs::read_to_string(desktop.path("trail.jsonl")).unwrap();
        fs::write(desktop.path("trail.jsonl"), text.replacen("contoso", "fabrika", 1)).unwrap();
        desktop.tool("").args(["audit", "verify", "trail.jsonl"]).said().assert_code(4);
        assert_eq!(desktop.run("root check service --json").assert_code(0).json()["done"]["checked"]["version"], "v1");
        desktop.run("root check nobody").assert_code(2);
    });
}

/// Changes a byte of the second slot of the first box.
fn damage_a_slot(store: &Path) {
    use std::os::unix::fs::FileExt;
    let rings = fs::OpenOptions::new().read(true).write(true).open(store.join("cells/0000/rings")).unwrap();
    // A header page, every first slot, every second one.
    let boxes = (rings.metadata().unwrap().len() / 8192 - 1) / 2;
    rings.write_all_at(b"damage", (1 + boxes) * 8192 + 100).unwrap();
}

/// Every file below a folder, with what it holds.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
    found
}

/// All that a store is but RocksDB's own housekeeping, and the names of all files around it.
fn state(desktop: &Desktop) -> (Vec<PathBuf>, Vec<crate::plain_tools::Rows>, Vec<Vec<u8>>) {
    let store = desktop.path("store");
    let all = files(&desktop.path(""));
    let around = all.keys().filter(|path| !path.starts_with(&store)).cloned().collect();
    let rings = all.iter().filter(|(path, _)| path.ends_with("rings")).map(|(_, bytes)| bytes.clone()).collect();
    let mut rows = vec![RawDatabase::open(&store.join("zero/db")).rows(0)];
    let cell = RawDatabase::open(&store.join("cells/0000/db"));
    rows.extend((0..4).map(|number| cell.rows(number)));
    (around, rows, rings)
}

#[test]
fn a_dry_run_changes_no_row_no_ring_and_no_file() {
    let desktop = Desktop::new();
    desktop.run(CREATE).assert_code(0);
    let recipient = desktop.run("recovery-key recovery.txt").assert_code(0).out;
    desktop.run(&format!("ring export rings.age --recipient {recipient}")).assert_code(0);
    desktop.run("backup make backups").assert_code(0);
    let before = state(&desktop);
    let export = format!("ring export more.age --recipient {recipient}");
    let service = [
        "tenant create fabrikam https://issuer.example fabrikam",
        "tenant suspend contoso",
        "tenant resume contoso",
        "tenant delete contoso",
        "root new another",
        "root rotate service",
        "recovery-key more.txt",
        "backup make backups",
        "backup make more-backups",
        "restore-backup tenant backups contoso again",
        "restore-backup store backups rings.age --store anew --identity recovery.txt",
        "backup drill backups rings.age scratch --identity recovery.txt",
        "init --store elsewhere --force",
        "ring import rings.age --identity recovery.txt",
        "purge run",
        &export,
    ];
    for arguments in service {
        let said = desktop.run(&format!("--dry-run --json {arguments}")).assert_code(0).json();
        assert!(said["done"]["planned"].is_array(), "{arguments}: {said}");
    }
    for arguments in [
        "policy propose contoso --any-of service,service2 --reason r",
        "policy propose-rules contoso --two-custodians --reason r",
        "rotate contoso",
        "rotate contoso --roots",
        "reseal contoso",
        "reseal contoso --wait",
        "purge request contoso --reason r",
        "purge status contoso",
    ] {
        let said = desktop.run_as_contoso(&format!("--dry-run --json {arguments}")).assert_code(0).json();
        assert!(said["done"]["planned"].is_array(), "{arguments}: {said}");
    }
    desktop.run("--dry-run tenant suspend nobody").assert_code(2);
    assert_eq!(state(&desktop), before);
    desktop.run("tenant suspend contoso").assert_code(0);
    assert_ne!(state(&desktop), before, "the control");
}

#[test]
fn sixteen_custodians_work_at_once_with_a_service_that_works() {
    let desktop = Desktop::new();
    let (room, _socket) = serve(&desktop);
    desktop.run(CREATE).assert_code(0);
    let token = desktop.token("user", "contoso", &["read", "write"], 600);
    let notes = room.session(&token, "contoso").unwrap().collection(&NOTES).unwrap();
    std::thread::scope(|scope| {
        let desktop = &desktop;
        let custodians: Vec<_> = (0..16)
            .map(|number| {
                scope.spawn(move || {
                    desktop.run(&format!("tenant create t{number} https://issuer.example t{number}")).assert_code(0);
                    desktop.run(&format!("tenant suspend t{number}")).assert_code(0);
                    desktop.run("tenant list --json").assert_code(0).json();
                })
            })
            .collect();
        for number in 0..500 {
            notes.put(&number, &number.to_string()).unwrap();
        }
        custodians.into_iter().for_each(|custodian| custodian.join().unwrap());
    });
    assert_eq!(notes.count().unwrap(), 500);
    let status = desktop.run("status --json").assert_code(0).json();
    assert_eq!(
        (&status["done"]["status"]["suspended"], &status["done"]["status"]["stats"]["tenants"]),
        (&json!(16), &json!(17))
    );
}

#[test]
fn a_store_that_a_service_has_open_is_not_opened_twice() {
    let desktop = Desktop::new();
    let _room = desktop.open();
    let said = desktop.run("tenant list").assert_code(2);
    assert!(said.err.contains("--socket"), "{said:?}");
}
