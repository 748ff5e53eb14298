//! The desk of custodians: what it reads, what it answers, who is refused, and who disturbs whom.

mod access;
mod keys;
mod purges;

use std::cell::Cell;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use strongroom::desk::{self, Act, CustodyDesk, Done, Extent, REQUEST_MAX_LEN, Reply, Request, Seal, TenantAct};
use strongroom::{ErrorKind, LocalRoots, Policy, RootId, Rules, Strongroom, TenantSpec, TenantState};
use tempfile::TempDir;

use crate::support::{self, CUSTODIAN, ISSUER, user};

/// Everything that a desk answers to these bytes.
fn replies(desk: &CustodyDesk, request: &[u8]) -> Vec<Reply> {
    let mut lines = Vec::new();
    let take = &mut |line: &[u8]| {
        assert!(line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'), "one line each");
        lines.push(Reply::parse(line).unwrap());
        Ok(())
    };
    desk.handle(request, take).unwrap();
    let (last, before) = lines.split_last().expect("a last line");
    assert!(
        !matches!(last, Reply::Progress(_))
            && before.iter().all(|line| matches!(line, Reply::Progress(_) | Reply::Part(_)))
    );
    lines
}

fn refusal(desk: &CustodyDesk, request: &[u8]) -> Option<ErrorKind> {
    match replies(desk, request).pop() {
        Some(Reply::Error(refusal)) => Some(refusal.kind),
        _ => None,
    }
}

fn ask(desk: &CustodyDesk, act: Act) -> Result<Done, ErrorKind> {
    ask_as(desk, CUSTODIAN, act, false)
}

fn ask_as(desk: &CustodyDesk, token: &str, act: Act, dry_run: bool) -> Result<Done, ErrorKind> {
    let request = Request::new(token, act).unwrap().dry_run(dry_run).to_json().unwrap();
    match replies(desk, &request).pop() {
        Some(Reply::Done(done)) => Ok(done),
        Some(Reply::Error(refusal)) => Err(refusal.kind),
        _ => unreachable!("asserted in replies"),
    }
}

fn suspend(name: &str) -> Act {
    Act::SuspendTenant { name: name.to_owned() }
}

fn in_memory() -> (TempDir, Strongroom) {
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso", "fabrikam"]);
    (folder, room)
}

#[test]
fn each_act_on_tenants_does_what_the_door_does() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let spec = TenantSpec::new("adatum", ISSUER, "adatum").speaker("https://other.example", "a");
    let Ok(Done::Tenant(made)) = ask(&desk, Act::CreateTenant(spec)) else { panic!("made") };
    assert_eq!((made.name.as_str(), made.state, made.speakers.len()), ("adatum", TenantState::Active, 2));
    assert_eq!(ask(&desk, suspend("adatum")), Ok(Done::Acknowledged));
    assert_eq!(room.session(&user("adatum"), "adatum").unwrap_err().kind(), ErrorKind::Denied);
    let Ok(Done::Tenant(shown)) = ask(&desk, Act::ShowTenant { name: "adatum".into() }) else { panic!("shown") };
    assert_eq!(shown.state, TenantState::Suspended);
    let Ok(Done::Status(status)) = ask(&desk, Act::Status) else { panic!("status") };
    assert_eq!((status.stats.tenants, status.suspended, status.deleting), (3, 1, 0));
    assert_eq!(ask(&desk, Act::ResumeTenant { name: "adatum".into() }), Ok(Done::Acknowledged));
    room.session(&user("adatum"), "adatum").unwrap();
    assert_eq!(ask(&desk, Act::DeleteTenant { name: "adatum".into() }), Ok(Done::Acknowledged));
    assert_eq!(ask(&desk, Act::ShowTenant { name: "adatum".into() }), Err(ErrorKind::NotFound));
    let Ok(Done::Tenants(tenants)) = ask(&desk, Act::ListTenants) else { panic!("listed") };
    assert_eq!(tenants, room.custody(CUSTODIAN).unwrap().tenants().unwrap());
    let Ok(Done::Identity(identity)) = ask(&desk, Act::WhoAmI) else { panic!("who") };
    assert_eq!((identity.speaker.tenant.as_str(), identity.subject.as_str()), ("service", "somebody"));
}

