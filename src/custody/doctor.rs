//! Looking a store over: what a custodian or an operator should know and nobody has asked for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Custody;
use crate::cells::Medium;
use crate::directory::{Status, Tenant};
use crate::error::Result;
use crate::kms::{RootCheck, RootId};

/// What has been found, the findings of each kind together. Names no tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// What was looked at, and how it is.
    pub findings: Vec<Finding>,
}

/// How one thing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub of: String,
    /// How grave it is.
    pub grade: Grade,
    /// What was found, and what to do about it.
    pub says: String,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Grade {
    /// As it should be.
    Good,
    /// Somebody should know.
    Notice,
    /// Somebody should act.
    Bad,
}

/// What was counted over all tenants.
#[derive(Default)]
struct Counts {
    tenants: usize,
    unequal: usize,
    damaged: usize,
    suspended: usize,
    deleting: usize,
    fenced: usize,
    changing: usize,
    proposals: usize,
    newest_secs: u64,
    roots: BTreeSet<RootId>,
}

impl Health {
    /// The gravest of all.
    #[must_use]
    pub fn worst(&self) -> Grade {
        self.findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Good)
    }

    fn add(&mut self, of: &str, grade: Grade, says: impl Into<String>) {
        self.findings.push(Finding { of: of.to_owned(), grade, says: says.into() });
    }

    /// Good if there is none of what `says` says.
    fn count(&mut self, of: &str, count: usize, grade: Grade, says: &str) {
        match count {
            0 => self.add(of, Grade::Good, "none"),
            _ => self.add(of, grade, format!("{count}: {says}")),
        }
    }
}

impl Custody {
    /// Proves a root key, and says what it allows: see [`RootCheck`]. Five calls.
    ///
    /// # Errors
    /// As the root key answers; [`Invalid`](crate::ErrorKind::Invalid) for a bad name.
    pub fn check_root(&self, root: &str) -> Result<RootCheck> {
        self.check()?;
        Ok(self.directory.check_root(&RootId::new(root)?)?)
    }

    /// Looks the whole store over: folders and file systems, every ring, escrow, root keys, what is unfinished, the clock.
    /// Reads every ring file and asks each root key once; changes nothing.
    ///
    /// # Errors
    /// Those of a custody that has ended, and of the store's own records. What is wrong with a part is a finding.
    pub fn doctor(&self) -> Result<Health> {
        self.check()?;
        let mut health = Health { findings: Vec::new() };
        let counts = self.count()?;
        self.look_at_folders(&mut health);
        look_at_tenants(&mut health, &counts);
        let stats = self.directory.stats();
        health.count(
            "cells",
            stats.cells.failed,
            Grade::Bad,
            "shut because they failed: see the log, then restore them",
        );
        health.count(
            "boxes to be wiped",
            stats.unclean_boxes,
            Grade::Notice,
            "of deleted tenants; a scan keeps them, and they are tried again",
        );
        #[cfg(feature = "backup")]
        match self.directory.uncovered()? {
            0 => health.add("escrow", Grade::Good, "the rings of all tenants are in one"),
            count => health.add("escrow", Grade::Bad, format!("the rings of {count} tenants are in none: export them")),
        }
        self.look_at_roots(&mut health, counts.roots)?;
        for connection in self.directory.connections() {
            let (grade, how) = if connection.is_tls { (Grade::Good, "TLS") } else { (Grade::Notice, "without TLS") };
            let says = format!("{}:{} for {}, {how}", connection.host, connection.port, connection.purpose);
            health.add(&format!("connection of {}", connection.provider), grade, says);
        }
        match self.clock.wall_ms() / 1000 {
            now if now < counts.newest_secs => {
                health.add("clock", Grade::Bad, "behind the newest tenant's making: somebody has set it back");
            }
            _ => health.add("clock", Grade::Good, "not behind what the store has seen"),
        }
        Ok(health)
    }

