//! Reads that wait for nobody: of short records whose keys, cell and block are in memory. For callers that must not block.

use super::authority::Authority;
use super::key::Components;
use super::{Collection, CollectionDef, Entry, Key, Prefix, Scan};
use crate::access::Right;
use crate::engine::{AtHand, Durability};
use crate::error::Result;
use crate::seal::{self, Opened, Record};

/// The longest stored record, in bytes, that is opened and decoded at once: some microseconds' work.
const STORED_MAX_LEN: usize = 16 << 10;

impl<K: Key, V> Collection<K, V> {
    /// As [`get`](Self::get); `None` if that might have to wait for the disk, a key or somebody else.
    pub(crate) fn get_at_hand(&self, key: &K::Ref<'_>) -> Option<Result<Option<V>>> {
        self.read_at_hand(key, |opened| self.decode(opened))
    }

    /// As [`entry`](Self::entry), in the same way.
    pub(crate) fn entry_at_hand(&self, key: &K::Ref<'_>) -> Option<Result<Option<Entry<V>>>> {
        self.read_at_hand(key, |opened| self.decode_entry(opened))
    }

    /// As [`contains`](Self::contains), in the same way.
    pub(crate) fn contains_at_hand(&self, key: &K::Ref<'_>) -> Option<Result<bool>> {
        let found = self.read_at_hand(key, |_| Ok(()))?;
        Some(found.map(|found| found.is_some()))
    }

    /// As [`open`](Self::open), if this collection has been opened before.
    pub(crate) fn open_at_hand(authority: &Authority, definition: &CollectionDef<K, V>) -> Option<Result<Self>> {
        let is_allowed = [Right::Write, Right::Read].into_iter().any(|right| authority.check(right).is_ok());
        let info = is_allowed.then(|| authority.catalog().find_at_hand(definition.name, &definition.shape()))??;
        Some(info.map(|info| Self { authority: authority.clone(), info, definition: *definition }))
    }

    /// A prefix, taken apart: to be scanned elsewhere with [`prefix_of_parts`](Self::prefix_of_parts).
    pub(crate) fn parts_of_prefix(&self, prefix: &impl Prefix<K>) -> Result<Components> {
        Components::of_prefix::<K>(prefix, self.definition.separator)
    }

    pub(crate) fn prefix_of_parts(&self, parts: &Components) -> Result<Scan<K, V>> {
        Scan::of_prefix(self, parts)
    }

    /// How durable its writes are.
    pub(crate) fn durability(&self) -> Durability {
        self.definition.durability
    }

    /// What is wrong is left for the ordinary way to find, unless it is the record itself.
    fn read_at_hand<T>(&self, key: &K::Ref<'_>, take: impl Fn(Opened) -> Result<T>) -> Option<Result<Option<T>>> {
        self.authority.check(Right::Read).ok()?;
        self.info.is_there_at_hand().then_some(())?;
        let tenant = self.authority.tenant();
        let (ring, reader) = (tenant.ring_at_hand()?, tenant.reader_at_hand()?);
        let engine_key = self.engine_key(&ring, key).ok()?;
        let mut found = None;
        let answer = reader.get_at_hand(tenant.keyspace(), &engine_key, &mut |bytes| {
            if bytes.len() <= STORED_MAX_LEN {
                found = Some(seal::open_record(&ring, self.place(&engine_key), bytes.to_vec()));
            }
        });
        let record = match answer.ok()? {
            AtHand::Unknown => return None,
            AtHand::Absent => Ok(None),
            AtHand::Found => match found?.map(|record| self.authority.unexpired(record)) {
                Ok(Some(Record::Head(_))) => return None,
                Ok(Some(Record::Whole(opened))) => take(opened).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            },
        };
        metrics::counter!("strongroom_reads_total").increment(1);
        Some(self.judge(record))
    }
}