#[test]
fn who_is_no_custodian_of_the_service_gets_nothing_done() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let strangers =
        [user("contoso"), format!("{ISSUER}|contoso|custodian"), format!("{ISSUER}|service|read"), "x".into()];
    for token in strangers {
        for dry_run in [false, true] {
            for act in [Act::WhoAmI, Act::Status, Act::ListTenants, suspend("contoso"), suspend("nobody")] {
                assert_eq!(ask_as(&desk, &token, act, dry_run), Err(ErrorKind::Denied), "{token}");
            }
        }
    }
    room.session(&user("contoso"), "contoso").expect("nobody has suspended it");
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let before = room.custody(CUSTODIAN).unwrap().tenants().unwrap();
    let plan = |act| match ask_as(&desk, CUSTODIAN, act, true) {
        Ok(Done::Planned(changes)) => Ok(changes),
        Ok(other) => panic!("{other:?}"),
        Err(kind) => Err(kind),
    };
    let changes = plan(suspend("contoso")).unwrap();
    assert_eq!((changes[0].of.as_str(), changes[0].is_final), ("tenant contoso", false));
    assert_eq!((changes[0].from.as_deref(), changes[0].to.as_deref()), (Some("active"), Some("suspended")));
    assert!(plan(Act::DeleteTenant { name: "contoso".into() }).unwrap()[0].is_final);
    assert_eq!(plan(Act::ResumeTenant { name: "contoso".into() }), Ok(vec![]), "it is active");
    assert_eq!(plan(Act::CreateTenant(TenantSpec::new("adatum", ISSUER, "adatum"))).unwrap().len(), 1);
    assert_eq!(plan(Act::CreateTenant(TenantSpec::new("contoso", ISSUER, "x"))), Err(ErrorKind::Conflict));
    assert_eq!(plan(Act::CreateTenant(TenantSpec::new("Adatum", ISSUER, "x"))), Err(ErrorKind::Invalid));
    assert_eq!(plan(Act::CreateTenant(TenantSpec::new("a", ISSUER, "x").region("eu"))), Err(ErrorKind::Invalid));
    assert_eq!(plan(suspend("nobody")), Err(ErrorKind::NotFound));
    assert_eq!(plan(Act::ListTenants), Ok(vec![]));
    assert_eq!(room.custody(CUSTODIAN).unwrap().tenants().unwrap(), before);
    assert_eq!(ask(&desk, suspend("contoso")), Ok(Done::Acknowledged), "the control");
    assert_ne!(room.custody(CUSTODIAN).unwrap().tenants().unwrap(), before);
}

#[test]
fn requests_are_read_strictly() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let good = format!(r#"{{"version":1,"token":"{CUSTODIAN}","act":"list_tenants"}}"#);
    assert_eq!(refusal(&desk, good.as_bytes()), None, "the control");
    let padded = format!("{good}{}", " ".repeat(REQUEST_MAX_LEN - good.len()));
    assert_eq!(refusal(&desk, padded.as_bytes()), None, "the longest");
    let other = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        changed
    };
    let hostile = [
        String::new(),
        "null".to_owned(),
        "[".repeat(1000),
        good[..good.len() - 1].to_owned(),
        format!("{good}{good}"),
        format!("{padded} "),
        other("\"version\":1,", ""),
        other("\"version\":1", "\"version\":2"),
        other("\"version\":1", "\"version\":\"1\""),
        other("\"version\":1", "\"version\":1,\"version\":1"),
        other("{\"version\"", "{\"more\":0,\"version\""),
        other("\"act\":", "\"dry_run\":\"yes\",\"act\":"),
        other("\"list_tenants\"", "\"LIST_TENANTS\""),
        other("\"list_tenants\"", "{\"suspend_tenant\":{\"name\":\"contoso\",\"more\":1}}"),
        other("\"list_tenants\"", "{\"suspend_tenant\":{\"name\":\"a\"},\"resume_tenant\":{\"name\":\"a\"}}"),
        other("\"list_tenants\"", "{\"suspend_tenant\":{\"name\":\"contoso\",\"name\":\"fabrikam\"}}"),
        other(
            "\"list_tenants\"",
            "{\"create_tenant\":{\"name\":\"a\",\"speakers\":[{\"issuer\":\"i\",\"tenant\":\"t\",\"x\":1}]}}",
        ),
        other("https", "\\u0068ttps"),
    ];
    for request in &hostile {
        assert_eq!(refusal(&desk, request.as_bytes()), Some(ErrorKind::Invalid), "{request:.100}");
    }
    assert_eq!(refusal(&desk, &[0xff; 100]), Some(ErrorKind::Invalid));
    room.session(&user("contoso"), "contoso").expect("nobody has suspended it");
}

