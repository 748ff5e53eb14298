//! The same test on both engines.

use strongroom::{Session, Strongroom};

use crate::support::{self, user};

/// Runs `test` on a store in memory and on one on disk, each with the tenants `contoso` and `fabrikam`.
pub fn on_both(test: impl Fn(&Strongroom)) {
    for builder in [support::in_memory, support::on_disk] {
        let folder = tempfile::tempdir().unwrap();
        let room = builder(folder.path()).open().unwrap();
        support::make_tenants(&room, &["contoso", "fabrikam"]);
        test(&room);
    }
}

/// Runs `test` with a session of a tenant without records, on both engines.
pub fn with_session(test: impl Fn(&Session)) {
    on_both(|room| test(&room.session(&user("contoso"), "contoso").unwrap()));
}
