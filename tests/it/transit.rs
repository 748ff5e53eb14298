//! Root keys in a real OpenBao: what its owner does to a key and to our login, and what the store hears of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use strongroom::{
    Call, CollectionDef, ErrorKind, LocalRoots, ManualClock, RootError, RootFinding, RootId, RootKeys, RootRight,
    RootSet, Strongroom, TransitRoots, WrapContext, WrapSecret, Wrapped, check_root,
};

use crate::openbao::{OpenBao, POLICY};
use crate::root_keys::Provider;
use crate::support::{self, CUSTODIAN, ISSUER, Plain, user};

const KINDS: [&str; 3] = ["aes256-gcm96", "derived", "rsa-4096"];

pub fn id(root: &str) -> RootId {
    RootId::new(root).unwrap()
}

pub fn context() -> WrapContext {
    WrapContext::new([7; 16], id("customer"), 1, Call::new().unwrap())
}

pub fn wrap(roots: &TransitRoots) -> Result<Wrapped, RootError> {
    roots.wrap(&id("customer"), &WrapSecret::from_slice(&[0xA5; 32]).unwrap(), &context())
}

pub fn unwrap(roots: &TransitRoots, wrapped: &Wrapped) -> Result<(), RootError> {
    let back = roots.unwrap(&id("customer"), wrapped, &context())?;
    assert_eq!(back.expose_secret(), &[0xA5; 32], "another secret came back");
    Ok(())
}

#[test]
fn every_kind_of_key_conforms() {
    let Some(bao) = OpenBao::start() else { return };
    for kind in KINDS {
        let (one, two) = (format!("one-{kind}"), format!("two-{kind}"));
        bao.make_key(&one, kind);
        bao.make_key(&two, kind);
        let token = bao.token(POLICY, "1h");
        let roots = bao.builder().token(token).root("one", &one).root("two", &two).build().unwrap();
        let newest = AtomicU32::new(1);
        let rotate = || {
            bao.rotate(&one);
            newest.fetch_add(1, Ordering::SeqCst);
        };
        let trim = || bao.trim(&one, newest.load(Ordering::SeqCst));
        let binds = kind != "rsa-4096";
        let set = RootSet::new().provider(["one", "two"], roots).unwrap();
        Provider { roots: &set, root: "one", other: "two", binds, rotate: &rotate, destroy_all_but_the_newest: &trim }
            .conforms();
    }
}

#[test]
fn what_an_owner_does_to_a_key_is_heard_as_what_it_is() {
    let Some(bao) = OpenBao::start() else { return };
    for kind in KINDS {
        let key = format!("key-{kind}");
        bao.make_key(&key, kind);
        let roots = bao.roots("customer", &key);
        let wrapped = wrap(&roots).unwrap();
        let answers = |expected: Result<(), RootError>| {
            assert_eq!(unwrap(&roots, &wrapped), expected, "{kind}");
            // As a process that has just begun hears it, too.
            assert_eq!(unwrap(&bao.roots("customer", &key), &wrapped), expected, "{kind}, anew");
        };
        answers(Ok(()));
        bao.soft_delete(&key);
        answers(Err(RootError::Disabled));
        assert_eq!(wrap(&roots).unwrap_err(), RootError::Disabled);
        assert_eq!(check_root(&roots, &id("customer")).unwrap_err(), RootError::Disabled);
        bao.restore(&key);
        answers(Ok(()));
        bao.rotate(&key);
        bao.set_min_decryption_version(&key, 2);
        answers(Err(RootError::Disabled));
        bao.set_min_decryption_version(&key, 1);
        answers(Ok(()));
        bao.trim(&key, 2);
        answers(Err(RootError::Destroyed));
        let wrapped = wrap(&roots).unwrap();
        bao.delete(&key);
        assert_eq!(unwrap(&roots, &wrapped).unwrap_err(), RootError::Destroyed, "{kind}");
        assert_eq!(unwrap(&bao.roots("customer", &key), &wrapped).unwrap_err(), RootError::Destroyed, "{kind}");
        assert_eq!(wrap(&roots).unwrap_err(), RootError::Disabled, "{kind}");
        bao.make_key(&key, kind);
        bao.rotate(&key);
        assert_eq!(unwrap(&roots, &wrapped).unwrap_err(), RootError::Tampered, "{kind}: another key of the same name");
    }
}

