//! The acts on audit trails, of the service's custodians and of a tenant's own.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Line;
use super::answer::Done;
use crate::audit::{Recorded, Verified, VerifierKey};
use crate::custody::{Custody, TenantCustody, Trail};
use crate::error::{Error, Result};

/// How much of a trail goes into one line of an answer, in bytes; the rest of a line of the trail beyond it.
const PART_LEN: usize = 32 << 10;

/// Whose trail is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrailName {
    /// The store's own.
    Store,
    /// That of the tenant of this name.
    Tenant(String),
    /// That of a tenant who may be gone, by its incarnation (32 hex digits).
    Incarnation(String),
}

/// What may be asked of a trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum AuditAct {
    /// Some of its events. Answered with [`Done::Events`].
    Events {
        /// The number of the first.
        from: u64,
        /// At most so many, and at most 1,000.
        limit: usize,
    },
    /// Whether it is what it should be. Answered with [`Done::Trail`].
    Verify {
        /// A checkpoint of it that was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        earlier: Option<String>,
    },
    /// All of it, in [`Reply::Part`](super::Reply::Part)s: together the file that
    /// [`verify_export`](crate::audit::verify_export) reads. Answered with [`Done::Checkpoint`].
    Export,
    /// Its signed head. Answered with [`Done::Checkpoint`].
    Checkpoint,
    /// Whose signature its checkpoints bear. Answered with [`Done::VerifierKey`].
    Key,
}

/// A trail that is what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailVerdict {
    /// Which trail of which store.
    pub origin: String,
    /// How many events it has.
    pub size: u64,
    /// The size of the earlier checkpoint out of which it has grown, if one was given.
    pub grown_from: Option<u64>,
}

/// A trail behind one of the two doors.
pub(super) trait Reads {
    fn events(&self, from: u64, limit: usize) -> Result<Vec<Recorded>>;
    fn verify(&self, earlier: Option<&str>) -> Result<Verified>;
    fn export(&self, out: &mut dyn Write) -> Result<String>;
    fn checkpoint(&self) -> Result<String>;
    fn key(&self) -> Result<VerifierKey>;
}

impl Reads for TenantCustody {
    fn events(&self, from: u64, limit: usize) -> Result<Vec<Recorded>> {
        self.audit_events(from, limit)
    }

    fn verify(&self, earlier: Option<&str>) -> Result<Verified> {
        self.audit_verify(earlier)
    }

    fn export(&self, out: &mut dyn Write) -> Result<String> {
        self.audit_export(out)
    }

    fn checkpoint(&self) -> Result<String> {
        self.audit_checkpoint()
    }

    fn key(&self) -> Result<VerifierKey> {
        self.audit_key()
    }
}

impl Reads for (&Custody, Trail<'_>) {
    fn events(&self, from: u64, limit: usize) -> Result<Vec<Recorded>> {
        self.0.audit_events(self.1, from, limit)
    }

    fn verify(&self, earlier: Option<&str>) -> Result<Verified> {
        self.0.audit_verify(self.1, earlier)
    }

    fn export(&self, out: &mut dyn Write) -> Result<String> {
        self.0.audit_export(self.1, out)
    }

    fn checkpoint(&self) -> Result<String> {
        self.0.audit_checkpoint(self.1)
    }

    fn key(&self) -> Result<VerifierKey> {
        self.0.audit_key(self.1)
    }
}

impl TrailName {
    pub(super) fn borrow(&self) -> Trail<'_> {
        match self {
            Self::Store => Trail::Store,
            Self::Tenant(name) => Trail::Tenant(name),
            Self::Incarnation(hex) => Trail::Incarnation(hex),
        }
    }
}

impl AuditAct {
    pub(super) fn run(self, trail: &dyn Reads, line: &mut Line<'_>) -> Result<Done> {
        match self {
            Self::Events { from, limit } => {
                let shown = |recorded: Recorded| {
                    let read = serde_json::from_str::<Value>(&recorded.line()?);
                    read.map_err(|source| Error::internal("an event cannot be shown").with_source(source))
                };
                trail.events(from, limit)?.into_iter().map(shown).collect::<Result<Vec<_>>>().map(Done::Events)
            }
            Self::Verify { earlier } => {
                let Verified { origin, size, grown_from, .. } = trail.verify(earlier.as_deref())?;
                Ok(Done::Trail(TrailVerdict { origin, size, grown_from }))
            }
            Self::Export => export(line, |out| trail.export(out)),
            Self::Checkpoint => trail.checkpoint().map(Done::Checkpoint),
            Self::Key => trail.key().map(|key| Done::VerifierKey(key.to_string())),
        }
    }

    /// Checks that the trail is there and may be read. Reading changes nothing but that an export stands in it.
    pub(super) fn plan(&self, trail: &dyn Reads) -> Result<()> {
        match self {
            Self::Verify { earlier } => trail.verify(earlier.as_deref()).map(drop),
            _ => trail.events(0, 0).map(drop),
        }
    }
}

/// Sends a trail in parts, as `write` writes it.
pub(super) fn export(line: &mut Line<'_>, write: impl FnOnce(&mut dyn Write) -> Result<String>) -> Result<Done> {
    let mut parts = Parts { line, text: Vec::with_capacity(2 * PART_LEN) };
    let checkpoint = write(&mut parts)?;
    parts.send(0).map_err(|source| Error::io("the trail cannot be sent", source))?;
    Ok(Done::Checkpoint(checkpoint))
}

/// Cuts what is written into parts of whole lines.
struct Parts<'p, 's> {
    line: &'p mut Line<'s>,
    text: Vec<u8>,
}

impl Parts<'_, '_> {
    /// Sends all whole lines, if there are more than so many bytes.
    fn send(&mut self, more_than: usize) -> io::Result<()> {
        let end = self.text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if end > more_than {
            let part = String::from_utf8(self.text.drain(..end).collect()).map_err(io::Error::other)?;
            self.line.part(part).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Write for Parts<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        self.send(PART_LEN)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