#[test]
fn no_token_is_shown_to_anybody() {
    let (_folder, room) = in_memory();
    let request = Request::new("secret-token", suspend("contoso")).unwrap();
    assert!(!format!("{request:?}").contains("secret"), "{request:?}");
    let sealed = Seal::Passphrase(desk::Secret::new("secret passphrase").unwrap());
    assert!(!format!("{sealed:?}").contains("secret"), "{sealed:?}");
    for text in ["a\"b", "a\\b", "a\nb"] {
        assert_eq!(desk::Secret::new(text).unwrap_err().kind(), ErrorKind::Invalid);
    }
    // A token in the wrong place is not repeated in the answer.
    let desk = room.custody_desk();
    for request in [r#"{"version":1,"act":"secret-token"}"#, r#"{"version":1,"secret-token":1}"#] {
        let mut answer = Vec::new();
        desk.handle(request.as_bytes(), &mut |line| answer.write_all(line)).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("Invalid") && !answer.contains("secret"), "{answer}");
    }
}

/// The same, and its root keys.
fn with_roots() -> (TempDir, Strongroom, Arc<LocalRoots>) {
    let folder = tempfile::tempdir().unwrap();
    let roots = Arc::new(LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap());
    let room = Strongroom::in_memory(roots.clone(), support::Plain).service_speaker(ISSUER, "service").open().unwrap();
    support::make_tenants(&room, &["contoso", "fabrikam"]);
    (folder, room, roots)
}

#[test]
fn a_tenants_own_custodians_act_through_their_own_door() {
    let (_folder, room, roots) = with_roots();
    roots.generate(&RootId::new("second").unwrap()).unwrap();
    let desk = room.custody_desk();
    let act = |act| Act::ForTenant { tenant: "contoso".into(), act };
    let token = format!("{ISSUER}|contoso|custodian");
    let ask = |wanted, dry_run| ask_as(&desk, &token, act(wanted), dry_run);
    for stranger in [CUSTODIAN.to_owned(), user("contoso"), format!("{ISSUER}|fabrikam|custodian")] {
        for dry_run in [false, true] {
            assert_eq!(ask_as(&desk, &stranger, act(TenantAct::RotateKeys), dry_run), Err(ErrorKind::Denied));
        }
    }
    assert!(matches!(ask(TenantAct::WhoAmI, false), Ok(Done::Identity(who)) if who.speaker.tenant == "contoso"));
    assert_eq!(ask(TenantAct::RotateKeys, false), Ok(Done::Generation(2)));
    let policy = || Policy::any_of([["service"], ["second"]]).unwrap();
    let propose = || TenantAct::ProposePolicy { policy: policy(), reason: "two are better".into() };
    let Ok(Done::Planned(changes)) = ask(propose(), true) else { panic!("planned") };
    assert_eq!(changes[0].of, "proposal 1 of tenant contoso");
    assert_eq!(ask(TenantAct::Apply { proposal: 1 }, true), Err(ErrorKind::NotFound), "nothing was proposed");
    assert_eq!(ask(propose(), false), Ok(Done::Proposed(1)));
    let Ok(Done::Planned(changes)) = ask(TenantAct::Apply { proposal: 1 }, true) else { panic!("planned") };
    assert!(changes[0].to.as_ref().is_some_and(|to| to.contains("second")), "{changes:?}");
    let before = ask(TenantAct::Keys, false).unwrap();
    for quiet in [TenantAct::RotateRoots, TenantAct::RotateKeys, TenantAct::Withdraw { proposal: 1 }] {
        assert!(matches!(ask(quiet, true), Ok(Done::Planned(changes)) if changes.len() == 1));
    }
    assert_eq!(ask(TenantAct::Keys, false).unwrap(), before, "dry runs change nothing");
    assert_eq!(ask(TenantAct::Apply { proposal: 1 }, false), Ok(Done::Acknowledged));
    let Ok(Done::Keys(keys)) = ask(TenantAct::Keys, false) else { panic!("keys") };
    assert_eq!((keys.policy, keys.epoch, keys.generations.len()), (policy(), 2, 2));
    assert_eq!(ask(TenantAct::RotateRoots, false), Ok(Done::Acknowledged));
    assert_eq!(ask(TenantAct::Proposals, false), Ok(Done::Proposals(vec![])));
    let rules = || TenantAct::ProposeRules { rules: Rules::default().two_custodians(true), reason: "four eyes".into() };
    assert_eq!(ask(rules(), false), Ok(Done::Proposed(2)));
    assert_eq!(ask(TenantAct::Withdraw { proposal: 2 }, false), Ok(Done::Acknowledged));
    assert_eq!(ask(TenantAct::Rules, false), Ok(Done::Rules(Rules::default())));
    room.session(&user("contoso"), "contoso").unwrap().collections().unwrap();
}

