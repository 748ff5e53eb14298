//! Asking a desk over its socket.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::answer::Done;
use super::wire::{Reply, Request};
use crate::error::{Error, ErrorKind, Result};

/// The longest line of an answer, in bytes: room for some hundred thousand tenants.
const LINE_MAX_LEN: u64 = 64 << 20;
/// How long a service may take to take the request.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the desk at the Unix socket `path`, hands every line of the answer but the last to `told`, and returns what
/// it has come to. Waits as long
/// as the act takes.
///
/// The token goes to whoever listens. So the socket must belong to the user of this process or to root (who asks as root,
/// asks whom they like), and be closed to others.
///
/// # Errors
/// [`Unavailable`](ErrorKind::Unavailable) if nobody answers there; [`Denied`](ErrorKind::Denied) if the socket is
/// somebody else's, and the token was not sent; [`Internal`](ErrorKind::Internal) if the answer ends before its last line:
/// whether the act was done is unknown. Else what the desk answers.
pub fn ask(path: impl AsRef<Path>, request: &Request, mut told: impl FnMut(&Reply)) -> Result<Done> {
    let path = path.as_ref();
    let json = request.to_json()?;
    check_owner(path)?;
    let mut stream = UnixStream::connect(path).map_err(unreachable)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT)).map_err(unreachable)?;
    // A desk that is busy answers without reading.
    let written = stream.write_all(&json).and_then(|()| stream.write_all(b"\n"));
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = lines.by_ref().take(LINE_MAX_LEN).read_until(b'\n', &mut line);
        match (read, &written) {
            (Ok(1..), _) if line.ends_with(b"\n") => {}
            (_, Err(error)) => return Err(unreachable(io::Error::from(error.kind()))),
            _ => return Err(Error::internal("the service went away; whether the act was done is unknown")),
        }
        match Reply::parse(&line)? {
            reply @ (Reply::Progress(_) | Reply::Part(_)) => told(&reply),
            Reply::Done(done) => return Ok(done),
            Reply::Error(refusal) => return Err(refusal.into()),
        }
    }
}

fn check_owner(path: &Path) -> Result<()> {
    let there = fs::symlink_metadata(path).map_err(unreachable)?;
    let (owner, own) = (there.uid(), rustix::process::geteuid().as_raw());
    if !there.file_type().is_socket() {
        return Err(Error::invalid("what lies there is no socket"));
    }
    let is_strange = owner != own && owner != 0 && own != 0;
    if is_strange || there.mode() & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::Denied,
            "the socket is somebody else's, or open to others; nothing was sent",
        ));
    }
    Ok(())
}

fn unreachable(error: io::Error) -> Error {
    Error::io("no service answers at this socket", error)
}
