//! Reading a trail: page by page, held against its head, and as an export.

use std::io::Write;

use super::checkpoint::Checkpoint;
use super::event::Event;
use super::line;
use super::offline::{Growth, LastLine, Verified};
use super::trails::{EVENTS, Row, Trails, tampered};
use crate::error::{Error, Result};
use crate::name::Incarnation;

/// Events read at once.
const PAGE_MAX: usize = 1000;

/// An event, and where it stands in its trail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Its number, counted from 0.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
    /// The bytes whose hash is a leaf of the trail's tree.
    pub leaf: Vec<u8>,
}

impl Recorded {
    /// The event as it stands in an export: one line of JSON, without its end.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorKind::Internal), which is a defect.
    pub fn line(&self) -> Result<String> {
        line::render(self.sequence, &self.event, &self.leaf)
    }
}

impl Trails {
    /// The events of a trail from `from` on, at most `limit` and at most 1,000 of them. None: there are no more.
    pub(crate) fn events(&self, trail: Incarnation, from: u64, limit: usize) -> Result<Vec<Recorded>> {
        let size = self.head(trail)?.size();
        let end = from.saturating_add(limit.min(PAGE_MAX) as u64).min(size);
        let read = |sequence| {
            let leaf = self.leaf(trail, sequence)?;
            Ok(Recorded { sequence, event: Event::decode(&leaf)?, leaf })
        };
        (from..end).map(read).collect()
    }

    /// Holds a trail against its head, event by event, and against a checkpoint that was kept, if one is given.
    ///
    /// # Errors
    /// `Tampered` and `Corrupt` with a word on what is wrong; `Invalid` if `earlier` is no checkpoint of this trail.
    pub(crate) fn verify(&self, trail: Incarnation, earlier: Option<&str>) -> Result<Verified> {
        let (head, view) = self.head_and_view(trail)?;
        let growth = self.read(trail, &head, earlier, |_, _| Ok(()))?;
        let mut rows = 0;
        EVENTS.for_each(&*view, &*self.register.ring()?, &[trail.as_bytes()], |_: Row| {
            rows += 1;
            Ok(())
        })?;
        if rows != head.size() {
            return Err(tampered(format!("the trail has {rows} events, and its head counts {}", head.size())));
        }
        growth.finish(&head, true)
    }

    /// Writes a trail as lines of JSON, with its signed checkpoint in the last one. Returns that checkpoint.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and `Unavailable` if `out` fails. What was written then has no last line.
    pub(crate) fn export(&self, trail: Incarnation, out: &mut dyn Write) -> Result<String> {
        let note = self.checkpoint(trail)?;
        let head = Checkpoint::open(&note, &self.verifier_key(trail)?)?;
        let failed = |source| Error::io("the exported trail cannot be written", source);
        let growth = self.read(trail, &head, None, |sequence, leaf| {
            let line = line::render(sequence, &Event::decode(leaf)?, leaf)?;
            writeln!(out, "{line}").map_err(failed)
        })?;
        growth.finish(&head, true)?;
        let last = serde_json::to_string(&LastLine { checkpoint: note.clone() });
        let last = last.map_err(|source| Error::internal("a checkpoint cannot be written").with_source(source))?;
        writeln!(out, "{last}").and_then(|()| out.flush()).map_err(failed)?;
        Ok(note)
    }

    /// Hands every event that `head` counts to `each`.
    fn read(
        &self,
        trail: Incarnation,
        head: &Checkpoint,
        earlier: Option<&str>,
        mut each: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<Growth> {
        let key = self.verifier_key(trail)?;
        let mut growth = Growth::from(earlier.map(|note| Checkpoint::open(note, &key)).transpose()?)?;
        for sequence in 0..head.size() {
            let leaf = self.leaf(trail, sequence)?;
            each(sequence, &leaf)?;
            growth.push(&leaf)?;
        }
        Ok(growth)
    }
}
