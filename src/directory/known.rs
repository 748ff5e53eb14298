//! The tenants in memory: found by name, by who speaks for them, and by where they live.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use super::placement::Placement;
use super::row::Speaker;
use super::tenant::Tenant;

/// Every tenant of the store. There may be very many, so what finds them holds no copy of what they hold.
#[derive(Default)]
pub(super) struct Known {
    pub(super) placement: Placement,
    tenants: HashSet<ByName>,
    /// By the hash of a speaker; those found are asked whether they have it.
    by_speaker: HashMap<u64, Vec<Arc<Tenant>>>,
    hasher: RandomState,
}

/// A tenant under its name.
struct ByName(Arc<Tenant>);

impl Known {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(name).map(|ByName(tenant)| tenant)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.iter().map(|ByName(tenant)| tenant)
    }

    pub(super) fn len(&self) -> usize {
        self.tenants.len()
    }

    pub(super) fn of_speaker<'k>(&'k self, speaker: &'k Speaker) -> impl Iterator<Item = &'k Arc<Tenant>> {
        let found = self.by_speaker.get(&self.hasher.hash_one(speaker)).map_or(&[][..], Vec::as_slice);
        found.iter().filter(|tenant| tenant.speakers().contains(speaker))
    }

    pub(super) fn insert(&mut self, tenant: Arc<Tenant>) {
        for speaker in tenant.speakers() {
            let found = self.by_speaker.entry(self.hasher.hash_one(speaker)).or_insert_with(|| Vec::with_capacity(1));
            // Two speakers of one tenant could have one hash, and it is one tenant still.
            if !found.iter().any(|known| Arc::ptr_eq(known, &tenant)) {
                found.push(tenant.clone());
            }
        }
        self.tenants.insert(ByName(tenant));
    }

    pub(super) fn remove(&mut self, tenant: &Tenant) {
        self.tenants.remove(tenant.name().as_str());
        for speaker in tenant.speakers() {
            let hash = self.hasher.hash_one(speaker);
            if let Some(found) = self.by_speaker.get_mut(&hash) {
                found.retain(|known| known.incarnation() != tenant.incarnation());
                if found.is_empty() {
                    self.by_speaker.remove(&hash);
                }
            }
        }
    }
}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.name().as_str()
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().as_str().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ByName {}
