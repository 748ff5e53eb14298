//! Tenants come and go: made, suspended, resumed, deleted, made again, spoken for.

use std::fs;
use std::sync::Arc;

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{
    CollectionDef, Custody, ErrorKind, LocalRoots, Result, Scan, Session, Strongroom, TenantName, TenantSpec,
    TenantState,
};

use crate::dated;
use crate::engines::on_both;
use crate::support::{self, CUSTODIAN, ISSUER, Plain, user};
use crate::witness::Witness;

const OTHER_ISSUER: &str = "https://other.example";
const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const NAMES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("names");

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn custody(room: &Strongroom) -> Custody {
    room.custody(CUSTODIAN).unwrap()
}

fn state(room: &Strongroom, name: &str) -> Option<TenantState> {
    let tenants = custody(room).tenants().unwrap();
    tenants.into_iter().find(|tenant| tenant.name.as_str() == name).map(|tenant| tenant.state)
}

fn fill(session: &Session) -> Scan<u64, Vec<u8>> {
    let notes = session.collection(&NOTES).unwrap();
    for number in 0..50 {
        notes.put(&number, &vec![number as u8; 5000]).unwrap();
    }
    session.collection(&NAMES).unwrap().put(&"a/b", &vec![1]).unwrap();
    let mut scan = notes.iter().unwrap();
    scan.next().unwrap().unwrap();
    scan
}

fn is_dead(session: &Session, scan: &mut Scan<u64, Vec<u8>>) -> bool {
    let denied = Some(ErrorKind::Denied);
    kind(session.collections()) == denied
        && kind(session.collection(&NOTES)) == denied
        && kind(session.batch().put(&NOTES, &1, &vec![])) == denied
        && scan.next().is_none_or(|row| kind(row) == denied)
}

/// Accepts credentials of one issuer, and knows it.
struct OfOneIssuer;

impl Verifier for OfOneIssuer {
    fn verify(&self, credential: &str, now_secs: u64) -> std::result::Result<Claims, Rejection> {
        Plain.verify(credential, now_secs)
    }

    fn could_accept(&self, issuer: &str, _tenant: &str) -> bool {
        issuer == ISSUER
    }
}

#[test]
fn a_tenant_for_which_nobody_could_ever_speak_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let open = |issuers: &[&str]| {
        let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
        let room = Strongroom::in_memory(roots, Arc::new(OfOneIssuer));
        issuers.iter().fold(room, |room, issuer| room.service_speaker(*issuer, "service")).open()
    };
    let error = open(&[OTHER_ISSUER]).unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(OTHER_ISSUER), "{error}");
    assert!(open(&[]).is_ok(), "a store without that door");
    let room = open(&[OTHER_ISSUER, ISSUER]).expect("one is enough");
    let strange = [
        TenantSpec::new("contoso", format!("{ISSUER}/"), "contoso"),
        TenantSpec::new("contoso", ISSUER, "contoso").speaker(OTHER_ISSUER, "contoso"),
    ];
    for spec in strange {
        assert_eq!(kind(custody(&room).create_tenant(spec.clone())), Some(ErrorKind::Invalid));
        let error = custody(&room).create_tenants(vec![TenantSpec::new("a", ISSUER, "a"), spec]).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("specs[1]"), "{error}");
    }
    assert_eq!(custody(&room).tenants().unwrap(), []);
    custody(&room).create_tenant(TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
}

#[test]
fn a_suspended_tenant_answers_nobody_and_keeps_everything() {
    on_both(|room| {
        let session = room.session(&user("contoso"), "contoso").unwrap();
        let notes = session.collection(&NOTES).unwrap();
        let mut scan = fill(&session);
        custody(room).suspend_tenant("contoso").unwrap();
        custody(room).suspend_tenant("contoso").unwrap();
        assert_eq!(state(room, "contoso"), Some(TenantState::Suspended));
        assert!(is_dead(&session, &mut scan));
        assert_eq!(kind(notes.get(&1)), Some(ErrorKind::Denied));
        assert_eq!(kind(room.session(&user("contoso"), "contoso")), Some(ErrorKind::Denied));
        assert_eq!(kind(room.home_session(&user("contoso"))), Some(ErrorKind::Denied));
        assert!(room.session(&user("fabrikam"), "fabrikam").is_ok());
        assert_eq!(
            kind(custody(room).create_tenant(TenantSpec::new("contoso", ISSUER, "x"))),
            Some(ErrorKind::Conflict)
        );
        custody(room).resume_tenant("contoso").unwrap();
        custody(room).resume_tenant("contoso").unwrap();
        assert_eq!(state(room, "contoso"), Some(TenantState::Active));
        assert_eq!(kind(notes.get(&1)), Some(ErrorKind::Closed), "a suspension ends its sessions for good");
        let notes = room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
        assert_eq!(notes.get(&1).unwrap(), Some(vec![1; 5000]), "and keeps everything");
        assert_eq!(notes.count().unwrap(), 50);
    });
}