#[test]
fn a_vault_that_is_sealed_or_has_no_such_engine_is_out_of_reach_or_switched_off() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("key", "aes256-gcm96");
    let roots = bao.roots("customer", "key");
    let wrapped = wrap(&roots).unwrap();
    bao.seal();
    assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Unreachable));
    bao.unseal();
    let fresh = bao.roots("customer", "key");
    assert_eq!(unwrap(&fresh, &wrapped), Ok(()));
    let elsewhere = bao.builder().token("root").mount("no/such-engine").root("customer", "key").build().unwrap();
    assert_eq!(unwrap(&elsewhere, &wrapped), Err(RootError::Disabled));
    let stranger = bao.builder().token("root").namespace("nobody").root("customer", "key").build().unwrap();
    assert!(unwrap(&stranger, &wrapped).is_err_and(RootError::is_refusal));
    bao.must("POST", "sys/namespaces/ours", &json!({}));
    let ours = bao.builder().token("root").namespace("ours").root("customer", "key").build().unwrap();
    assert!(unwrap(&ours, &wrapped).is_err_and(RootError::is_refusal), "a namespace of its own has no such engine");
    drop(bao);
    assert_eq!(unwrap(&fresh, &wrapped), Err(RootError::Unreachable));
}

#[test]
fn a_deleted_key_is_not_made_anew_by_wrapping() {
    let Some(bao) = OpenBao::start() else { return };
    let is_there = |key: &str| bao.call("GET", &format!("transit/keys/{key}"), &json!(null)).0 == 200;
    for (is_upsert_on, is_all_powerful) in [(true, true), (true, false), (false, true), (false, false)] {
        bao.set_upsert(is_upsert_on);
        bao.make_key("key", "aes256-gcm96");
        let token = if is_all_powerful { "root".to_owned() } else { bao.token(POLICY, "1h") };
        let roots = bao.builder().token(token).root("customer", "key").build().unwrap();
        let findings = check_root(&roots, &id("customer")).unwrap().findings;
        assert_eq!(findings.contains(&RootFinding::RecreatesMissingKeys), is_upsert_on && is_all_powerful);
        assert_eq!(findings.contains(&RootFinding::MoreRightsThanNeeded), is_all_powerful);
        wrap(&roots).unwrap();
        bao.delete("key");
        assert_eq!(wrap(&roots).unwrap_err(), RootError::Disabled);
        assert!(!is_there("key"), "upsert {is_upsert_on}, all rights {is_all_powerful}");
    }
    bao.set_upsert(true);
    bao.must("POST", "transit/encrypt/key", &json!({"plaintext": "AAAA"}));
    assert!(is_there("key"), "the control: a vault does make it anew");
}

#[test]
fn a_check_says_what_a_key_is_and_what_its_token_may_do() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("key", "aes256-gcm96");
    let roots = bao.roots("customer", "key");
    let check = || check_root(&roots, &id("customer")).unwrap();
    let first = check();
    assert_eq!(first.findings, []);
    let rights: Vec<_> = first.description.rights.unwrap().into_iter().collect();
    assert_eq!(rights, [RootRight::Wrap, RootRight::Unwrap, RootRight::Describe]);
    assert_eq!(first.description.location.unwrap(), format!("127.0.0.1:{}/transit", bao.port()));
    bao.rotate("key");
    assert_eq!(check().findings, [RootFinding::OldVersionsUnwrap]);
    bao.configure("key", &json!({"min_decryption_version": 2, "deletion_allowed": true, "exportable": true}));
    assert_eq!(check().findings, [RootFinding::Exportable, RootFinding::DeletionAllowed]);
    bao.make_key("signer", "ed25519");
    let signer = bao.roots("customer", "signer");
    assert_eq!(check_root(&signer, &id("customer")).unwrap_err(), RootError::Disabled, "it cannot wrap");
}

#[test]
fn the_id_of_a_call_stands_in_the_vaults_audit_log() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("key", "aes256-gcm96");
    let roots = bao.roots("customer", "key");
    let wrapped = wrap(&roots).unwrap();
    let calls: Vec<WrapContext> = (0..3).map(|_| context()).collect();
    calls.iter().for_each(|call| drop(roots.unwrap(&id("customer"), &wrapped, call).unwrap()));
    let ids: Vec<String> = calls.iter().map(|context| context.call().id().to_string()).collect();
    assert_eq!(bao.audited("decrypt"), ids);
    let text = bao.audit().iter().map(ToString::to_string).collect::<String>();
    assert!(!text.contains("paWlpaWl"), "control: a vault's own log hides the secret, as ours must");
}

