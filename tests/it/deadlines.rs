//! When sessions end: by whichever clock gets there first, for every kind of handle, and never later.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::{
    Collection, CollectionDef, Custody, ErrorKind, ManualClock, Result, Scan, Session, Strongroom, WriteBatch,
};

use crate::dated::{self, EXPIRES_SECS, START_SECS};
use crate::support::ISSUER;

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const HOUR_SECS: u64 = 3600;

/// One handle of each kind, all made from one credential.
struct Handles {
    session: Session,
    notes: Collection<u64, Vec<u8>>,
    scan: Scan<u64, Vec<u8>>,
    batch: WriteBatch,
    custody: Custody,
}

fn store(folder: &Path) -> (Strongroom, Arc<ManualClock>) {
    let clock = dated::clock();
    let room = dated::in_memory(folder, &clock).open().unwrap();
    let custody = room.custody(&dated::custodian()).unwrap();
    custody.create_tenant(strongroom::TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
    let notes = room.session(&dated::user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
    for number in 0..10 {
        notes.put(&number, &vec![0; 1000]).unwrap();
    }
    (room, clock)
}

fn until(tenant: &str, roles: &str, expires_at_secs: u64) -> String {
    format!("{ISSUER}|{tenant}|{roles}|{expires_at_secs}")
}

impl Handles {
    /// The scan has given some rows and holds more of them in memory; the batch is full.
    fn make(room: &Strongroom, expires_at_secs: u64) -> Self {
        let session = room.session(&until("contoso", "read,write", expires_at_secs), "contoso").unwrap();
        let notes = session.collection(&NOTES).unwrap();
        let mut scan = notes.iter().unwrap();
        scan.by_ref().take(3).for_each(|row| drop(row.unwrap()));
        let batch = session.batch().put(&NOTES, &100, &vec![1]).unwrap();
        let custody = room.custody(&until("service", "custodian", expires_at_secs)).unwrap();
        Self { session, notes, scan, batch, custody }
    }

    /// What each kind of handle says when it is used; the same for all.
    fn outcome(mut self) -> Option<ErrorKind> {
        let kinds = [
            kind(self.session.collections()),
            kind(self.session.collection(&NOTES)),
            kind(self.session.clone().batch().delete(&NOTES, &1)),
            kind(self.notes.get(&1)),
            kind(self.notes.put(&1, &vec![1])),
            kind(self.notes.clone().iter()),
            kind(self.scan.next().unwrap()),
            kind(self.batch.commit()),
            kind(self.custody.tenants()),
            kind(self.custody.resume_tenant("contoso")),
        ];
        assert_eq!(kinds, [kinds[0]; 10]);
        if kinds[0].is_some() {
            assert!(self.scan.next().is_none(), "no row follows");
        }
        kinds[0]
    }
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// What handles made at the start say after `change` of the clocks.
fn after(expires_at_secs: u64, change: impl FnOnce(&ManualClock)) -> Option<ErrorKind> {
    let folder = tempfile::tempdir().unwrap();
    let (room, clock) = store(folder.path());
    let handles = Handles::make(&room, expires_at_secs);
    change(&clock);
    let outcome = handles.outcome();
    let fresh = until("contoso", "read", u64::MAX);
    let notes = room.session(&fresh, "contoso").unwrap().collection(&NOTES).unwrap();
    assert_eq!(notes.contains(&100).unwrap(), outcome.is_none(), "the batch, as it said");
    outcome
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn every_handle_ends_with_its_credential() {
    assert_eq!(after(EXPIRES_SECS, |_| {}), None);
    assert_eq!(after(EXPIRES_SECS, |clock| clock.advance(seconds(599))), None);
    assert_eq!(after(EXPIRES_SECS, |clock| clock.advance(seconds(600))), Some(ErrorKind::Closed));
    assert_eq!(after(START_SECS + 1, |clock| clock.advance(Duration::from_millis(999))), None);
    assert_eq!(after(START_SECS + 1, |clock| clock.advance(seconds(1))), Some(ErrorKind::Closed));
}

#[test]
fn every_handle_ends_after_an_hour_however_long_the_credential() {
    for expires_at_secs in [u64::MAX, u64::MAX / 1000, START_SECS + HOUR_SECS + 1] {
        assert_eq!(after(expires_at_secs, |clock| clock.advance(seconds(HOUR_SECS - 1))), None);
        assert_eq!(after(expires_at_secs, |clock| clock.advance(seconds(HOUR_SECS))), Some(ErrorKind::Closed));
    }
}

#[test]
fn the_wall_clock_alone_ends_every_handle() {
    let jump_to = |secs: u64| move |clock: &ManualClock| clock.set_wall_ms(secs * 1000);
    assert_eq!(after(EXPIRES_SECS, jump_to(EXPIRES_SECS - 1)), None);
    assert_eq!(after(EXPIRES_SECS, jump_to(EXPIRES_SECS)), Some(ErrorKind::Closed));
    assert_eq!(after(u64::MAX, jump_to(START_SECS + HOUR_SECS)), Some(ErrorKind::Closed));
}

#[test]
fn a_wall_clock_set_back_extends_nothing() {
    let back_then_on = |secs: u64| {
        move |clock: &ManualClock| {
            clock.set_wall_ms((START_SECS - 100_000) * 1000);
            clock.advance(seconds(secs));
        }
    };
    assert_eq!(after(EXPIRES_SECS, back_then_on(599)), None);
    assert_eq!(after(EXPIRES_SECS, back_then_on(600)), Some(ErrorKind::Closed), "the monotonic clock alone");
    assert_eq!(after(u64::MAX, back_then_on(HOUR_SECS)), Some(ErrorKind::Closed));
}

#[test]
fn no_part_of_a_second_is_given_away() {
    let folder = tempfile::tempdir().unwrap();
    let (room, clock) = store(folder.path());
    clock.advance(Duration::from_millis(900));
    let session = room.session(&until("contoso", "read", START_SECS + 2), "contoso").unwrap();
    clock.advance(Duration::from_millis(1099));
    assert_eq!(kind(session.collections()), None);
    clock.advance(Duration::from_millis(1));
    assert_eq!(kind(session.collections()), Some(ErrorKind::Closed));
}

#[test]
fn a_credential_that_has_ended_opens_no_door() {
    let folder = tempfile::tempdir().unwrap();
    let (room, clock) = store(folder.path());
    for expires_at_secs in [0, 1, START_SECS - 1, START_SECS] {
        assert_eq!(kind(room.session(&until("contoso", "read", expires_at_secs), "contoso")), Some(ErrorKind::Denied));
        assert_eq!(kind(room.home_session(&until("contoso", "read", expires_at_secs))), Some(ErrorKind::Denied));
        assert_eq!(kind(room.custody(&until("service", "custodian", expires_at_secs))), Some(ErrorKind::Denied));
    }
    clock.set_wall_ms(EXPIRES_SECS * 1000);
    assert_eq!(kind(room.session(&dated::user("contoso"), "contoso")), Some(ErrorKind::Denied));
}

#[test]
fn a_handle_made_late_ends_with_the_session_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let (room, clock) = store(folder.path());
    let session = room.session(&dated::user("contoso"), "contoso").unwrap();
    clock.advance(seconds(599));
    let notes = session.collection(&NOTES).unwrap();
    let mut scan = notes.clone().iter().unwrap();
    let batch = session.clone().batch().put(&NOTES, &100, &vec![]).unwrap();
    clock.advance(seconds(1));
    assert_eq!(kind(notes.get(&1)), Some(ErrorKind::Closed));
    assert_eq!(kind(scan.next().unwrap()), Some(ErrorKind::Closed));
    assert_eq!(kind(batch.commit()), Some(ErrorKind::Closed));
}
