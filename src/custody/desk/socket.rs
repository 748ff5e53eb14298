//! The desk on a Unix socket that only its owner can reach, a thread for each connection.
//!
//! **Owner only, without the umask**, which is the whole process's: the socket is bound inside a new folder (mode 0700,
//! beside its place, where nobody else can reach it), given mode 0600, and only then renamed to its place. At no instant
//! could somebody else connect. The folder around it must not be open to others' writing, unless it is sticky: who may
//! rename there could put a socket of their own in its place, and collect tokens.
//!
//! One request on each connection: a line, or all bytes until its end. Who is slow, sends too much, or sends nonsense takes
//! one of [`CONNECTIONS_MAX`] places for [`REQUEST_TIMEOUT`] at most, and disturbs nobody else.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use zeroize::Zeroizing;

use super::CustodyDesk;
use super::wire::{REQUEST_MAX_LEN, Refusal, Reply, too_long};
use crate::clock::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// Connections at once. One more is told `Throttled`, and closed.
const CONNECTIONS_MAX: usize = 64;
/// How long a request may take to arrive, and a line of the answer to be taken.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection that says nothing looks up.
const TICK: Duration = Duration::from_secs(1);
/// How long the accepting thread waits when the process has no descriptors left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// A desk on a socket. Dropping it removes the socket, ends connections that have not asked yet, lets acts under way come
/// to their next step, and waits for them.
#[must_use = "the socket is gone when this is dropped"]
pub struct DeskSocket {
    path: PathBuf,
    /// Device and inode of the socket: what is removed is what was made.
    made: (u64, u64),
    listener: UnixStream,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    desk: CustodyDesk,
    connections: Mutex<Connections>,
    one_ended: Condvar,
}

#[derive(Default)]
struct Connections {
    is_closing: bool,
    next: u64,
    open: HashMap<u64, UnixStream>,
}

/// A place among the connections, free again when this is dropped.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl CustodyDesk {
    /// Answers requests on a new Unix socket at `path`, which only the user of this process (and root) can reach, until the
    /// guard is dropped. The folder must be there. A socket that a dead process left is replaced.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) if a living process answers there; [`Invalid`](ErrorKind::Invalid) if something
    /// else than a socket lies there, others may write to the folder, or the path is longer than about 90 bytes;
    /// [`Unavailable`](ErrorKind::Unavailable) if the file system refuses.
    pub fn serve_unix(&self, path: impl AsRef<Path>) -> Result<DeskSocket> {
        let path = std::path::absolute(path).map_err(failed)?;
        let (listener, made) = bind(&path)?;
        let closer = UnixStream::from(OwnedFd::from(listener.try_clone().map_err(failed)?));
        let (connections, one_ended) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { desk: self.clone(), connections, one_ended });
        let mut socket = DeskSocket { path, made, listener: closer, shared: shared.clone(), accepting: None };
        let accept = move || shared.accept(&listener);
        let thread = thread::Builder::new().name("custody desk".to_owned()).spawn(accept);
        socket.accepting = Some(thread.map_err(failed)?);
        Ok(socket)
    }
}

impl DeskSocket {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DeskSocket {
    fn drop(&mut self) {
        let mut connections = self.shared.connections();
        connections.is_closing = true;
        // Whoever is still to be heard hears the end; answers are still written.
        connections.open.values().for_each(|stream| drop(stream.shutdown(Shutdown::Read)));
        drop(connections);
        if identity_of(&self.path).is_ok_and(|there| there == self.made) {
            drop(fs::remove_file(&self.path));
        }
        drop(self.listener.shutdown(Shutdown::Both));
        drop(self.accepting.take().map(JoinHandle::join));
        let mut connections = self.shared.connections();
        while !connections.open.is_empty() {
            connections = self.shared.one_ended.wait(connections).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.connections().is_closing
    }

    fn accept(self: Arc<Self>, listener: &UnixListener) {
        loop {
            let accepted = listener.accept();
            if self.is_closing() {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.take(stream),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "the custody desk cannot take a connection now");
                    thread::sleep(SHORTAGE_PAUSE);
                }
            }
        }
    }

    /// Gives a connection a place and a thread, or says that there is none.
    fn take(self: &Arc<Self>, mut stream: UnixStream) {
        drop(stream.set_write_timeout(Some(REQUEST_TIMEOUT)));
        let place = Place::take(self, &stream);
        let spawned = place.and_then(|place| {
            let stream = stream.try_clone().ok()?;
            thread::Builder::new().name("custody".to_owned()).spawn(move || place.serve(stream)).ok()
        });
        if spawned.is_none() {
            drop(refuse(&mut stream, &Error::new(ErrorKind::Throttled, "the desk is busy")));
        }
    }
}