#[test]
fn tenants_move_to_a_new_version_of_a_root_over_the_desk() {
    let (_folder, room, roots) = with_roots();
    let desk = room.custody_desk();
    let rotate = || Act::RotateRoot { root: "service".into(), per_second: None };
    roots.generate(&RootId::new("service").unwrap()).unwrap();
    assert!(matches!(ask_as(&desk, CUSTODIAN, rotate(), true), Ok(Done::Planned(changes)) if changes.len() == 2));
    let Ok(Done::Rotated(report)) = ask(&desk, rotate()) else { panic!("rotated") };
    assert_eq!((report.moved.len(), report.already, report.left.len()), (2, 0, 0));
    let Ok(Done::Rotated(report)) = ask(&desk, rotate()) else { panic!("rotated") };
    assert_eq!((report.moved.len(), report.already), (0, 2));
}

/// A store on disk whose desk has the folder `vault`.
fn on_disk() -> (TempDir, Strongroom, CustodyDesk) {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso", "fabrikam"]);
    fs::create_dir(folder.path().join("vault")).unwrap();
    let desk = room.custody_desk().folder("vault", folder.path().join("vault")).unwrap();
    let desk = desk.folder("backups", folder.path().join("backups")).unwrap();
    (folder, room, desk)
}

fn export(folder: &str, file: &str) -> Act {
    let recipient = strongroom::backup::EscrowKey::generate().1;
    Act::ExportRings { folder: folder.into(), file: file.into(), seal: Seal::Recipients(vec![recipient]) }
}

fn back_up(folder: &str) -> Act {
    Act::Backup { folder: folder.into(), of: Extent::Store, escrow_never: false, accept_gaps: false }
}

/// Every path below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { [tree(&path), vec![path]].concat() } else { vec![path] }).collect();
    all.sort();
    all
}

