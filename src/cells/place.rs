//! One cell's place in a store: shut, read through views of single boxes, or open for writing; or failed.
//!
//! ```text
//!           first read of a box                first write
//!   Shut ------------------------> Shut with -------------> Open ---- a write fails ----> Failed
//!    ^  <-- views close when cold  views       readers       |                              |
//!    |                                         move over     |  cold: flushed, closed       |
//!    +-------------------------------------------------------+ <--- opened again, in time --+
//! ```
//!
//! A place's mutex is held while its database opens or closes, so that others wait for that cell and for no other.

use std::collections::HashMap;
#[cfg(feature = "backup")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::budgets::{Cost, Permit};
use super::report_failure;
use super::ring_file::RingFile;
#[cfg(feature = "backup")]
use crate::engine::Engine;
use crate::engine::rocks::{self, Extent, Patience, RocksEngine, RocksReader, Shared};
use crate::engine::{Keyspace, Reader};
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "backup")]
use crate::folder;
use crate::name::RegionName;

pub(super) struct Place {
    number: u32,
    folder: PathBuf,
    region: Option<RegionName>,
    /// How often its database has been opened for writing, or was about to be.
    openings: AtomicU64,
    state: Mutex<State>,
}

/// How far a cell's database has come: where it is the same, nothing has been written in between.
#[cfg(feature = "backup")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    openings: u64,
    /// Of a database that is open.
    writes: Option<rocks::Writes>,
}

enum State {
    /// Nobody writes. Boxes that are being read have views.
    Shut {
        views: HashMap<Keyspace, View>,
        /// Readers of views that have gone, for the sake of scans that are still in them.
        leaving: Vec<Arc<RocksReader>>,
        logs: Logs,
    },
    Open {
        engine: Arc<RocksEngine>,
        permit: Permit,
    },
    /// Why, when it may be tried again (in ticks), and how long to wait after that.
    Failed {
        kind: ErrorKind,
        until: u64,
        pause: u64,
    },
}

/// What is known of the logs of a shut cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logs {
    /// Not looked at yet: it may have been left by a crash.
    Unknown,
    /// Checked, and empty: boxes can be read alone.
    Clean,
    /// They hold writes, which opening the cell brings back.
    Dirty,
}

/// What a place says to somebody who wants it to open something.
pub(super) enum Answer<T> {
    Open(T),
    /// Leave for so much has to be brought along.
    Needs(Cost),
}

struct View {
    reader: Arc<RocksReader>,
    permit: Permit,
}

/// What a place holds open, for whoever looks for the coldest.
pub(super) struct Holding {
    pub(super) place: Arc<Place>,
    /// A view of this box; `None`: the cell.
    pub(super) view: Option<Keyspace>,
    pub(super) last_used: u64,
}

/// How a place is, for counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition {
    pub(super) has_failed: bool,
    pub(super) views: usize,
    pub(super) wal_bytes: u64,
}

pub(super) const RINGS: &str = "rings";
pub(super) const DATABASE: &str = "db";

/// After a failure a cell is tried again after a second, then after twice as long each time, up to a minute.
const FIRST_PAUSE: u64 = 10;
const LAST_PAUSE: u64 = 600;
/// How often, a millisecond apart, it is looked whether the last operation has left a cell that is to be closed.
const CLOSING_LOOKS: u32 = 20;