#[test]
fn states_outlast_reopening() {
    let folder = tempfile::tempdir().unwrap();
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        support::make_tenants(&room, &["contoso", "fabrikam", "northwind"]);
        fill(&room.session(&user("contoso"), "contoso").unwrap());
        custody(&room).suspend_tenant("contoso").unwrap();
        custody(&room).delete_tenant("fabrikam").unwrap();
    }
    let room = support::on_disk(folder.path()).open().unwrap();
    assert_eq!(state(&room, "contoso"), Some(TenantState::Suspended));
    assert_eq!(state(&room, "fabrikam"), None);
    assert_eq!(state(&room, "northwind"), Some(TenantState::Active));
    assert_eq!(kind(room.session(&user("contoso"), "contoso")), Some(ErrorKind::Denied));
    custody(&room).resume_tenant("contoso").unwrap();
    drop(room);
    let room = support::on_disk(folder.path()).open().unwrap();
    assert_eq!(state(&room, "contoso"), Some(TenantState::Active));
    let session = room.session(&user("contoso"), "contoso").unwrap();
    assert_eq!(session.collection(&NOTES).unwrap().count().unwrap(), 50);
}

#[test]
fn a_deletion_that_was_cut_off_is_finished_by_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    fill(&room.session(&user("contoso"), "contoso").unwrap());
    drop(room);
    let (cell, aside) = (folder.path().join("store/cells/0000"), folder.path().join("aside"));
    let rings = fs::read(cell.join("rings")).unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    // Until what the first room left in the logs has been recovered in the background: then nobody has the cell open.
    assert!((0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        room.stats().cells.closed_total == 1
    }));
    fs::rename(&cell, &aside).unwrap();
    assert!(custody(&room).delete_tenant("contoso").is_err(), "its cell is not to be had");
    drop(room);
    fs::rename(&aside, &cell).unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    assert_eq!(state(&room, "contoso"), None);
    assert_ne!(fs::read(cell.join("rings")).unwrap(), rings, "its keys are gone too");
    support::make_tenants(&room, &["contoso"]);
    assert_eq!(room.session(&user("contoso"), "contoso").unwrap().collections().unwrap(), []);
}

#[test]
fn a_suspension_drops_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Witness::of(&folder.path().join("keys"));
    let builder = Strongroom::in_memory(roots.clone(), support::Plain);
    let room = builder.service_speaker(ISSUER, "service").open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let read = || room.session(&user("contoso"), "contoso").unwrap().collections().unwrap();
    roots.take_unwraps();
    assert_eq!((read().len(), roots.take_unwraps()), (0, 0), "the control: they are held");
    custody(&room).suspend_tenant("contoso").unwrap();
    custody(&room).resume_tenant("contoso").unwrap();
    assert_eq!((read().len(), roots.take_unwraps()), (0, 1));
}

#[test]
fn a_name_created_again_meets_nothing_of_the_past() {
    on_both(|room| {
        for round in 0..3 {
            let session = room.session(&user("contoso"), "contoso").unwrap();
            let mut scan = fill(&session);
            let batch = session.batch().put(&NOTES, &100, &vec![]).unwrap();
            custody(room).delete_tenant("contoso").unwrap();
            assert_eq!(kind(custody(room).delete_tenant("contoso")), Some(ErrorKind::NotFound));
            assert!(is_dead(&session, &mut scan), "round {round}");
            support::make_tenants(room, &["contoso"]);
            assert!(is_dead(&session, &mut scan), "round {round}: the old session beside the new tenant");
            assert_eq!(kind(batch.commit()), Some(ErrorKind::Denied));
            let again = room.session(&user("contoso"), "contoso").unwrap();
            assert_eq!(again.collections().unwrap(), []);
            assert_eq!(again.collection(&NOTES).unwrap().count().unwrap(), 0);
            assert_eq!(again.collection(&NAMES).unwrap().get(&"a/b").unwrap(), None);
        }
    });
}

