//! Root keys in local files of a folder that goes with them, and that fail when they are told to.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::kms::{Call, LocalRoots, RootDescription, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};

pub(super) struct Roots {
    keys: LocalRoots,
    failing: Mutex<Option<RootError>>,
    /// Removed with the last handle of the store, which may outlive the world.
    folder: TempDir,
}

impl Roots {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("strongroom-testing-")
            .tempdir()
            .map_err(|error| Error::io("no temporary folder can be made", error))?;
        let keys = LocalRoots::open_with_root(folder.path().join("keys"), "service")?;
        Ok(Self { keys, failing: Mutex::new(None), folder })
    }

    pub(super) fn make(&self, root: &RootId) -> Result<String> {
        self.keys.generate(root)
    }

    pub(super) fn fail(&self, error: Option<RootError>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Where the keys are, for the tests of who removes it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn check(&self) -> Result<(), RootError> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

impl RootKeys for Roots {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.check()?;
        self.keys.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.check()?;
        self.keys.unwrap(root, wrapped, context)
    }

    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        self.check()?;
        self.keys.describe(root, call)
    }

    fn locations(&self) -> Vec<&Path> {
        vec![self.folder()]
    }
}