    fn count(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        counts.roots.extend(self.directory.store_roots()?);
        for tenant in self.directory.list() {
            self.check()?;
            self.count_one(&tenant, &mut counts)?;
        }
        Ok(counts)
    }

    fn count_one(&self, tenant: &Tenant, counts: &mut Counts) -> Result<()> {
        counts.tenants += 1;
        counts.newest_secs = counts.newest_secs.max(tenant.created_secs());
        match tenant.status() {
            Status::Active => {}
            Status::Suspended => counts.suspended += 1,
            Status::Destroying => {
                counts.deleting += 1;
                return Ok(());
            }
        }
        let keeping = tenant.keeping();
        counts.fenced += usize::from(tenant.fence().is_some());
        counts.changing += usize::from(keeping.next.is_some());
        counts.proposals += self.directory.charter(tenant)?.proposals.len();
        match self
            .directory
            .with_outline(tenant, |outline| outline.policy.roots().into_iter().cloned().collect::<Vec<_>>())
        {
            Ok(roots) => counts.roots.extend(roots),
            Err(_) => counts.damaged += 1,
        }
        counts.unequal += usize::from(!self.directory.slots_are_equal(tenant).unwrap_or(true));
        Ok(())
    }

    fn look_at_folders(&self, health: &mut Health) {
        let sites = self.directory.sites();
        if sites.is_empty() {
            health.add("folders", Grade::Notice, "none: the store is in memory, and gone when it is closed");
        }
        for site in sites {
            let name = site
                .region
                .as_ref()
                .map_or("folder of the store".to_owned(), |name| format!("folder of region {name}"));
            match site.is_open_to_others() {
                Ok(false) => health.add(&name, Grade::Good, "for its owner alone"),
                Ok(true) => health.add(&name, Grade::Bad, "open to others than its owner: chmod go= it"),
                Err(error) => health.add(&name, Grade::Bad, format!("cannot be looked at: {}", error.kind())),
            }
            let of = format!("medium of the {name}");
            match site.medium() {
                Medium::InPlace(kind) => health.add(&of, Grade::Good, format!("{kind}, which writes over ring slots in place")),
                Medium::Copies(kind) => health.add(
                    &of,
                    Grade::Notice,
                    format!("{kind}, which may keep ring slots that were overwritten: only the death of their root versions destroys them"),
                ),
                Medium::Unknown => health.add(&of, Grade::Notice, "of a kind of which it is not known whether it writes in place"),
            }
        }
    }

    fn look_at_roots(&self, health: &mut Health, roots: BTreeSet<RootId>) -> Result<()> {
        for root in roots {
            self.check()?;
            let of = format!("root {}", root.as_str());
            match self.directory.newest_version(&root) {
                Ok(version) => health.add(&of, Grade::Good, format!("answers; its newest version is {version}")),
                Err(error) => health.add(&of, Grade::Bad, error.to_string()),
            }
        }
        Ok(())
    }
}

fn look_at_tenants(health: &mut Health, counts: &Counts) {
    let Counts {
        tenants,
        unequal,
        damaged,
        suspended,
        deleting,
        fenced,
        changing,
        proposals,
        newest_secs: _,
        roots: _,
    } = counts;
    health.add("tenants", Grade::Good, format!("{tenants}"));
    health.count("rings in damage", *damaged, Grade::Bad, "rings that cannot be read: restore their cells");
    let twins = "rings whose two slots differ: one was damaged or a change was cut short; it is mended when the ring is next used";
    health.count("slots that differ", *unequal, Grade::Notice, twins);
    health.count("suspended", *suspended, Grade::Notice, "tenants that nobody can sign in to");
    health.count("deletions", *deleting, Grade::Bad, "not finished: the next opening of the store goes on with them");
    health.count("fences", *fenced, Grade::Notice, "tenants whose root keys were refused or withdrawn");
    health.count("epochs under way", *changing, Grade::Notice, "changes of epoch that are not finished");
    health.count("proposals", *proposals, Grade::Notice, "open, for custodians to apply or withdraw");
}
