//! What the trails say of tenants that come and go. A tenant's own trail tells its life; that of the store tells which
//! tenants there were, and by which incarnation the trail of one is found that has gone.

use super::{Directory, Incarnation, Row, Tenant};
use crate::audit::{Act, Actor, Event, Trails};

/// An event, and in whose trail it stands.
pub(super) type Entry = (Incarnation, Event);

impl Directory {
    pub(crate) fn trails(&self) -> &Trails {
        &self.trails
    }

    /// Tenants made together have one entry in the trail of the store.
    pub(super) fn entries_of_making(&self, rows: &[Row], by: &Actor) -> Vec<Entry> {
        let made = |row: &Row| {
            let event = Event::new(Act::TENANT_MADE, by.clone()).detail("tenant", &row.name);
            let region = row.region.as_ref();
            (row.incarnation, region.map_or(event.clone(), |region| event.detail("region", region)))
        };
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Vec::new() };
        let event = Event::new(Act::TENANT_MADE, by.clone());
        let event = match rows.len() {
            1 => event.detail("tenant", &first.name).detail("incarnation", hex(first.incarnation)),
            count => event.detail("tenants", count).detail("first", &first.name).detail("last", &last.name),
        };
        rows.iter().map(made).chain([(self.register.store_id(), event)]).collect()
    }

    pub(super) fn entries_of_deletion(&self, row: &Row, by: &Actor, because: Option<&'static str>) -> Vec<Entry> {
        let event = Event::new(Act::TENANT_DELETED, by.clone()).detail("tenant", &row.name);
        let event = because.map_or(event.clone(), |because| event.detail("because", because));
        let of_store = event.clone().detail("incarnation", hex(row.incarnation));
        vec![(row.incarnation, event), (self.register.store_id(), of_store)]
    }

    /// Records that came back are a matter of the tenant whose they were, too.
    #[cfg(feature = "backup")]
    pub(super) fn entries_of_restore(&self, tenant: &Tenant, comes_from: &super::ComesFrom<'_>) -> Vec<Entry> {
        let &super::ComesFrom { original, backup, by } = comes_from;
        let event = Event::new(Act::TENANT_RESTORED, by.clone()).detail("tenant", tenant.name());
        let event = event
            .detail("backup", backup)
            .detail("incarnation", hex(tenant.incarnation()))
            .detail("original", hex(original));
        [tenant.incarnation(), original, self.register.store_id()].map(|trail| (trail, event.clone())).into()
    }

    pub(super) fn entry_of(tenant: &Tenant, act: Act, by: &Actor) -> Entry {
        (tenant.incarnation(), Event::new(act, by.clone()))
    }
}

fn hex(incarnation: Incarnation) -> String {
    format!("{incarnation:?}")
}
