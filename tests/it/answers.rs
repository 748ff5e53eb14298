//! What a service can answer to an error: when to come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::{
    CollectionDef, ErrorKind, LocalRoots, ManualClock, Policy, RootError, RootId, RootKeys, RootSet, Strongroom,
    TenantSpec, WrapContext, WrapSecret, Wrapped,
};

use crate::support::{CUSTODIAN, ISSUER, Plain, user};

const NOTES: CollectionDef<u64, u64> = CollectionDef::bincode("notes");

/// A key service that has had enough, and says for how long.
struct Busy {
    keys: LocalRoots,
    enough_for: Arc<Mutex<Option<Duration>>>,
}

impl Busy {
    fn check(&self) -> Result<(), RootError> {
        self.enough_for.lock().unwrap().map_or(Ok(()), |_| Err(RootError::Throttled))
    }
}

impl RootKeys for Busy {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.check().and_then(|()| self.keys.wrap(root, secret, context))
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.check().and_then(|()| self.keys.unwrap(root, wrapped, context))
    }

    fn is_external(&self, _: &RootId) -> bool {
        true
    }

    fn retry_after(&self, _: &RootId) -> Option<Duration> {
        *self.enough_for.lock().unwrap()
    }
}

#[test]
fn whoever_is_throttled_hears_for_how_long_the_key_service_has_had_enough() {
    let folder = tempfile::tempdir().unwrap();
    let enough_for = Arc::new(Mutex::new(None));
    let keys = LocalRoots::open_with_root(folder.path().join("theirs"), "customer").unwrap();
    let service = LocalRoots::open_with_root(folder.path().join("ours"), "service").unwrap();
    let busy = Busy { keys, enough_for: enough_for.clone() };
    let roots = RootSet::new().provider(["customer"], busy).unwrap().local(service).unwrap();
    *enough_for.lock().unwrap() = Some(Duration::from_secs(20));
    let asked_for = |root| roots.retry_after(&RootId::new(root).unwrap());
    assert_eq!(asked_for("customer"), Some(Duration::from_secs(20)));
    assert_eq!(asked_for("service"), None, "one customer's key service says nothing to others");
    *enough_for.lock().unwrap() = None;
    let clock = ManualClock::new(1_800_000_000_000);
    let room = Strongroom::in_memory(roots, Plain).service_speaker(ISSUER, "service").clock(clock.clone());
    let room = room.open().unwrap();
    let spec = TenantSpec::new("contoso", ISSUER, "contoso").policy(Policy::any_of([["customer"]]).unwrap());
    room.custody(CUSTODIAN).unwrap().create_tenant(spec).unwrap();
    let read = || room.session(&user("contoso"), "contoso")?.collection(&NOTES)?.get(&1);
    assert_eq!(read().unwrap(), None, "the control");

    *enough_for.lock().unwrap() = Some(Duration::from_secs(20));
    clock.advance(Duration::from_secs(2 * 3600));
    // The second is not asked any more, and hears the same.
    for _ in 0..2 {
        let error = read().unwrap_err();
        assert_eq!((error.kind(), error.http_status()), (ErrorKind::Throttled, 429));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
    }
    *enough_for.lock().unwrap() = None;
    clock.advance(Duration::from_secs(20));
    assert_eq!(read().unwrap(), None);
}
