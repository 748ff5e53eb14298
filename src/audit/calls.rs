//! Calls of root keys, each in the trail of the tenant whose ring it was for, under the correlation id that the log of
//! the key service has too. Written when they have ended, and not synced: calls of the last second before the process is
//! killed may be in the log of the key service alone.

use super::act::Act;
use super::event::{Actor, Event, Outcome};
use super::trails::Trails;
use crate::engine::{Batch, Durability};
use crate::error::Result;
use crate::kms::{Calls, RootCall};
use crate::name::Incarnation;

impl Trails {
    /// Writes down the calls that have ended since this was last called.
    pub(crate) fn write_calls(&self) {
        let Calls { ended, untold } = self.register.take_calls();
        if ended.is_empty() && untold == 0 {
            return;
        }
        let count = ended.len();
        if let Err(error) = self.write_ended(ended, untold) {
            tracing::error!(count, %error, "calls of root keys could not be written to the audit trail");
        }
    }

    fn write_ended(&self, ended: Vec<RootCall>, untold: u64) -> Result<()> {
        let entry = |call: RootCall| Ok((self.trail_of(call.incarnation)?, event(&call)));
        let mut entries = ended.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
        if untold > 0 {
            let event = Event::new(Act::ROOT_KEY_ASKED, Actor::Store).detail("calls not recorded", untold);
            entries.push((self.of_store(), event));
        }
        self.apply(Batch::new(Durability::Buffered), entries)
    }

    /// What was asked for nobody who has a trail (a key was proven, a tenant is only being made) is the store's business.
    fn trail_of(&self, incarnation: Option<Incarnation>) -> Result<Incarnation> {
        match incarnation {
            Some(incarnation) if !self.is_empty(incarnation)? => Ok(incarnation),
            _ => Ok(self.of_store()),
        }
    }
}

fn event(call: &RootCall) -> Event {
    let outcome = if call.outcome == "allowed" { Outcome::Done } else { Outcome::Failed };
    let event = Event::new(Act::ROOT_KEY_ASKED, Actor::Store).outcome(outcome);
    let event = event.detail("call", call.id).detail("root", call.root.as_str());
    event.detail("operation", call.operation).detail("answer", call.outcome)
}
