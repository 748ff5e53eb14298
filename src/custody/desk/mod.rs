//! The desk: custody of a running service, as requests and answers in JSON.
//!
//! A key custodian often has no shell where the store is open. A [`CustodyDesk`] is one request handler for all acts of
//! custody: the service mounts it behind its own HTTPS with [`handle`](CustodyDesk::handle), on a Unix socket of its
//! owner's with [`serve_unix`](CustodyDesk::serve_unix), or calls it in its own process. Each request carries the
//! custodian's own token, which is verified for that one act and forgotten with it; the service itself needs no
//! right, and gives none.
//!
//! ```text
//! {"version":1,"token":"eyJ..","act":{"suspend_tenant":{"name":"contoso"}},"dry_run":true}
//!
//! {"progress":{"of":"files","done":3,"total":10}}            any number of these, of acts that take long
//! {"part":".."}                                              and of these, of answers that are long
//! {"done":{"planned":[{"of":"tenant contoso", ..}]}}         then exactly one of these
//! {"error":{"kind":"Denied","message":".."}}                 or of these
//! ```
//!
//! A request has at most [`REQUEST_MAX_LEN`] bytes, and is read strictly. `dry_run` (which may be left out) checks the
//! token, its rights and the act, says what would change, and changes nothing; root keys are not asked. The names of
//! errors are those of [`ErrorKind`], and mean the same.
//!
//! Behind HTTPS, in whatever framework, with a body that is sent as it comes:
//!
//! ```
//! use std::io::{self, Write};
//! use strongroom::desk::CustodyDesk;
//!
//! /// `POST /custody`, at most `REQUEST_MAX_LEN` bytes, answered with `application/jsonl` and status 200.
//! fn post(desk: &CustodyDesk, body: &[u8], answer: &mut impl Write) -> io::Result<()> {
//!     desk.handle(body, &mut |line| {
//!         answer.write_all(line)?;
//!         answer.flush()
//!     })
//! }
//! ```
//!
//! Mind there: TLS always, since the body holds a token; a limit on the rate of requests, since each costs the
//! verification of a signature; and that proxies log no bodies.
//!
//! What a stolen token of a custodian is good for is what that custodian may do, and no more: over the desk there are
//! no paths. Acts on files name one of the folders that the service's own configuration has given a name
//! ([`CustodyDesk::folder`]), files in them are made and never replaced, and without such folders these acts are refused.

mod access_act;
mod act;
mod answer;
mod audit_act;
mod client;
mod folders;
mod purge_act;
#[cfg(feature = "backup")]
mod safekeeping;
mod socket;
mod tenant_act;
mod wire;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use access_act::AccessAct;
pub use act::Act;
#[cfg(feature = "backup")]
pub use act::{Extent, Seal, Unseal};
pub use answer::{Change, Done, GenerationVerdict, Identity, PurgeRun, Status};
pub use audit_act::{AuditAct, TrailName, TrailVerdict};
pub use client::ask;
use folders::Folders;
pub use purge_act::PurgedAct;
pub use socket::DeskSocket;
pub use tenant_act::TenantAct;
pub use wire::{Progress, REQUEST_MAX_LEN, Refusal, Reply, Request, Secret, VERSION};

use super::{Custody, PurgedTenant, TenantCustody};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// A request handler for custodians. A cheap handle; made by [`Strongroom::custody_desk`], and keeps the store open as
/// long as it lives.
///
/// [`Strongroom::custody_desk`]: crate::Strongroom::custody_desk
#[derive(Clone)]
pub struct CustodyDesk {
    doors: Arc<dyn Doors>,
    clock: Arc<dyn Clock>,
    folders: Folders,
}

/// The doors that a desk leads to: the very same that everybody else goes through.
pub(crate) trait Doors: Send + Sync {
    fn custody(&self, credential: &str) -> Result<Custody>;
    fn tenant_custody(&self, credential: &str, tenant: &str) -> Result<TenantCustody>;
    fn purged_tenant(&self, credential: &str, tenant: &str) -> Result<PurgedTenant>;
}