impl Place {
    fn take(shared: &Arc<Shared>, stream: &UnixStream) -> Option<Self> {
        let mut connections = shared.connections();
        if connections.open.len() >= CONNECTIONS_MAX || connections.is_closing {
            return None;
        }
        let number = connections.next;
        connections.next += 1;
        connections.open.insert(number, stream.try_clone().ok()?);
        drop(connections);
        Some(Self { shared: shared.clone(), number })
    }

    fn serve(self, mut stream: UnixStream) {
        let request = match self.read_request(&mut stream) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => return drop(refuse(&mut stream, &error)),
        };
        let is_closing = || self.shared.is_closing();
        let answered = self.shared.desk.handle_unless(&request, &mut |line| stream.write_all(line), &is_closing);
        if let Err(error) = answered {
            tracing::info!(%error, "a custodian did not wait for the answer");
        }
    }

    /// The one request of a connection, wiped when dropped; none if there was none.
    fn read_request(&self, stream: &mut UnixStream) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let clock = &*self.shared.desk.clock;
        let deadline = Deadline::after(clock, REQUEST_TIMEOUT);
        stream.set_read_timeout(Some(TICK)).map_err(failed)?;
        // Of its full size at once, and one byte more: what grows leaves copies behind.
        let mut room = Zeroizing::new(vec![0; REQUEST_MAX_LEN + 1]);
        let (mut length, mut ticks) = (0, 0);
        while ticks < REQUEST_TIMEOUT.as_secs() && !deadline.has_passed(clock) {
            match stream.read(&mut room[length..]) {
                Ok(0) if length == 0 => return Ok(None),
                Ok(0) => return Ok(Some(cut(room, length))),
                Ok(count) => {
                    let end = room[length..length + count].iter().position(|&byte| byte == b'\n');
                    match end.map(|end| length + end) {
                        Some(end) if end + 1 == length + count => return Ok(Some(cut(room, end))),
                        Some(_) => return Err(Error::invalid("a connection carries one request")),
                        None => length += count,
                    }
                    if length > REQUEST_MAX_LEN {
                        return Err(too_long());
                    }
                }
                Err(error) if is_tick(&error) => ticks += 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Error::new(ErrorKind::Closed, "the request did not arrive in time"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.connections().open.remove(&self.number);
        self.shared.one_ended.notify_all();
    }
}

fn cut(mut room: Zeroizing<Vec<u8>>, length: usize) -> Zeroizing<Vec<u8>> {
    room.truncate(length);
    room
}

fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn refuse(stream: &mut UnixStream, error: &Error) -> io::Result<()> {
    stream.write_all(&Reply::Error(Refusal::of(error)).to_line())
}

/// Binds a socket as the head of this file says, and returns what it is.
fn bind(path: &Path) -> Result<(UnixListener, (u64, u64))> {
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(name), Some(folder)) = (name, path.parent()) else {
        return Err(Error::invalid("a socket has a name in a folder"));
    };
    check_folder(folder)?;
    let _alone = lock(folder)?;
    check_place(path)?;
    let nest = folder.join(format!(".{name}.new"));
    // What a crash left.
    drop(fs::remove_file(nest.join("s")));
    drop(fs::remove_dir(&nest));
    DirBuilder::new().mode(0o700).create(&nest).map_err(failed)?;
    let bound = bind_in(&nest.join("s"), path);
    drop(fs::remove_file(nest.join("s")));
    drop(fs::remove_dir(&nest));
    bound
}

fn bind_in(hidden: &Path, path: &Path) -> Result<(UnixListener, (u64, u64))> {
    let listener = UnixListener::bind(hidden).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Error::invalid("the path of the socket is too long"),
        _ => failed(error),
    })?;
    fs::set_permissions(hidden, Permissions::from_mode(0o600)).map_err(failed)?;
    let made = identity_of(hidden).map_err(failed)?;
    fs::rename(hidden, path).map_err(failed)?;
    Ok((listener, made))
}

/// Whether nobody else can put something in the socket's place.
fn check_folder(folder: &Path) -> Result<()> {
    let mode = fs::metadata(folder).map_err(failed)?.mode();
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(Error::invalid("others may write to the folder of the socket"));
    }
    Ok(())
}

/// Whether the place is free, or holds the socket of a dead process.
fn check_place(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(there) if !there.file_type().is_socket() => {
            Err(Error::invalid("something else lies where the socket is to be"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
            Ok(_) => Err(Error::conflict("a living process answers at this socket")),
        },
    }
}

/// Held while a socket gets its place, so that of two who find a dead one only one replaces it.
fn lock(folder: &Path) -> Result<File> {
    let file = File::open(folder).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::conflict("another socket is being made in this folder")),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

fn failed(error: io::Error) -> Error {
    Error::io("the socket of the desk cannot be used", error)
}

impl std::fmt::Debug for DeskSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeskSocket").field("path", &self.path).finish_non_exhaustive()
    }
}