#[test]
fn a_box_handed_on_holds_nothing_for_its_next_tenant() {
    on_both(|room| {
        let old = room.session(&user("contoso"), "contoso").unwrap();
        let mut scan = fill(&old);
        custody(room).delete_tenant("contoso").unwrap();
        support::make_tenants(room, &["heir"]);
        let heir = room.session(&user("heir"), "heir").unwrap();
        assert_eq!(heir.collections().unwrap(), []);
        fill(&heir);
        assert!(is_dead(&old, &mut scan));
        assert_eq!(heir.collection(&NOTES).unwrap().count().unwrap(), 50);
    });
}

#[test]
fn more_tenants_than_boxes_get_new_cells_and_freed_boxes_are_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..10).map(|number| format!("tenant-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cells = || std::fs::read_dir(folder.path().join("store/cells")).unwrap().count();
    let room = support::on_disk(folder.path()).open().unwrap();
    assert_eq!(cells(), 0, "a store without tenants has no cell");
    for (place, name) in names.iter().enumerate() {
        support::make_tenants(&room, &[*name]);
        assert_eq!(cells(), place / 4 + 1);
        let session = room.session(&user(name), name).unwrap();
        session.collection(&NOTES).unwrap().put(&1, &name.as_bytes().to_vec()).unwrap();
    }
    for name in &names[..4] {
        custody(&room).delete_tenant(name).unwrap();
        support::make_tenants(&room, &[*name]);
    }
    drop(room);
    let room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["eleven", "twelve"]);
    assert_eq!(cells(), 3);
    support::make_tenants(&room, &["thirteen"]);
    assert_eq!(cells(), 4);
    for (place, name) in names.iter().enumerate() {
        let notes = room.session(&user(name), name).unwrap().collection(&NOTES).unwrap();
        let expected = (place >= 4).then(|| name.as_bytes().to_vec());
        assert_eq!(notes.get(&1).unwrap(), expected, "{name}");
    }
}

#[test]
fn only_the_pair_of_issuer_and_tenant_claim_speaks() {
    on_both(|room| {
        let spec = TenantSpec::new("shared", ISSUER, "tid-1").speaker(OTHER_ISSUER, "tid-2");
        let summary = custody(room).create_tenant(spec).unwrap();
        assert_eq!(summary.speakers.len(), 2);
        custody(room).create_tenant(TenantSpec::new("crossed", OTHER_ISSUER, "tid-1")).unwrap();
        let opens = |issuer: &str, claim: &str, tenant: &str| {
            let outcome = kind(room.session(&format!("{issuer}|{claim}|read"), tenant));
            assert!(outcome.is_none() || outcome == Some(ErrorKind::Denied));
            outcome.is_none()
        };
        assert!(opens(ISSUER, "tid-1", "shared") && opens(OTHER_ISSUER, "tid-2", "shared"));
        assert!(opens(OTHER_ISSUER, "tid-1", "crossed"));
        assert!(!opens(OTHER_ISSUER, "tid-1", "shared"), "the claim of one issuer from the other");
        assert!(!opens(ISSUER, "tid-2", "shared"), "and the other way round");
        assert!(!opens(ISSUER, "tid-1", "crossed"));
        for (issuer, claim) in [
            ("tid-1", ISSUER),
            ("https://issuer.example/", "tid-1"),
            ("HTTPS://ISSUER.EXAMPLE", "tid-1"),
            (ISSUER, "TID-1"),
            (ISSUER, "tid-1 "),
            (ISSUER, "tid-1\0"),
            (ISSUER, "tid-"),
        ] {
            assert!(!opens(issuer, claim, "shared"), "{issuer} {claim:?}");
        }
    });
}

