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
    /// Writes down the calls that have ended since this was last called. Those that cannot be written are counted, and the
    /// trail of the store tells how many they were as soon as it can be written.
    pub(crate) fn write_calls(&self) {
        let Calls { ended, untold } = self.register.take_calls();
        if ended.is_empty() && untold == 0 {
            return;
        }
        let mut left = untold;
        let all = ended.iter().map(|call| (self.trail_of(call.incarnation), event(call)));
        if self.apply(Batch::new(Durability::Buffered), all).is_err() {
            // One by one: a trail that was tampered with is no reason to be silent in the others.
            left += ended.iter().map(|call| u64::from(self.write_call(call).is_err())).sum::<u64>();
        }
        if left > 0 {
            let missing = Event::new(Act::ROOT_KEY_ASKED, Actor::Store).detail("calls not recorded", left);
            if let Err(error) = self.record(self.of_store(), missing, Durability::Buffered) {
                tracing::error!(left, %error, "calls of root keys could not be written to the audit trail");
                self.register.leave_untold(left);
            }
        }
    }

    fn write_call(&self, call: &RootCall) -> Result<()> {
        let record = |trail| self.record(trail, event(call), Durability::Buffered);
        record(self.trail_of(call.incarnation)).or_else(|_| record(self.of_store()))
    }

    /// What was asked for nobody who has a trail (a key was proven, a tenant is only being made) is the store's business.
    fn trail_of(&self, incarnation: Option<Incarnation>) -> Incarnation {
        let own = incarnation.filter(|incarnation| self.is_empty(*incarnation).is_ok_and(|is_empty| !is_empty));
        own.unwrap_or_else(|| self.of_store())
    }
}

fn event(call: &RootCall) -> Event {
    let outcome = if call.outcome == "allowed" { Outcome::Done } else { Outcome::Failed };
    let event = Event::new(Act::ROOT_KEY_ASKED, Actor::Store).outcome(outcome);
    let event = event.detail("call", call.id).detail("root", call.root.as_str());
    event.detail("operation", call.operation).detail("answer", call.outcome)
}
