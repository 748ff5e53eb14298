//! Moving many tenants to the newest version of a root key.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Custody;
use crate::clock::Deadline;
use crate::directory::{Moved, Pace, Tenant};
use crate::error::{Error, ErrorKind, Result};
use crate::kms::RootId;
use crate::name::TenantName;

/// A run over every tenant whose policy names a root key.
#[must_use = "a rotation does nothing until a custodian runs it"]
pub struct RootRotation<'p> {
    root: String,
    per_second: u32,
    progress: Box<dyn FnMut(usize, usize) + 'p>,
    stop: Box<dyn FnMut() -> bool + 'p>,
}

/// What a run has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RotationReport {
    /// The root key.
    pub root: RootId,
    /// Its version under which they are now.
    pub version: String,
    /// Tenants that have been moved to it.
    pub moved: Vec<TenantName>,
    /// Tenants that were there already.
    pub already: usize,
    /// Tenants that stay in their epoch, and why: not all their root keys can be reached, or somebody else changed their
    /// keys meanwhile. The next run tries them again.
    pub left: Vec<(TenantName, ErrorKind)>,
}

/// Counts what has moved, and waits where tenants per second are limited.
struct Run<'r, 'p> {
    custody: &'r Custody,
    rotation: RootRotation<'p>,
    report: RotationReport,
    seen: usize,
    total: usize,
}

impl<'p> RootRotation<'p> {
    /// Tenants that depend on `root` move to its newest version, and the store itself if it does.
    pub fn new(root: impl Into<String>) -> Self {
        Self { root: root.into(), per_second: u32::MAX, progress: Box::new(|_, _| {}), stop: Box::new(|| false) }
    }

    /// At most so many tenants in a second; as many as possible unless said otherwise.
    pub fn per_second(mut self, tenants: u32) -> Self {
        self.per_second = tenants.max(1);
        self
    }

    /// Called with how many of the store's tenants have been looked at, and how many there are.
    pub fn on_progress(mut self, progress: impl FnMut(usize, usize) + 'p) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Asked, as often as `on_progress` is called, whether to stop. The run is [`Closed`](ErrorKind::Closed) then, and the
    /// same call goes on where it stopped.
    pub fn stop_when(mut self, stop: impl FnMut() -> bool + 'p) -> Self {
        self.stop = Box::new(stop);
        self
    }
}

impl Custody {
    /// Moves every tenant whose policy names a root key to a new epoch under the newest version of its root keys. Each
    /// tenant's policy stays as it is, no record is touched, and a tenant whose root keys cannot all be reached stays in
    /// its epoch and is listed. After a crash, or an error, the same call goes on where it stopped.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a bad name; as the root key answers;
    /// [`Closed`](crate::ErrorKind::Closed) when the credential expires in between. Each tenant is then either moved or
    /// not.
    pub fn rotate_root(&self, rotation: RootRotation<'_>) -> Result<RotationReport> {
        self.check()?;
        let root = RootId::new(rotation.root.clone())?;
        let version = self.directory.newest_version(&root)?;
        let report = RotationReport { root, version, moved: Vec::new(), already: 0, left: Vec::new() };
        let total = self.directory.stats().tenants;
        let mut run = Run { custody: self, rotation, report, seen: 0, total };
        let (root, version) = (run.report.root.clone(), run.report.version.clone());
        self.directory.move_to_newest(&root, &version, &self.identity.actor(), &mut run)?;
        Ok(run.report)
    }
}

impl Pace for Run<'_, '_> {
    fn together(&self) -> usize {
        self.rotation.per_second as usize
    }

    fn moved(&mut self, seen: usize, tenants: &[(Arc<Tenant>, Moved)]) -> Result<()> {
        for (tenant, moved) in tenants {
            match moved {
                Moved::Now => self.report.moved.push(tenant.name().clone()),
                Moved::Before => self.report.already += 1,
                Moved::Not(error) => self.report.left.push((tenant.name().clone(), error.kind())),
            }
        }
        self.seen += seen;
        (self.rotation.progress)(self.seen, self.total);
        if (self.rotation.stop)() {
            return Err(Error::new(ErrorKind::Closed, "the rotation was stopped; the same call goes on from there"));
        }
        self.custody.check()
    }

    fn wait(&self, since: Deadline) {
        while !since.has_passed(&*self.custody.clock) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl std::fmt::Debug for RootRotation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootRotation")
            .field("root", &self.root)
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}
