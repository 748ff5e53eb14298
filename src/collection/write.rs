//! Writing: changes gathered, sealed under fresh nonces from one call to the operating system, applied at once; the
//! chunks of long values before them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::authority::Authority;
use super::catalog::Info;
use super::chunks::{CHUNK_LEN, Headless, Object};
use crate::access::Right;
use crate::aead::NONCE_LEN;
use crate::engine::{Batch, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Ring;
use crate::seal::{self, Place, Record, Terms, Version};
use crate::secret::Plaintext;

/// What must be there for a conditional write to happen. A record that has expired is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// No record.
    Absent,
    /// A record, whichever write set it: as `If-Match: *` (RFC 9110, section 13.1.1).
    Present,
    /// The record that was set by this write.
    Version(Version),
}

/// One change that is to happen with others.
pub(super) struct Change {
    pub(super) info: Arc<Info>,
    pub(super) engine_key: Vec<u8>,
    pub(super) deed: Deed,
    pub(super) expected: Option<Expected>,
}

/// What becomes of a record.
pub(super) enum Deed {
    /// It is set. Which write that will be is in the terms if somebody has been told already.
    Put(Plaintext, Terms),
    Delete,
    /// Nothing, but what was expected of it holds when all else happens.
    Keep,
}

/// The chunks of long values, by the number of their change.
type Objects = BTreeMap<usize, Object>;

/// How often a write that compares tries again. Each time, somebody else's write of the same record has happened.
const ATTEMPTS: u32 = 1024;

/// Applies all changes or none. Returns a version for each change that sets a value, in order.
///
/// # Errors
/// `Conflict` if an expectation does not hold: nothing was changed. Errors of the engine: the outcome is unknown.
pub(super) fn commit(authority: &Authority, changes: &[Change], durability: Durability) -> Result<Vec<Version>> {
    authority.check(Right::Write)?;
    let (tenant, catalog) = (authority.tenant(), authority.catalog());
    catalog.sweep()?;
    for change in changes {
        if change.is_chunked() {
            catalog.mark_chunked(&change.info, authority.entropy())?;
        }
        if change.expires_ms().is_some() {
            catalog.mark_expiring(&change.info, authority.entropy())?;
        }
    }
    // Before the gate, for which a suspension waits: a cell that is shut may take its time.
    drop(tenant.writer()?);
    let writing = authority.begin_write()?;
    let ring = writing.ring();
    let mut infos: Vec<&Arc<Info>> = changes.iter().map(|change| &change.info).collect();
    infos.sort_by_key(|info| info.id);
    infos.dedup_by_key(|info| info.id);
    let _collections_stay = infos.into_iter().map(|info| info.begin_write()).collect::<Result<Vec<_>>>()?;
    let mut headless = Headless::new(authority, ring, durability);
    let objects = write_chunks(&mut headless, changes)?;
    let mut nonces = vec![[0; NONCE_LEN]; changes.iter().filter(|change| change.value().is_some()).count()];
    authority.entropy().fill(nonces.as_flattened_mut())?;
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::new(durability);
        // One moment for all that is compared.
        let now_ms = authority.clock().wall_ms();
        seal_all(authority, ring, changes, &objects, &nonces, now_ms, &mut batch)?;
        headless.settle(&mut batch)?;
        let compares = changes.iter().any(Change::compares);
        match tenant.writer()?.apply(batch) {
            // Somebody changed the record, and the next look at it says whether that matters.
            Err(error) if error.kind() == ErrorKind::Conflict && compares => {}
            outcome => {
                // Even of a failure: what came of it is unknown.
                headless.keep();
                changes.iter().filter_map(Change::expires_ms).for_each(|at| tenant.expiring().note(at));
                outcome?;
                let done = changes.iter().filter(|change| !matches!(change.deed, Deed::Keep)).count();
                metrics::counter!("strongroom_writes_total").increment(done as u64);
                return Ok(versions(changes, &nonces));
            }
        }
    }
    Err(Error::new(ErrorKind::Throttled, "the record is being changed too often"))
}

/// Which write every value is, in order.
fn versions(changes: &[Change], nonces: &[[u8; NONCE_LEN]]) -> Vec<Version> {
    let terms = changes.iter().filter_map(Change::terms);
    terms.zip(nonces).map(|(terms, nonce)| terms.version.unwrap_or(Version::of_write(nonce))).collect()
}

/// Writes the chunks of every long value, but of those that a later change of the same record replaces.
fn write_chunks(headless: &mut Headless<'_>, changes: &[Change]) -> Result<Objects> {
    let mut objects = Objects::new();
    if !changes.iter().any(Change::is_chunked) {
        return Ok(objects);
    }
    let mut seen = HashSet::new();
    for (number, change) in changes.iter().enumerate().rev() {
        if let (true, Some(value)) = (seen.insert(&change.engine_key) && change.is_chunked(), change.value()) {
            objects.insert(number, headless.write(change.info.id, value)?);
        }
    }
    Ok(objects)
}