#[test]
fn a_refusal_counts_after_one_fresh_login_and_no_more() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("key", "aes256-gcm96");
    bao.policy("ours", "key");
    let (role, secret) = bao.approle("service", "ours", "1h");
    let roots = bao.builder().approle(role, secret).root("customer", "key").build().unwrap();
    let wrapped = wrap(&roots).unwrap();
    let logins = || {
        bao.audit()
            .iter()
            .filter(|line| line["type"] == "request" && line["request"]["path"] == "auth/approle/login")
            .count()
    };
    assert_eq!(logins(), 1);
    bao.policy("ours", "another-key");
    let before = bao.audited("decrypt").len();
    assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Denied));
    assert_eq!((logins(), bao.audited("decrypt").len() - before), (2, 2), "one login, and one more try");
    bao.policy("ours", "key");
    assert_eq!(unwrap(&roots, &wrapped), Ok(()));
    assert_eq!(logins(), 2);
    // Our own token ends, and nobody has refused anything.
    let accessors = bao.must("GET", "auth/token/accessors?list=true", &json!(null));
    for accessor in accessors["data"]["keys"].as_array().unwrap() {
        let about = bao.must("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor}));
        if about["data"]["path"] == "auth/approle/login" {
            bao.must("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
        }
    }
    assert_eq!((unwrap(&roots, &wrapped), logins()), (Ok(()), 3));
    bao.delete_approle("service");
    bao.policy("ours", "another-key");
    assert_eq!(unwrap(&roots, &wrapped), Err(RootError::Denied), "a login that is refused");
}

#[test]
fn a_role_whose_tokens_live_two_seconds_keeps_working() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("key", "aes256-gcm96");
    let (role, secret) = bao.approle("brief", POLICY, "2s");
    let roots = Arc::new(bao.builder().approle(role, secret).root("customer", "key").build().unwrap());
    let wrapped = wrap(&roots).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(unwrap(&roots, &wrapped), Ok(()));
                    std::thread::sleep(Duration::from_millis(250));
                }
            });
        }
    });
    let ids: BTreeSet<_> = bao.audited("decrypt").into_iter().collect();
    assert_eq!(ids.len(), 80, "every call arrived");
}

#[test]
fn tokens_and_files_of_tokens_end_as_their_owner_wants() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("key", "aes256-gcm96");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let (first, second) = (bao.token(POLICY, "1h"), bao.token(POLICY, "1h"));
    std::fs::write(&file, format!("{first}\n")).unwrap();
    let fixed = bao.builder().token(&first).root("customer", "key").build().unwrap();
    let kept = bao.builder().token_file(&file).root("customer", "key").build().unwrap();
    let wrapped = wrap(&fixed).unwrap();
    assert_eq!(unwrap(&kept, &wrapped), Ok(()));
    bao.revoke(&first);
    std::fs::write(&file, &second).unwrap();
    assert_eq!(unwrap(&fixed, &wrapped), Err(RootError::Denied));
    assert_eq!(unwrap(&kept, &wrapped), Ok(()), "the agent has left another");
    bao.revoke(&second);
    assert_eq!(unwrap(&kept, &wrapped), Err(RootError::Denied));
    let wrong = bao.builder().token(bao.token("default", "1h")).root("customer", "key").build().unwrap();
    assert_eq!(unwrap(&wrong, &wrapped), Err(RootError::Denied), "a token of another policy");
    std::fs::remove_file(&file).unwrap();
    let absent = bao.builder().token_file(&file).root("customer", "key").build().unwrap();
    assert_eq!(unwrap(&absent, &wrapped), Err(RootError::Unreachable), "nobody has refused");
}

const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes");

#[test]
fn a_store_lives_under_a_key_in_a_vault_and_is_shut_when_its_owner_says_so() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("key", "aes256-gcm96");
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(1_800_000_000_000);
    let open = || {
        let local = LocalRoots::open_with_root(folder.path().join("keys"), "spare").unwrap();
        let set = RootSet::new();
        let transit = bao.roots("service", "key");
        let set = set.provider(transit.roots(), transit).unwrap().local(local).unwrap();
        let builder = Strongroom::builder(folder.path().join("store"), set, Plain).service_speaker(ISSUER, "service");
        builder.boxes_per_cell(4).clock(clock.clone()).open()
    };
    let room = open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let write = |room: &Strongroom| {
        let session = room.session(&user("contoso"), "contoso")?;
        session.collection(&NOTES)?.put(&1, &"a note".to_owned())
    };
    write(&room).unwrap();
    let [connection] = &room.connections()[..] else { panic!("one connection") };
    assert_eq!((connection.host.as_str(), connection.port, connection.is_tls), ("127.0.0.1", bao.port(), true));
    room.close();
    let room = open().unwrap();
    write(&room).unwrap();
    assert!(bao.audited("decrypt").iter().all(|id| id.len() == 32));
    let asked = bao.audited("decrypt").len();
    write(&room).unwrap();
    assert_eq!(bao.audited("decrypt").len(), asked, "a warm tenant asks nobody");
    bao.soft_delete("key");
    clock.advance(Duration::from_secs(301));
    assert_eq!(write(&room).unwrap_err().kind(), ErrorKind::KeyRevoked);
    room.close();
    assert_eq!(open().unwrap_err().kind(), ErrorKind::KeyRevoked);
    bao.restore("key");
    let room = open().unwrap();
    assert!(room.custody(CUSTODIAN).is_ok());
    write(&room).unwrap();
}
