//! The catalogs of active tenants, with their keys: as many as are worth their memory, however many tenants come by.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::catalog::Catalog;
use crate::directory::{Directory, Tenant};
use crate::error::Result;
use crate::name::Incarnation;

/// One catalog for all sessions of a tenant, while there is one and for a while after.
pub(crate) struct Catalogs {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    seats: HashMap<Incarnation, Seat>,
    /// In the order in which they are looked at when one has to go.
    queue: VecDeque<Incarnation>,
}

struct Seat {
    catalog: Arc<Catalog>,
    /// Whether it was asked for since it was last looked at.
    is_warm: bool,
}

/// How many are looked at, at most, to find one that can go.
const LOOKS: usize = 64;

impl Catalogs {
    /// Keeps `limit` catalogs, and those of tenants who have more sessions than that.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::default() }
    }

    /// The catalog of a tenant, opened if it is not.
    pub(crate) fn get(&self, directory: &Arc<Directory>, tenant: &Arc<Tenant>) -> Result<Arc<Catalog>> {
        if let Some(seat) = self.lock().seats.get_mut(&tenant.incarnation()) {
            seat.is_warm = true;
            return Ok(seat.catalog.clone());
        }
        let catalog = Arc::new(Catalog::open(directory.clone(), tenant.clone())?);
        let mut held = self.lock();
        if held.seats.len() >= self.limit {
            held.let_one_go();
        }
        // Somebody else may have opened it meanwhile: one for all sessions.
        if let Some(seat) = held.seats.get(&tenant.incarnation()) {
            return Ok(seat.catalog.clone());
        }
        held.queue.push_back(tenant.incarnation());
        held.seats.insert(tenant.incarnation(), Seat { catalog: catalog.clone(), is_warm: false });
        Ok(catalog)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Drops a catalog that nobody has a session of, and that was not asked for since it was last looked at; its
    /// tenant's keys go with it.
    fn let_one_go(&mut self) {
        for _ in 0..LOOKS.min(self.queue.len()) {
            let Some(incarnation) = self.queue.pop_front() else { return };
            let Some(seat) = self.seats.get_mut(&incarnation) else { continue };
            if !seat.is_warm && Arc::strong_count(&seat.catalog) == 1 {
                seat.catalog.tenant().forget_keys();
                self.seats.remove(&incarnation);
                return;
            }
            seat.is_warm = false;
            self.queue.push_back(incarnation);
        }
    }
}