#[test]
fn files_are_reached_by_the_names_of_folders_and_never_replaced() {
    let (folder, room, desk) = on_disk();
    let before = tree(folder.path());
    let (up, inside) = ("../rings.age", "keys/rings.age");
    for (place, name, kind) in [
        ("vault", up, ErrorKind::Invalid),
        ("vault", inside, ErrorKind::Invalid),
        ("vault", ".rings", ErrorKind::Invalid),
        ("vault", "", ErrorKind::Invalid),
        ("/tmp", "rings.age", ErrorKind::NotFound),
        ("../vault", "rings.age", ErrorKind::NotFound),
        ("elsewhere", "rings.age", ErrorKind::NotFound),
    ] {
        assert_eq!(ask(&desk, export(place, name)), Err(kind), "{place} {name}");
    }
    assert_eq!(ask(&room.custody_desk(), export("vault", "rings.age")), Err(ErrorKind::NotFound), "no folder is named");
    assert_eq!(ask(&desk, back_up(folder.path().to_str().unwrap())), Err(ErrorKind::NotFound));
    assert_eq!(tree(folder.path()), before, "nothing was made");
    assert!(matches!(ask(&desk, export("vault", "rings.age")), Ok(Done::Exported(_))), "the control");
    let escrow = fs::read(folder.path().join("vault/rings.age")).unwrap();
    assert_eq!(ask(&desk, export("vault", "rings.age")), Err(ErrorKind::Conflict));
    assert_eq!(fs::read(folder.path().join("vault/rings.age")).unwrap(), escrow, "as it was");
    assert!(room.custody_desk().folder("a/b", "/tmp").is_err() && desk.folder("vault", "/tmp").is_err());
}

#[test]
fn backups_are_made_listed_verified_and_restored_over_the_desk() {
    let (folder, room, desk) = on_disk();
    assert_eq!(ask(&desk, Act::ListBackups { folder: "backups".into() }), Err(ErrorKind::NotFound));
    assert_eq!(ask(&desk, back_up("backups")), Err(ErrorKind::Invalid), "no escrow");
    let dry = |act| ask_as(&desk, CUSTODIAN, act, true);
    assert_eq!(dry(back_up("backups")), Err(ErrorKind::Invalid), "no escrow");
    assert!(matches!(dry(export("vault", "rings.age")), Ok(Done::Planned(_))));
    assert!(matches!(ask(&desk, export("vault", "rings.age")), Ok(Done::Exported(_))), "the dry run took no name");
    let before = tree(folder.path());
    assert!(matches!(dry(back_up("backups")), Ok(Done::Planned(_))));
    assert_eq!(tree(folder.path()), before);
    let request = Request::new(CUSTODIAN, back_up("backups")).unwrap().to_json().unwrap();
    let lines = replies(&desk, &request);
    let Some(Reply::Done(Done::BackedUp(report))) = lines.last() else { panic!("{lines:?}") };
    assert_eq!((lines.len() as u64 - 1, report.number), (report.files, 1), "one line of progress for each file");
    let Ok(Done::Backups(list)) = ask(&desk, Act::ListBackups { folder: "backups".into() }) else { panic!("list") };
    assert_eq!(list.len(), 1);
    let verify = |number| ask(&desk, Act::VerifyBackup { folder: "backups".into(), number });
    assert!(matches!(verify(None), Ok(Done::Verified(verified)) if verified.files == report.files));
    assert_eq!(verify(Some(2)), Err(ErrorKind::NotFound));
    let restore = |name: &str| Act::RestoreTenant {
        folder: "backups".into(),
        number: None,
        tenant: "contoso".into(),
        name: name.into(),
    };
    assert_eq!(dry(restore("fabrikam")), Err(ErrorKind::Conflict));
    assert!(matches!(dry(restore("again")), Ok(Done::Planned(_))));
    assert_eq!(room.custody(CUSTODIAN).unwrap().tenants().unwrap().len(), 2);
    assert!(matches!(ask(&desk, restore("again")), Ok(Done::Tenant(_))));
}

#[test]
fn a_backup_stops_when_nobody_listens_and_the_next_goes_on() {
    let (folder, _room, desk) = on_disk();
    ask(&desk, export("vault", "rings.age")).unwrap();
    let request = Request::new(CUSTODIAN, back_up("backups")).unwrap().to_json().unwrap();
    let heard = Cell::new(0);
    let gone = desk.handle(&request, &mut |_| {
        heard.set(heard.get() + 1);
        if heard.get() < 3 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    });
    assert_eq!((gone.unwrap_err().kind(), heard.get()), (io::ErrorKind::BrokenPipe, 3), "nothing after it");
    assert!(fs::read_dir(folder.path().join("backups/backups")).unwrap().next().is_none(), "no backup was made");
    assert!(matches!(ask(&desk, back_up("backups")), Ok(Done::BackedUp(report)) if report.number == 1));
}

