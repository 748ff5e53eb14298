//! The end of a generation, and of a tenant, from the command line.

use super::*;
use crate::toolbox::Said;

/// Three records, written by whoever has the store open.
fn write(desktop: &Desktop, room: &Strongroom) {
    let token = desktop.token("user", "contoso", &["read", "write"], 600);
    let notes = room.session(&token, "contoso").unwrap().collection(&NOTES).unwrap();
    for number in 0..3 {
        notes.put(&number, &"a note".to_owned()).unwrap();
    }
}

/// Runs `work` on a closed store with contoso and its records, and on another that a service has open.
fn both_ways_with_records(work: impl Fn(&Desktop)) {
    let desktop = Desktop::new();
    desktop.run(CREATE).assert_code(0);
    write(&desktop, &desktop.open());
    work(&desktop);
    let desktop = Desktop::new();
    let (room, _socket) = serve(&desktop);
    desktop.run(CREATE).assert_code(0);
    write(&desktop, &room);
    work(&desktop);
}

/// As a custodian of contoso by this name, with arguments of any text.
fn run_as(desktop: &Desktop, who: &str, arguments: &[&str]) -> Said {
    desktop.tool(&desktop.token(who, "contoso", &["custodian"], 600)).args(arguments).said()
}

fn is_served(desktop: &Desktop) -> bool {
    desktop.path("custody.sock").exists()
}

#[test]
fn a_generation_is_counted_moved_and_retired() {
    both_ways_with_records(|desktop| {
        let run = |arguments: &str| desktop.run_as_contoso(arguments);
        let only = run("retire contoso").assert_code(0);
        assert!(only.out.contains("only one generation"), "{only:?}");
        run("rotate contoso").assert_code(0);
        let census = run("census contoso --json").assert_code(0).json();
        assert_eq!(census["done"]["census"]["generations"][0]["generation"], 1);
        assert!(run("census contoso").assert_code(0).out.starts_with("generation 1: "));
        let planned = run("retire contoso 1 --reseal --dry-run --json").assert_code(0).json();
        assert!(planned["done"][1]["planned"][0]["is_final"].as_bool().unwrap(), "{planned}");
        run("retire contoso 2 --reseal --dry-run").assert_code(0);
        if is_served(desktop) {
            let said = run("retire contoso 1").assert_code(2);
            assert!(said.out.contains("custodian reseal moves them"), "{said:?}");
            let said = run("reseal contoso --rate 1000000 --json").assert_code(0).json();
            assert_eq!(said["done"]["resealed"]["is_complete"], true);
            run("reseal contoso --wait").assert_code(0);
        }
        let newest = run("retire contoso 2").assert_code(2);
        assert!(newest.out.contains("it is the newest"), "{newest:?}");
        let said = run("retire contoso").assert_code(0);
        assert!(said.out.contains("the key of generation 1 is destroyed"), "{said:?}");
        let keys = run("status --tenant contoso --json").assert_code(0).json();
        assert_eq!(keys["done"]["keys"]["generations"].as_array().unwrap().len(), 1);
        run("reseal contoso --rate 5 --wait").assert_code(1);
        desktop.run("census contoso").assert_code(2);
    });
}

/// Contoso, whose custodians can purge it at once.
fn in_a_hurry(desktop: &Desktop) {
    let rules = ["policy", "propose-rules", "contoso", "--cooling-off", "0", "--reason", "in a hurry"];
    run_as(desktop, "anna", &rules).assert_code(0);
    run_as(desktop, "anna", &["policy", "apply", "contoso", "1"]).assert_code(0);
}