#[test]
fn a_home_session_needs_exactly_one_home() {
    on_both(|room| {
        let home = |claim: &str| room.home_session(&user(claim));
        assert_eq!(kind(home("nowhere")), Some(ErrorKind::Denied));
        assert_eq!(home("contoso").unwrap().tenant().as_str(), "contoso");
        custody(room).create_tenant(TenantSpec::new("contoso-lab", ISSUER, "contoso")).unwrap();
        assert_eq!(kind(home("contoso")), Some(ErrorKind::Invalid), "two homes");
        assert_eq!(room.session(&user("contoso"), "contoso-lab").unwrap().tenant().as_str(), "contoso-lab");
        custody(room).delete_tenant("contoso").unwrap();
        assert_eq!(home("contoso").unwrap().tenant().as_str(), "contoso-lab");
        custody(room).suspend_tenant("contoso-lab").unwrap();
        assert_eq!(kind(home("contoso")), Some(ErrorKind::Denied));
        custody(room).delete_tenant("contoso-lab").unwrap();
        assert_eq!(kind(home("contoso")), Some(ErrorKind::Denied));
        let same_claim_elsewhere = format!("{OTHER_ISSUER}|fabrikam|read");
        assert_eq!(kind(room.home_session(&same_claim_elsewhere)), Some(ErrorKind::Denied));
    });
}

#[test]
fn a_pair_named_twice_is_refused() {
    on_both(|room| {
        let spec = TenantSpec::new("twice", ISSUER, "twice").speaker(ISSUER, "twice");
        assert_eq!(kind(custody(room).create_tenant(spec)), Some(ErrorKind::Invalid));
        assert_eq!(state(room, "twice"), None);
    });
}

#[test]
fn an_unknown_tenant_and_a_forbidden_one_look_alike_to_the_byte() {
    on_both(|room| {
        support::make_tenants(room, &["gone", "asleep"]);
        custody(room).delete_tenant("gone").unwrap();
        custody(room).suspend_tenant("asleep").unwrap();
        let too_long = "x".repeat(1 << 16);
        let texts = |tenant: &str| {
            let error = room.session(&user("fabrikam"), tenant).unwrap_err();
            assert!(std::error::Error::source(&error).is_none());
            (error.to_string(), format!("{error:?}"), format!("{error:#?}"))
        };
        let forbidden = texts("contoso");
        assert!(!forbidden.1.contains("contoso"));
        for tenant in ["nobody", "gone", "asleep", "", "No Name", "contoso\0", &too_long] {
            assert_eq!(texts(tenant), forbidden, "{tenant:.20?}");
        }
        let error = room.home_session(&user("nobody")).unwrap_err();
        assert_eq!((error.to_string(), format!("{error:?}"), format!("{error:#?}")), forbidden);
    });
}

#[test]
fn a_custodian_sees_every_tenant_and_no_other_custodian_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let clock = dated::clock();
    let room = dated::in_memory(folder.path(), &clock).open().unwrap();
    let custody = room.custody(&dated::custodian()).unwrap();
    assert_eq!(custody.tenants().unwrap(), []);
    for name in ["b", "c", "a"] {
        let made = custody.create_tenant(TenantSpec::new(name, ISSUER, "one-claim")).unwrap();
        assert_eq!((made.name.as_str(), made.state, made.created_secs), (name, TenantState::Active, dated::START_SECS));
    }
    let names: Vec<TenantName> = custody.tenants().unwrap().into_iter().map(|tenant| tenant.name).collect();
    assert_eq!(names.iter().map(TenantName::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(kind(custody.create_tenant(TenantSpec::new("a", ISSUER, "x"))), Some(ErrorKind::Conflict));

    let roots = LocalRoots::open(folder.path().join("keys")).unwrap();
    let shut = Strongroom::in_memory(roots, dated::Dated).clock(clock).open().unwrap();
    assert_eq!(kind(shut.custody(&dated::custodian())), Some(ErrorKind::Denied), "no service speaker, no custodian");
}

/// Says that a custodian's rights came by consent.
struct Consent(Arc<str>);

impl Verifier for Consent {
    fn verify(&self, _: &str, now_secs: u64) -> Result<Claims, Rejection> {
        Ok(Claims {
            issuer: ISSUER.to_owned(),
            tenant: "service".to_owned(),
            subject: "somebody".to_owned(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 600,
            roles: vec![],
            scopes: Some(vec![self.0.to_string()]),
        })
    }
}

#[test]
fn a_scope_makes_no_custodian() {
    let folder = tempfile::tempdir().unwrap();
    let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
    let verifier = Consent("strongroom.custodian".into());
    let room = Strongroom::in_memory(roots, verifier).service_speaker(ISSUER, "service").open().unwrap();
    assert_eq!(kind(room.custody("any")), Some(ErrorKind::Denied));
}