fn over(path: &Path, act: Act) -> Result<Done, ErrorKind> {
    let request = Request::new(CUSTODIAN, act).unwrap();
    desk::ask(path, &request, |_| {}).map_err(|error| error.kind())
}

/// Sends bytes and returns all that comes back.
fn send(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

#[test]
fn a_socket_is_its_owners_alone_and_gone_with_its_guard() {
    let (folder, room) = in_memory();
    let path = folder.path().join("custody.sock");
    let before = tree(folder.path());
    let socket = room.custody_desk().serve_unix(&path).unwrap();
    assert_eq!((fs::metadata(&path).unwrap().mode() & 0o777, socket.path()), (0o600, path.as_path()));
    assert!(matches!(over(&path, Act::ListTenants), Ok(Done::Tenants(tenants)) if tenants.len() == 2));
    assert_eq!(room.custody_desk().serve_unix(&path).unwrap_err().kind(), ErrorKind::Conflict, "a living one");
    assert!(matches!(over(&path, Act::ListTenants), Ok(Done::Tenants(_))), "which is not disturbed");
    drop(socket);
    assert_eq!(tree(folder.path()), before, "nothing is left");
    assert_eq!(over(&path, Act::ListTenants), Err(ErrorKind::Unavailable));
}

#[test]
fn a_dead_socket_is_replaced_and_what_is_no_socket_is_not() {
    let (folder, room) = in_memory();
    let path = folder.path().join("custody.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead one");
    fs::create_dir(folder.path().join(".custody.sock.new")).unwrap();
    drop(UnixListener::bind(folder.path().join(".custody.sock.new/s")).unwrap());
    drop(room.custody_desk().serve_unix(&path).unwrap());
    fs::write(&path, "precious").unwrap();
    assert_eq!(room.custody_desk().serve_unix(&path).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    let serve_in = |mode: u32| {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        room.custody_desk().serve_unix(&path).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(serve_in(0o770), Err(ErrorKind::Invalid), "others may put a socket of theirs there");
    assert_eq!(serve_in(0o1777), Ok(()), "as in /tmp");
    assert_eq!(serve_in(0o700), Ok(()));
    let nowhere = folder.path().join("x".repeat(100));
    assert_eq!(room.custody_desk().serve_unix(nowhere).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_token_is_not_sent_to_a_socket_that_others_can_reach() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trap.sock");
    let trap = UnixListener::bind(&path).unwrap();
    trap.set_nonblocking(true).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(over(&path, Act::WhoAmI), Err(ErrorKind::Denied));
    assert_eq!(trap.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
}

#[test]
fn who_sends_nonsense_too_much_or_nothing_disturbs_nobody() {
    let (folder, room) = in_memory();
    let path = folder.path().join("custody.sock");
    let socket = room.custody_desk().serve_unix(&path).unwrap();
    let slow: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(b"{\"version\":1,").unwrap();
            stream
        })
        .collect();
    let answers = std::thread::scope(|scope| {
        let honest: Vec<_> =
            (0..16).map(|_| scope.spawn(|| (0..5).filter(|_| over(&path, Act::ListTenants).is_ok()).count())).collect();
        for _ in 0..5 {
            for nonsense in [&[0xff; 1000][..], b"{}", b"{}\n{}\n", &vec![b' '; REQUEST_MAX_LEN + 2]] {
                let answer = send(&path, nonsense);
                assert!(answer.contains("Invalid"), "{answer}");
            }
            assert_eq!(send(&path, b""), "");
        }
        honest.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(answers, 80);
    drop(socket);
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the end, and no wait for it");
    }
}

#[test]
fn more_connections_than_there_are_places_are_told_so() {
    let (folder, room) = in_memory();
    let path = folder.path().join("custody.sock");
    let _socket = room.custody_desk().serve_unix(&path).unwrap();
    let mut held: Vec<UnixStream> = (0..64).map(|_| UnixStream::connect(&path).unwrap()).collect();
    assert_eq!(over(&path, Act::ListTenants), Err(ErrorKind::Throttled));
    held.pop();
    let again = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        over(&path, Act::ListTenants).is_ok()
    });
    assert!(again, "a place is free again");
}