fn seal_all(
    authority: &Authority,
    ring: &Ring,
    changes: &[Change],
    objects: &Objects,
    nonces: &[[u8; NONCE_LEN]],
    now_ms: u64,
    batch: &mut Batch,
) -> Result<()> {
    let keyspace = authority.tenant().keyspace();
    let mut nonces = nonces.iter();
    for (number, change) in changes.iter().enumerate() {
        let place = Place { collection: change.info.id, engine_key: &change.engine_key };
        if change.compares() {
            replace(authority, ring, place, change, now_ms, batch)?;
        }
        let (value, terms) = match &change.deed {
            Deed::Put(value, terms) => (value, *terms),
            Deed::Delete => {
                batch.delete(keyspace, change.engine_key.clone());
                continue;
            }
            Deed::Keep => continue,
        };
        let nonce = nonces.next().ok_or_else(|| Error::internal("a write has no nonce"))?;
        let envelope = match objects.get(&number) {
            Some(object) => object.seal_head(ring, place, nonce, terms)?,
            // A later change of this record replaces it.
            None if change.is_chunked() => continue,
            None => seal::seal_with(ring, place, nonce, terms, value)?,
        };
        batch.put(keyspace, change.engine_key.clone(), envelope);
    }
    Ok(())
}

/// What a change has to know of the record that it replaces.
struct Replaced {
    /// `None` if it has expired: then it is as good as gone, and its bytes are still there.
    version: Option<Version>,
    head: Vec<u8>,
    object: Option<Object>,
}

/// Compares the record now with what is expected, has the engine compare the bytes again when it writes, and removes
/// the chunks of the value that goes.
fn replace(
    authority: &Authority,
    ring: &Ring,
    place: Place<'_>,
    Change { expected, deed, .. }: &Change,
    now_ms: u64,
    batch: &mut Batch,
) -> Result<()> {
    let keyspace = authority.tenant().keyspace();
    let replaced = match look(authority, ring, place, now_ms) {
        Err(error) if expected.is_none() && is_damage(&error) => {
            // Who expects nothing may replace and delete what cannot be read. Chunks that it had, and that nobody
            // can name now, stay until the collection is dropped.
            return Ok(());
        }
        replaced => replaced?,
    };
    let version = replaced.as_ref().and_then(|replaced| replaced.version);
    if !expected.is_none_or(|expected| expected.is(version)) {
        return Err(Error::conflict("the record is not as expected"));
    }
    match replaced {
        None => batch.expect_absent(keyspace, place.engine_key.to_vec()),
        Some(Replaced { head, object, .. }) => {
            batch.expect_head(keyspace, place.engine_key.to_vec(), head);
            if let (Some(object), false) = (object, matches!(deed, Deed::Keep)) {
                object.delete(batch, keyspace);
            }
        }
    }
    Ok(())
}

fn look(authority: &Authority, ring: &Ring, place: Place<'_>, now_ms: u64) -> Result<Option<Replaced>> {
    let tenant = authority.tenant();
    let mut found = None;
    tenant.writer()?.get(tenant.keyspace(), place.engine_key, &mut |bytes| {
        let replaced = seal::open_record(ring, place, bytes.to_vec()).and_then(|record| {
            let object = match &record {
                Record::Whole(_) => None,
                Record::Head(head) => Some(Object::of_head(place.collection, head)?),
            };
            let version = (!record.has_expired(now_ms)).then(|| record.version());
            Ok(Replaced { version, head: seal::peek_head(bytes).to_vec(), object })
        });
        found = Some(replaced);
    })?;
    found.transpose()
}

/// Whether a record cannot be read, and never will be.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Tampered | ErrorKind::Corrupt | ErrorKind::KeyDestroyed)
}

impl Deed {
    /// How long the value is that it sets.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Put(value, _) => value.len(),
            Self::Delete | Self::Keep => 0,
        }
    }
}

impl Change {
    /// What the record is set to.
    pub(super) fn value(&self) -> Option<&Plaintext> {
        match &self.deed {
            Deed::Put(value, _) => Some(value),
            Deed::Delete | Deed::Keep => None,
        }
    }

    fn terms(&self) -> Option<Terms> {
        match self.deed {
            Deed::Put(_, terms) => Some(terms),
            Deed::Delete | Deed::Keep => None,
        }
    }

    fn expires_ms(&self) -> Option<u64> {
        self.terms()?.expires_ms
    }

    fn is_chunked(&self) -> bool {
        self.value().is_some_and(|value| value.len() > CHUNK_LEN)
    }

    /// Whether the record must be looked at before it is changed. Asked while the collection's gate is held.
    fn compares(&self) -> bool {
        self.expected.is_some() || self.info.is_chunked()
    }
}

impl Expected {
    /// Whether it is what is there.
    pub(super) fn is(self, version: Option<Version>) -> bool {
        match self {
            Self::Absent => version.is_none(),
            Self::Present => version.is_some(),
            Self::Version(expected) => version == Some(expected),
        }
    }
}

impl From<Version> for Expected {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}