#[test]
fn a_purge_goes_its_way_from_the_request_to_a_receipt_that_is_verified_anywhere() {
    both_ways_with_records(|desktop| {
        in_a_hurry(desktop);
        let anna = |arguments: &str| run_as(desktop, "anna", &arguments.split_whitespace().collect::<Vec<_>>());
        let bert = |arguments: &str| run_as(desktop, "bert", &arguments.split_whitespace().collect::<Vec<_>>());
        anna("purge status contoso").assert_code(2);
        anna("purge request contoso --reason over").assert_code(0);
        anna("purge request contoso --reason again").assert_code(2);
        assert!(anna("purge status contoso").assert_code(0).out.starts_with("contoso: requested"));
        anna("purge approve contoso --reason sure").assert_code(2);
        bert("purge execute contoso --yes").assert_code(2);
        bert("purge approve contoso --reason yes").assert_code(0);
        bert("purge execute contoso").assert_code(1);
        let planned = bert("purge execute contoso --dry-run --json").assert_code(0).json();
        assert_eq!(planned["done"]["planned"][0]["is_final"], true);
        let done = bert("purge execute contoso --yes --wait --exhaustive --json").assert_code(0).json();
        assert_eq!(done["done"]["purge"]["stage"], "proven", "{done}");
        let receipt = anna("purge receipt contoso").assert_code(0).out;
        assert!(receipt.contains("\"windows\": "), "{receipt}");
        bert("purge execute contoso --yes").assert_code(0);
        assert!(anna("purge status contoso --wait").assert_code(0).out.starts_with("contoso: destroyed and proven"));
        let seen = desktop.run("purge status contoso --as-service --json").assert_code(0).json();
        assert_eq!(seen["done"]["purge"]["receipts"], 1);
        assert!(desktop.run("purge list").assert_code(0).out.contains("receipt 1"));
        desktop.run("purge run").assert_code(1);
        assert!(desktop.run("purge run --yes").assert_code(0).out.contains("no purge was due"));
        verify(desktop);
        anna("purge declare contoso 9 --reason gone").assert_code(2);
        anna("purge finalize contoso --dry-run").assert_code(0);
        anna("purge finalize contoso").assert_code(0);
        anna("purge prove contoso").assert_code(0);
        anna("purge receipt contoso --number 2").assert_code(0);
        anna("purge receipt contoso --number 3").assert_code(2);
        run_as(desktop, "anna", &["census", "contoso"]).assert_code(2);
    });
}

/// The receipt, the key and the trail are fetched, and verified without store and token.
fn verify(desktop: &Desktop) {
    let anna = |arguments: &str| run_as(desktop, "anna", &arguments.split_whitespace().collect::<Vec<_>>());
    anna("purge receipt contoso receipt.note --dry-run").assert_code(0);
    assert!(!desktop.path("receipt.note").exists());
    let said = anna("purge receipt contoso receipt.note").assert_code(0);
    assert!(said.out.contains("PROVEN; not final") && said.out.contains("asked for by anna"), "{said:?}");
    anna("purge receipt contoso receipt.note").assert_code(2);
    let printed = anna("purge receipt contoso").assert_code(0).out;
    assert_eq!(fs::read_to_string(desktop.path("receipt.note")).unwrap(), printed, "to the byte");
    let key = anna("purge key contoso").assert_code(0).out;
    fs::write(desktop.path("receipts.key"), &key).unwrap();
    anna("purge trail contoso trail.jsonl").assert_code(0);
    let offline = |arguments: &[&str]| desktop.tool("").args(arguments).said();
    let said = offline(&["verify", "receipt.note", "trail.jsonl", "--key", key.trim()]).assert_code(0);
    assert!(said.out.starts_with("the receipt is the store's own; event "), "{said:?}");
    let said = offline(&["purge", "verify", "receipt.note", "--key", "receipts.key", "--json"]).assert_code(0).json();
    assert_eq!(
        (&said["done"]["verified"]["sequence"], &said["done"]["verified"]["receipt"]["proven"]),
        (&Value::Null, &json!(true))
    );
    for (file, from, to) in [("receipt.note", "over", "other"), ("trail.jsonl", "contoso", "fabrika")] {
        let whole = fs::read_to_string(desktop.path(file)).unwrap();
        fs::write(desktop.path(file), whole.replacen(from, to, 1)).unwrap();
        let said = offline(&["verify", "receipt.note", "trail.jsonl", "--key", "receipts.key"]).assert_code(4);
        assert!(said.out.is_empty(), "{said:?}");
        fs::write(desktop.path(file), whole).unwrap();
    }
    offline(&["verify", "receipt.note", "trail.jsonl", "--key", "receipts.key"]).assert_code(0);
    offline(&["verify", "receipt.note", "--key", "nonsense"]).assert_code(1);
    offline(&["verify", "nowhere.note", "--key", "receipts.key"]).assert_code(1);
}

