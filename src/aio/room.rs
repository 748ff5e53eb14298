//! The front door.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::lanes::Lane;
use super::turns::{Floor, Pace};
use super::{Limits, Session};
use crate::error::Result;
use crate::strongroom::{self, Admission};

/// A store for async callers. A cheap handle: `Clone`, `Send`, `Sync`, `'static`. Every method works within a Tokio runtime
/// only, of whichever kind.
#[derive(Clone)]
pub struct Strongroom {
    room: strongroom::Strongroom,
    floor: Arc<Floor>,
}

impl Strongroom {
    /// Takes a store that is open. Whoever goes on using `room` itself shares the store, and none of the limits.
    #[must_use]
    pub fn new(room: strongroom::Strongroom, limits: Limits) -> Self {
        Self { room, floor: Floor::new(&limits) }
    }

    /// Opens a session of `tenant` for the bearer of `credential`.
    ///
    /// # Errors
    /// As [`Strongroom::session`](crate::Strongroom::session); [`Throttled`](crate::ErrorKind::Throttled) if thousands wait to
    /// sign in.
    pub async fn session(&self, credential: &str, tenant: &str) -> Result<Session> {
        let tenant = tenant.to_owned();
        self.admit(credential, move |room, credential| room.identify(credential, &tenant)).await
    }

    /// Opens a session of the tenant that the credential itself speaks for.
    ///
    /// # Errors
    /// As [`Strongroom::home_session`](crate::Strongroom::home_session).
    pub async fn home_session(&self, credential: &str) -> Result<Session> {
        self.admit(credential, strongroom::Strongroom::identify_at_home).await
    }

    /// Does anything else with the store, on a thread that may block: acts of custody, for instance. No more than 32 at once;
    /// what is beyond it waits.
    ///
    /// # Errors
    /// Those of `work`.
    ///
    /// # Panics
    /// As `work` does.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&strongroom::Strongroom) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let room = self.room.clone();
        self.floor.aside.run((), move || work(&room)).await
    }

    /// The store itself.
    #[must_use]
    pub fn blocking(&self) -> &strongroom::Strongroom {
        &self.room
    }

    /// How many operations of sessions are on a thread, or next in line for one, and hold a permit of their tenant's.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.floor.under_way()
    }

    /// Ends every session, collection and scan of this store at its next step, and lets go of this handle where that may
    /// block. The store is put away, and its folder free, when the last handle of it is gone: drop the router and whatever else
    /// has clones first, and call this last.
    pub async fn close(self) {
        let Self { room, floor } = self;
        room.clone().close();
        // Beside everything that has lanes and may fill them.
        let lane = Lane::new(1);
        let let_go = lane.run((), move || {
            drop((room, floor));
            Ok(())
        });
        // It fails only where there is no runtime any more, and has then let go here.
        drop(let_go.await);
    }

    async fn admit(
        &self,
        credential: &str,
        identify: impl FnOnce(&strongroom::Strongroom, &str) -> Result<Admission> + Send + 'static,
    ) -> Result<Session> {
        let (room, credential) = (self.room.clone(), Zeroizing::new(credential.to_owned()));
        let identified = self.floor.door.run((), move || {
            let admission = identify(&room, &credential)?;
            // In the same turn, where nobody has to be waited for.
            match admission.is_at_hand() {
                true => Ok(Identified::In(room.admit(admission)?)),
                false => Ok(Identified::Waits(admission)),
            }
        });
        let session = match identified.await? {
            Identified::In(session) => session,
            Identified::Waits(admission) => {
                let (room, turn) = (self.room.clone(), self.floor.turn(admission.tenant()));
                turn.run(Pace::Reads, move || room.admit(admission)).await?
            }
        };
        Ok(Session::new(session, &self.floor))
    }
}

/// How far somebody has come whose credential was good.
enum Identified {
    In(crate::session::Session),
    Waits(Admission),
}

impl std::fmt::Debug for Strongroom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Strongroom").field("under_way", &self.under_way()).finish_non_exhaustive()
    }
}
