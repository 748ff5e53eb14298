//! The async face: the same store, without a thread that waits.

mod doors;
mod dropped;
mod others;
mod same;

use std::path::Path;
use std::time::Duration;

use strongroom::{CollectionDef, aio};

use crate::support::{make_tenants, on_disk, user};

/// Counters and notes of the tests, in an order.
pub const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();

/// A store on disk with two tenants, for async callers.
pub fn open(folder: &Path, limits: aio::Limits) -> aio::Strongroom {
    let room = on_disk(folder).open().unwrap();
    if room.session(&user("contoso"), "contoso").is_err() {
        make_tenants(&room, &["contoso", "fabrikam"]);
    }
    aio::Strongroom::new(room, limits)
}

pub async fn notes(room: &aio::Strongroom, tenant: &str) -> aio::Collection<u64, Vec<u8>> {
    room.session(&user(tenant), tenant).await.unwrap().collection(&NOTES).await.unwrap()
}

/// Waits until nothing is under way any more.
pub async fn at_rest(room: &aio::Strongroom) {
    for _ in 0..1_000 {
        if room.under_way() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} operations are under way for ever", room.under_way());
}
