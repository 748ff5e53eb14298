//! Root keys whose calls are remembered until they are written down: whoever asks one out of this process leaves a trace,
//! whatever the reason was, and cannot forget to.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Call, CallId, Connection, RootDescription, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::name::Incarnation;

/// Calls that are remembered at once. More are counted only: they are many because somebody's network fails, and memory
/// is not to fill up for it.
const CALLS_MAX: usize = 4096;

/// The root keys of a store.
pub(crate) struct Witnessed {
    roots: Arc<dyn RootKeys>,
    calls: Mutex<Calls>,
}

/// Calls that have not been written down yet.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// In the order in which they ended.
    pub(crate) ended: Vec<RootCall>,
    /// Those that there was no room for, or that could not be written.
    pub(crate) untold: u64,
}

/// One call of a root key out of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootCall {
    pub(crate) id: CallId,
    /// Whose ring it was for; none if the root key was only asked what it is.
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) root: RootId,
    pub(crate) operation: &'static str,
    /// `allowed`, or how it was not.
    pub(crate) outcome: &'static str,
}

impl Witnessed {
    pub(crate) fn new(roots: Arc<dyn RootKeys>) -> Arc<Self> {
        Arc::new(Self { roots, calls: Mutex::default() })
    }

    /// What has been called since this was last asked.
    pub(crate) fn take_calls(&self) -> Calls {
        std::mem::take(&mut self.calls())
    }

    /// Counts calls that could not be written down.
    pub(crate) fn leave_untold(&self, calls: u64) {
        self.calls().untold += calls;
    }

    fn witness<T>(
        &self,
        operation: &'static str,
        root: &RootId,
        incarnation: Option<Incarnation>,
        call: &Call,
        ask: impl FnOnce() -> Result<T, RootError>,
    ) -> Result<T, RootError> {
        let answer = ask();
        if self.roots.is_external(root) {
            let outcome = answer.as_ref().map_or_else(|error| error.label(), |_| "allowed");
            let mut calls = self.calls();
            if calls.ended.len() < CALLS_MAX {
                calls.ended.push(RootCall { id: call.id(), incarnation, root: root.clone(), operation, outcome });
            } else {
                calls.untold += 1;
            }
        }
        answer
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootKeys for Witnessed {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        let trail = Some(context.incarnation());
        self.witness("wrap", root, trail, context.call(), || self.roots.wrap(root, secret, context))
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        let trail = Some(context.incarnation());
        self.witness("unwrap", root, trail, context.call(), || self.roots.unwrap(root, wrapped, context))
    }

    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        self.witness("describe", root, None, call, || self.roots.describe(root, call))
    }

    fn connections(&self) -> Vec<Connection> {
        self.roots.connections()
    }

    fn is_external(&self, root: &RootId) -> bool {
        self.roots.is_external(root)
    }

    fn retry_after(&self, root: &RootId) -> Option<Duration> {
        self.roots.retry_after(root)
    }

    fn locations(&self) -> Vec<&Path> {
        self.roots.locations()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::LocalRoots;

    /// Local keys that pretend to be elsewhere.
    struct Elsewhere(LocalRoots);

    impl RootKeys for Elsewhere {
        fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
            self.0.wrap(root, secret, context)
        }

        fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
            self.0.unwrap(root, wrapped, context)
        }

        fn is_external(&self, root: &RootId) -> bool {
            root.as_str() == "far"
        }
    }

    #[test]
    fn what_leaves_the_process_is_remembered_once_and_what_stays_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalRoots::open_with_root(folder.path().join("keys"), "near").unwrap();
        let far = RootId::new("far").unwrap();
        local.generate(&far).unwrap();
        let roots = Witnessed::new(Arc::new(Elsewhere(local)));
        let secret = WrapSecret::from_slice(&[7; 32]).unwrap();
        let context = |root: &RootId| WrapContext::new([1; 16], root.clone(), 1, Call::new().unwrap());
        let near = RootId::new("near").unwrap();
        roots.wrap(&near, &secret, &context(&near)).unwrap();
        let asked = context(&far);
        let wrapped = roots.wrap(&far, &secret, &asked).unwrap();
        let other = WrapContext::new([2; 16], far.clone(), 1, Call::new().unwrap());
        assert!(roots.unwrap(&far, &wrapped, &other).is_err());
        let calls = roots.take_calls().ended;
        let told: Vec<_> = calls.iter().map(|call| (call.id, call.operation, call.outcome)).collect();
        assert_eq!(told, [(asked.call().id(), "wrap", "allowed"), (other.call().id(), "unwrap", "tampered")]);
        assert_eq!(roots.take_calls().ended, []);
        for _ in 0..=CALLS_MAX {
            drop(roots.unwrap(&far, &wrapped, &asked));
        }
        let calls = roots.take_calls();
        assert_eq!((calls.ended.len(), calls.untold), (CALLS_MAX, 1));
    }
}