#[test]
fn a_receipt_that_says_that_nothing_is_proven_is_no_success() {
    both_ways_with_records(|desktop| {
        in_a_hurry(desktop);
        fs::copy(desktop.path("store/cells/0000/rings"), desktop.path("store/rings.bak")).unwrap();
        run_as(desktop, "anna", &["purge", "request", "contoso", "--reason", "over"]).assert_code(0);
        run_as(desktop, "bert", &["purge", "approve", "contoso", "--reason", "yes"]).assert_code(0);
        let said = run_as(desktop, "bert", &["purge", "execute", "contoso", "--yes"]).assert_code(4);
        assert!(said.out.contains("NOT PROVEN"), "{said:?}");
        run_as(desktop, "anna", &["purge", "receipt", "contoso", "receipt.note"]).assert_code(0);
        let key = run_as(desktop, "anna", &["purge", "key", "contoso"]).assert_code(0).out;
        let said = desktop.tool("").args(["verify", "receipt.note", "--key", key.trim()]).said().assert_code(4);
        assert!(said.out.contains("rings.bak at byte"), "{said:?}");
        fs::remove_file(desktop.path("store/rings.bak")).unwrap();
        run_as(desktop, "anna", &["purge", "prove", "contoso"]).assert_code(0);
    });
}

#[test]
fn a_purge_is_taken_back_from_the_command_line() {
    both_ways_with_records(|desktop| {
        let run = |arguments: &str| desktop.run_as_contoso(arguments);
        run("purge cancel contoso --reason stays").assert_code(2);
        run("purge request contoso --reason over").assert_code(0);
        let said = run("purge status contoso").assert_code(0);
        assert!(said.out.contains("waits for another custodian's approval, and until 20"), "{said:?}");
        run("purge cancel contoso --reason stays --dry-run").assert_code(0);
        run("purge cancel contoso --reason stays").assert_code(0);
        run("purge status contoso").assert_code(2);
        desktop.run("purge request contoso --reason over").assert_code(2);
    });
}

#[test]
fn rings_come_back_from_an_escrow_from_the_command_line() {
    both_ways_with_records(|desktop| {
        let file = if is_served(desktop) { "vault/rings.age" } else { "rings.age" };
        let recipient = desktop.run("recovery-key recovery.txt").assert_code(0).out;
        desktop.run(&format!("ring export {file} --recipient {recipient}")).assert_code(0);
        let import = format!("ring import {file} --identity recovery.txt");
        let whole = desktop.run(&import).assert_code(0).out;
        assert!(whole.starts_with("0 rings are those of the escrow now; 1 were whole"), "{whole}");
        damage_both_slots(&desktop.path("store"));
        desktop.run(&format!("{import} --dry-run --json")).assert_code(0);
        desktop.run(&format!("{import} --tenant nobody")).assert_code(2);
        desktop.run(&format!("ring import {file}")).assert_code(1);
        desktop.run_as_contoso(&import).assert_code(2);
        let said = desktop.run(&format!("{import} --tenant contoso --json")).assert_code(0).json();
        assert_eq!(said["done"]["imported"]["imported"], json!(["contoso"]));
        desktop.run_as_contoso("census contoso").assert_code(0);
    });
}

/// Damages both slots of the first box.
fn damage_both_slots(store: &Path) {
    use std::os::unix::fs::FileExt;
    damage_a_slot(store);
    let rings = fs::OpenOptions::new().write(true).open(store.join("cells/0000/rings")).unwrap();
    rings.write_all_at(b"damage", 8192 + 100).unwrap();
}