/// Where replies go, until one does not arrive.
struct Line<'s> {
    sink: &'s mut dyn FnMut(&[u8]) -> io::Result<()>,
    /// Whether the desk is being closed: who works long stops at the next step.
    is_closing: &'s dyn Fn() -> bool,
    failure: Option<io::Error>,
}

impl CustodyDesk {
    pub(crate) fn new(doors: Arc<dyn Doors>, clock: Arc<dyn Clock>) -> Self {
        Self { doors, clock, folders: Folders::default() }
    }

    /// Opens a folder of this machine to acts on escrows and backups, under a name of 1 to 63 bytes by the rule of
    /// [`TenantName`](crate::TenantName). May be called several times.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad name, or one that is taken.
    pub fn folder(mut self, name: &str, path: impl AsRef<Path>) -> Result<Self> {
        self.folders.add(name, path.as_ref())?;
        Ok(self)
    }

    /// Answers one request: hands `reply` any number of lines of progress and exactly one last line, each a [`Reply`] in
    /// JSON with a line feed at its end.
    ///
    /// When `reply` fails, what takes long stops at its next step, with what that leaves as after any failure of the act;
    /// nothing more is handed over. `request` holds a token: whoever made the buffer wipes it.
    ///
    /// # Errors
    /// Those of `reply`. That an act is refused is an answer, and no error.
    pub fn handle(&self, request: &[u8], reply: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.handle_unless(request, reply, &|| false)
    }

    fn handle_unless(
        &self,
        request: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
        is_closing: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let mut line = Line { sink, is_closing, failure: None };
        let last = match self.answer(request, &mut line) {
            Ok(done) => Reply::Done(done),
            Err(error) => Reply::Error(Refusal::of(&error)),
        };
        line.end(&last)
    }

    fn answer(&self, request: &[u8], line: &mut Line<'_>) -> Result<Done> {
        let Request { token, act, dry_run, .. } = Request::parse(request)?;
        let credential = token.expose_secret();
        match act {
            Act::ForTenant { tenant, act } => {
                let custody = self.doors.tenant_custody(credential, &tenant)?;
                drop(token);
                if dry_run { act.plan(&custody).map(Done::Planned) } else { act.run(&custody, line) }
            }
            Act::ForPurgedTenant { tenant, act } => {
                let purged = self.doors.purged_tenant(credential, &tenant)?;
                drop(token);
                if dry_run { act.plan(&purged).map(Done::Planned) } else { act.run(&purged, line) }
            }
            act => {
                let (custody, folders) = (self.doors.custody(credential)?, &self.folders);
                drop(token);
                if dry_run { act.plan(&custody, folders).map(Done::Planned) } else { act.run(&custody, folders, line) }
            }
        }
    }
}

impl Line<'_> {
    /// Tells how far an act has come.
    ///
    /// # Errors
    /// `Closed` if nobody listens any more.
    fn tell(&mut self, progress: Progress) -> Result<()> {
        self.send(&Reply::Progress(progress))
    }

    /// Hands over the next piece of a long answer; errors as [`tell`](Self::tell).
    fn part(&mut self, part: String) -> Result<()> {
        self.send(&Reply::Part(part))
    }

    fn send(&mut self, reply: &Reply) -> Result<()> {
        if self.failure.is_none() && !(self.is_closing)() {
            self.failure = (self.sink)(&reply.to_line()).err();
        }
        if self.failure.is_some() || (self.is_closing)() {
            return Err(Error::new(ErrorKind::Closed, "whoever asked is no longer there, or the desk is being closed"));
        }
        Ok(())
    }

    fn end(self, last: &Reply) -> io::Result<()> {
        match self.failure {
            Some(failure) => Err(failure),
            None => (self.sink)(&last.to_line()),
        }
    }
}

impl std::fmt::Debug for CustodyDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CustodyDesk").field("folders", &self.folders).finish_non_exhaustive()
    }
}