impl Place {
    pub(super) fn new(number: u32, folder: PathBuf, region: Option<RegionName>) -> Arc<Self> {
        let state = Mutex::new(State::shut(Logs::Unknown));
        Arc::new(Self { number, folder, region, openings: AtomicU64::new(0), state })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn region(&self) -> Option<&RegionName> {
        self.region.as_ref()
    }

    /// The ring file, which says for which region the cell was made.
    pub(super) fn rings(&self) -> Result<RingFile> {
        let rings = RingFile::open(&self.folder.join(RINGS))?;
        if rings.region() == self.region() {
            return Ok(rings);
        }
        Err(Error::corrupt("a cell lies in the folder of another region than the one that it was made for"))
    }

    fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    /// Who reads box `number`: the cell if it is open, else a view of that box, for which `permit` is taken.
    pub(super) fn reader(
        &self,
        number: Keyspace,
        shared: &Shared,
        permit: &mut Option<Permit>,
    ) -> Result<Answer<Arc<dyn Reader>>> {
        let mut state = self.lock();
        give_up_failed(&mut state, shared)?;
        match &mut *state {
            State::Open { engine, .. } => return Ok(Answer::Open(engine.clone())),
            State::Shut { views, logs, .. } => {
                if let Some(view) = views.get(&number) {
                    return Ok(Answer::Open(view.reader.clone()));
                }
                match self.look_at_logs(logs) {
                    Ok(Logs::Dirty) => {}
                    Ok(_) => {
                        let Some(mut permit) = fitting(permit, Cost::of_view(1)) else {
                            return Ok(Answer::Needs(Cost::of_view(1)));
                        };
                        // Damage that only this box has is no trouble of its neighbours.
                        let reader = RocksReader::open(&self.database(), number, shared)?;
                        permit.settle(Cost::of_view(reader.table_files()?));
                        let view = View { reader: Arc::new(reader), permit };
                        return Ok(Answer::Open(views.entry(number).or_insert(view).reader.clone()));
                    }
                    Err(error) => return Err(self.fail(&mut state, error, shared)),
                }
            }
            State::Failed { .. } => {}
        }
        // It holds writes that only opening it brings back.
        Ok(match self.open(&mut state, shared, permit)? {
            Answer::Open(engine) => Answer::Open(engine),
            Answer::Needs(cost) => Answer::Needs(cost),
        })
    }

    /// The cell, open for writing; `permit` is taken for it. Readers of its boxes move over to it.
    pub(super) fn engine(&self, shared: &Shared, permit: &mut Option<Permit>) -> Result<Answer<Arc<RocksEngine>>> {
        let mut state = self.lock();
        give_up_failed(&mut state, shared)?;
        self.open(&mut state, shared, permit)
    }

    fn open(
        &self,
        state: &mut State,
        shared: &Shared,
        permit: &mut Option<Permit>,
    ) -> Result<Answer<Arc<RocksEngine>>> {
        if let State::Open { engine, .. } = state {
            return Ok(Answer::Open(engine.clone()));
        }
        let (cost, boxes) = self.cost(shared).map_err(|error| self.fail(state, error, shared))?;
        // What the views take is given back before more is asked for: they go when the cell opens.
        retire_views(state);
        let Some(mut permit) = fitting(permit, cost) else { return Ok(Answer::Needs(cost)) };
        permit.settle(cost);
        self.openings.fetch_add(1, Ordering::SeqCst);
        let opened = RocksEngine::open(&self.database(), boxes, shared);
        let engine = Arc::new(opened.map_err(|error| self.fail(state, error, shared))?);
        if let State::Shut { leaving, .. } = state {
            leaving.iter().for_each(|reader| engine.take_over(reader));
        }
        *state = State::Open { engine: engine.clone(), permit };
        tracing::debug!(cell = self.number, "opened a cell");
        Ok(Answer::Open(engine))
    }

    /// What the cell takes when it is open, and how many boxes it has.
    fn cost(&self, shared: &Shared) -> Result<(Cost, u32)> {
        let boxes = self.rings()?.boxes();
        let tables = Extent::of(&self.database()).map_or(0, |extent| extent.table_files);
        Ok((Cost::of_cell(boxes, tables, shared.open_files()), boxes))
    }

    /// Looks at the logs, unless that has been done: they are checked, and hold something or nothing.
    fn look_at_logs(&self, logs: &mut Logs) -> Result<Logs> {
        if *logs == Logs::Unknown {
            let is_clean = Extent::of(&self.database())?.wal_bytes == 0;
            if is_clean {
                rocks::check_logs(&self.database())?;
            }
            *logs = if is_clean { Logs::Clean } else { Logs::Dirty };
        }
        Ok(*logs)
    }

    /// Shuts the cell for a while, unless all that was missing is room.
    fn fail(&self, state: &mut State, error: Error, shared: &Shared) -> Error {
        if error.kind() == ErrorKind::Throttled {
            return error;
        }
        report_failure(self.number, &error);
        let pause = match state {
            State::Failed { pause, .. } => *pause,
            _ => FIRST_PAUSE,
        };
        retire_views(state);
        let until = shared.ticks().now() + pause;
        *state = State::Failed { kind: error.kind(), until, pause: (pause * 2).min(LAST_PAUSE) };
        error
    }

    /// Whether the cell was left with writes in its logs, so that it has to be opened to bring them back.
    pub(super) fn needs_recovery(&self) -> bool {
        match self.try_lock().as_deref() {
            Some(State::Shut { logs: Logs::Unknown, .. }) => {
                Extent::of(&self.database()).is_ok_and(|extent| extent.wal_bytes > 0)
            }
            _ => false,
        }
    }

    /// What is held open here; nothing while somebody is opening or closing it.
    pub(super) fn holdings(self: &Arc<Self>) -> Vec<Holding> {
        let holding = |view, last_used| Holding { place: self.clone(), view, last_used };
        match self.try_lock().as_deref() {
            Some(State::Open { engine, .. }) => vec![holding(None, engine.last_used())],
            Some(State::Shut { views, .. }) => {
                views.iter().map(|(&number, view)| holding(Some(number), view.reader.last_used())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Flushes the cell and closes it, if nobody uses it; others go on while it is flushed. Scans lose their snapshots
    /// when they try its patience. True if the cell is shut.
    pub(super) fn close(&self, patience: Patience) -> bool {
        // Looked at first: nothing is flushed for a cell that stays open anyway.
        let idle = match self.try_lock().as_deref() {
            Some(State::Open { engine, .. }) if engine.has_failed() || engine.is_unused(patience) => engine.clone(),
            _ => return false,
        };
        if !idle.has_failed()
            && let Err(error) = idle.flush()
        {
            tracing::error!(cell = self.number, %error, "a cell cannot be flushed");
        }
        drop(idle);
        let Some(mut state) = self.try_lock() else { return false };
        let State::Open { engine, .. } = &*state else { return false };
        engine.usage().retire();
        for _ in 0..CLOSING_LOOKS {
            if Arc::strong_count(engine) == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let shut = State::shut(Logs::Unknown);
        let State::Open { engine, permit } = std::mem::replace(&mut *state, shut) else { return false };
        match RocksEngine::close(engine, patience) {
            Ok(is_dirty) => {
                *state = State::shut(if is_dirty { Logs::Dirty } else { Logs::Clean });
                tracing::debug!(cell = self.number, "closed a cell");
                true
            }
            Err(engine) => {
                engine.usage().revive();
                *state = State::Open { engine, permit };
                false
            }
        }
    }

    /// Closes the view of a box in the same way. True if it is closed.
    pub(super) fn close_view(&self, number: Keyspace, patience: Patience) -> bool {
        let Some(mut state) = self.try_lock() else { return false };
        let State::Shut { views, .. } = &mut *state else { return false };
        let Some(View { reader, permit }) = views.remove(&number) else { return false };
        reader.usage().retire();
        match RocksReader::close(reader, patience) {
            Ok(()) => true,
            Err(reader) => {
                reader.usage().revive();
                views.insert(number, View { reader, permit });
                false
            }
        }
    }

    /// How far it has come; `None` if it has failed.
    #[cfg(feature = "backup")]
    pub(super) fn version(&self) -> Option<Version> {
        let state = self.lock();
        let openings = self.openings.load(Ordering::SeqCst);
        match &*state {
            State::Open { engine, .. } if !engine.has_failed() => {
                Some(Version { openings, writes: Some(engine.writes()) })
            }
            State::Shut { .. } => Some(Version { openings, writes: None }),
            _ => None,
        }
    }

    /// Makes a copy of the cell's database in `to`, on the same file system: of one that is shut and clean by linking
    /// its files, which change only by being replaced.
    #[cfg(feature = "backup")]
    pub(super) fn checkpoint(&self, to: &Path, shared: &Shared, permit: &mut Option<Permit>) -> Result<Answer<()>> {
        let mut state = self.lock();
        give_up_failed(&mut state, shared)?;
        if let State::Shut { logs, .. } = &mut *state
            && self.look_at_logs(logs)? == Logs::Clean
        {
            let linked = link_database(&self.database(), to);
            return linked
                .map(Answer::Open)
                .map_err(|error| Error::io("the database of a cell cannot be linked", error));
        }
        match self.open(&mut state, shared, permit)? {
            Answer::Open(engine) => {
                drop(state);
                engine.checkpoint(to).map(Answer::Open)
            }
            Answer::Needs(cost) => Ok(Answer::Needs(cost)),
        }
    }

    /// The engine of the cell if it is open.
    pub(super) fn open_engine(&self) -> Option<Arc<RocksEngine>> {
        match self.try_lock().as_deref() {
            Some(State::Open { engine, .. }) => Some(engine.clone()),
            _ => None,
        }
    }

    /// Whether it holds something open, or may be about to.
    pub(super) fn is_resident(&self) -> bool {
        match self.try_lock().as_deref() {
            Some(State::Shut { views, .. }) => !views.is_empty(),
            _ => true,
        }
    }

    /// How it is, and a new look at how many files it holds open.
    pub(super) fn inspect(&self, shared: &Shared) -> Condition {
        match self.try_lock().as_deref_mut() {
            Some(State::Open { engine, permit }) => {
                let extent = engine.measure().unwrap_or_default();
                let files = Cost::of_cell(0, extent.table_files, shared.open_files()).files;
                permit.settle(Cost { files, ..permit.cost() });
                let (has_failed, wal_bytes) = (engine.has_failed(), extent.wal_bytes);
                Condition { has_failed, wal_bytes, views: 0 }
            }
            Some(State::Shut { views, .. }) => Condition { views: views.len(), ..Condition::default() },
            Some(State::Failed { .. }) => Condition { has_failed: true, ..Condition::default() },
            None => Condition::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl State {
    fn shut(logs: Logs) -> Self {
        Self::Shut { views: HashMap::new(), leaving: Vec::new(), logs }
    }
}

/// Nobody begins to use the views of a place any more, and what they took is given back; scans that are in them go on.
fn retire_views(state: &mut State) {
    if let State::Shut { views, leaving, .. } = state {
        leaving.retain(|reader| Arc::strong_count(reader) > 1 || reader.has_scans());
        for (_, View { reader, .. }) in views.drain() {
            reader.usage().retire();
            leaving.push(reader);
        }
    }
}

/// The permit that was brought along, if it is for this: not one for a view where a cell has to be opened.
fn fitting(permit: &mut Option<Permit>, cost: Cost) -> Option<Permit> {
    permit.take().filter(|permit| permit.cost().cells == cost.cells)
}

/// A failed cell is let go, so that it can be opened again.
///
/// # Errors
/// What it failed with, if it is not time to try again.
fn give_up_failed(state: &mut State, shared: &Shared) -> Result<()> {
    let now = shared.ticks().now();
    if let State::Open { engine, .. } = state
        && engine.has_failed()
    {
        let (kind, until, pause) = (ErrorKind::Unavailable, now + FIRST_PAUSE, FIRST_PAUSE * 2);
        let State::Open { engine, permit } = std::mem::replace(state, State::Failed { kind, until, pause }) else {
            return Err(Error::internal("a cell changed while it was looked at"));
        };
        if let Err(engine) = RocksEngine::close(engine, Patience::NONE) {
            // Somebody is still in it. Whoever comes next looks again.
            *state = State::Open { engine, permit };
            return Err(Error::new(kind, "the cell has failed and is being closed"));
        }
    }
    match state {
        State::Failed { kind, until, .. } if now < *until => {
            Err(Error::new(*kind, "the cell has failed; it is tried again before long"))
        }
        _ => Ok(()),
    }
}

/// Links the files of a database that nobody has open for writing, but for its lock and what it writes for people.
#[cfg(feature = "backup")]
fn link_database(from: &Path, to: &Path) -> std::io::Result<()> {
    folder::make(to)?;
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        if !["LOCK", "LOG"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            std::fs::hard_link(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}
