//! Three collections for random programs, each with a small set of keys that are named by their place in it: hidden
//! tuples, hidden strings with separators, ordered tuples.

use std::ops::Bound;

use strongroom::{Collection, CollectionDef, Expected, Key, Result, Scan, Session, Version, WriteBatch};

/// Every kind of collection, by name: programs are the same for all.
pub const SHELVES: [&dyn Shelf; 3] = [&Ordered, &Paths, &Tuples];

/// A collection whose keys and values are numbers. Rows come back by ascending key.
pub trait Shelf: Sync {
    fn name(&self) -> &'static str;
    fn is_ordered(&self) -> bool;
    /// How many keys there are, and how many prefixes.
    fn keys(&self) -> usize;
    fn prefixes(&self) -> usize;
    fn has_prefix(&self, prefix: usize, key: usize) -> bool;

    /// Sets a record, or deletes it without a number.
    fn write(
        &self,
        session: &Session,
        key: usize,
        number: Option<u64>,
        expected: Option<Expected>,
    ) -> Result<Option<Version>>;
    fn add(&self, batch: WriteBatch, key: usize, number: Option<u64>, expected: Option<Expected>)
    -> Result<WriteBatch>;
    fn get(&self, session: &Session, key: usize) -> Result<Option<u64>>;
    fn entry(&self, session: &Session, key: usize) -> Result<Option<(u64, Version)>>;
    fn contains(&self, session: &Session, key: usize) -> Result<bool>;
    fn get_many(&self, session: &Session, keys: &[usize]) -> Result<Vec<Option<u64>>>;
    fn iter(&self, session: &Session) -> Result<Vec<(usize, u64)>>;
    fn prefix(&self, session: &Session, prefix: usize) -> Result<Vec<(usize, u64)>>;
    fn range(&self, session: &Session, range: (Bound<usize>, Bound<usize>)) -> Result<Vec<(usize, u64)>>;
    fn count(&self, session: &Session) -> Result<u64>;
}

type Owned<C> = <<C as Case>::Key as Key>::Owned;
type Ref<'k, C> = <<C as Case>::Key as Key>::Ref<'k>;

/// What tells one shelf from another.
trait Case: Sync {
    type Key: Key<Owned: Ord>;
    type Value: PartialEq + std::fmt::Debug;
    const NAME: &'static str;
    const DEFINITION: CollectionDef<Self::Key, Self::Value>;
    const IS_ORDERED: bool;
    const PREFIXES: usize;

    /// Every key, ascending.
    fn universe() -> Vec<Owned<Self>>;
    fn lend(key: &Owned<Self>) -> Ref<'_, Self>;
    fn value(text: String) -> Self::Value;
    fn text(value: &Self::Value) -> &str;
    fn begins_with(key: &Owned<Self>, prefix: usize) -> bool;
    fn scan(collection: &Collection<Self::Key, Self::Value>, prefix: usize) -> Result<Scan<Self::Key, Self::Value>>;
}

struct Ordered;
struct Paths;
struct Tuples;

const NUMBERS: [i32; 6] = [i32::MIN, -5, -1, 0, 7, i32::MAX];
const PATHS: [&str; 7] = ["", ".", "a.", "a..", "a.b.", "a.b.c.", "none."];
const NAMES: [&str; 5] = ["", "\0", "a", "a.b", "ab"];

impl Case for Ordered {
    type Key = (i32, &'static str);
    type Value = String;
    const NAME: &'static str = "ordered";
    const DEFINITION: CollectionDef<Self::Key, String> = CollectionDef::bincode(Self::NAME).ordered();
    const IS_ORDERED: bool = true;
    const PREFIXES: usize = 1 + NUMBERS.len();

    fn universe() -> Vec<(i32, String)> {
        let names = ["", "\0", "a", "a\0", "b"];
        NUMBERS.iter().flat_map(|number| names.map(|name| (*number, name.to_owned()))).collect()
    }

    fn lend((number, name): &(i32, String)) -> (i32, &str) {
        (*number, name)
    }

    fn value(text: String) -> String {
        text
    }

    fn text(value: &String) -> &str {
        value
    }

    fn begins_with(key: &(i32, String), prefix: usize) -> bool {
        prefix == 0 || key.0 == NUMBERS[prefix - 1]
    }

    fn scan(collection: &Collection<Self::Key, String>, prefix: usize) -> Result<Scan<Self::Key, String>> {
        if prefix == 0 { collection.prefix(()) } else { collection.prefix((NUMBERS[prefix - 1],)) }
    }
}

impl Case for Paths {
    type Key = &'static str;
    type Value = Vec<u8>;
    const NAME: &'static str = "paths";
    const DEFINITION: CollectionDef<Self::Key, Vec<u8>> = CollectionDef::bytes(Self::NAME).separator(b'.');
    const IS_ORDERED: bool = false;
    const PREFIXES: usize = PATHS.len();

    fn universe() -> Vec<String> {
        let long = "x".repeat(500);
        let keys = ["", ".", "..", "a", "a.", "a..b", "a.b", "a.b.", "a.b.c", "ab", "ab.c", &long, "é.ü"];
        keys.map(str::to_owned).to_vec()
    }

    fn lend(key: &String) -> &str {
        key
    }

    fn value(text: String) -> Vec<u8> {
        text.into_bytes()
    }

    fn text(value: &Vec<u8>) -> &str {
        std::str::from_utf8(value).unwrap()
    }

    fn begins_with(key: &String, prefix: usize) -> bool {
        key.starts_with(PATHS[prefix])
    }

    fn scan(collection: &Collection<Self::Key, Vec<u8>>, prefix: usize) -> Result<Scan<Self::Key, Vec<u8>>> {
        collection.prefix(PATHS[prefix])
    }
}

impl Case for Tuples {
    type Key = (&'static str, u64);
    type Value = Option<String>;
    const NAME: &'static str = "tuples";
    const DEFINITION: CollectionDef<Self::Key, Option<String>> = CollectionDef::cbor(Self::NAME);
    const IS_ORDERED: bool = false;
    const PREFIXES: usize = 1 + NAMES.len() * 2;

    fn universe() -> Vec<(String, u64)> {
        NAMES.iter().flat_map(|name| [0, 1, u64::MAX].map(|number| (name.to_string(), number))).collect()
    }

    fn lend((name, number): &(String, u64)) -> (&str, u64) {
        (name, *number)
    }

    fn value(text: String) -> Option<String> {
        Some(text)
    }

    fn text(value: &Option<String>) -> &str {
        value.as_deref().unwrap()
    }

    fn begins_with(key: &(String, u64), prefix: usize) -> bool {
        match prefix.checked_sub(1) {
            None => true,
            Some(place) if place < NAMES.len() => key.0 == NAMES[place],
            Some(place) => *key == (NAMES[place - NAMES.len()].to_owned(), 1),
        }
    }

    fn scan(collection: &Collection<Self::Key, Option<String>>, prefix: usize) -> Result<Scan<Self::Key, Self::Value>> {
        match prefix.checked_sub(1) {
            None => collection.prefix(()),
            Some(place) if place < NAMES.len() => collection.prefix((NAMES[place],)),
            Some(place) => collection.prefix((NAMES[place - NAMES.len()], 1)),
        }
    }
}

impl<C: Case> Shelf for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn is_ordered(&self) -> bool {
        C::IS_ORDERED
    }

    fn keys(&self) -> usize {
        C::universe().len()
    }

    fn prefixes(&self) -> usize {
        C::PREFIXES
    }

    fn has_prefix(&self, prefix: usize, key: usize) -> bool {
        C::begins_with(&C::universe()[key], prefix)
    }

    fn write(
        &self,
        session: &Session,
        key: usize,
        number: Option<u64>,
        expected: Option<Expected>,
    ) -> Result<Option<Version>> {
        let (collection, key) = (session.collection(&C::DEFINITION)?, &C::universe()[key]);
        let key = &C::lend(key);
        match (number.map(valued::<C>), expected) {
            (Some(value), None) => collection.put(key, &value).map(Some),
            (Some(value), Some(expected)) => collection.put_if(key, &value, expected).map(Some),
            (None, None) => collection.delete(key).map(|()| None),
            (None, Some(expected)) => collection.delete_if(key, expected).map(|()| None),
        }
    }

    fn add(
        &self,
        batch: WriteBatch,
        key: usize,
        number: Option<u64>,
        expected: Option<Expected>,
    ) -> Result<WriteBatch> {
        let (definition, key) = (&C::DEFINITION, &C::universe()[key]);
        let key = &C::lend(key);
        match (number.map(valued::<C>), expected) {
            (Some(value), None) => batch.put(definition, key, &value),
            (Some(value), Some(expected)) => batch.put_if(definition, key, &value, expected),
            (None, None) => batch.delete(definition, key),
            (None, Some(expected)) => batch.delete_if(definition, key, expected),
        }
    }

    fn get(&self, session: &Session, key: usize) -> Result<Option<u64>> {
        let found = session.collection(&C::DEFINITION)?.get(&C::lend(&C::universe()[key]))?;
        Ok(found.as_ref().map(number::<C>))
    }

    fn entry(&self, session: &Session, key: usize) -> Result<Option<(u64, Version)>> {
        let entry = session.collection(&C::DEFINITION)?.entry(&C::lend(&C::universe()[key]))?;
        Ok(entry.map(|entry| (number::<C>(entry.value()), entry.version())))
    }

    fn contains(&self, session: &Session, key: usize) -> Result<bool> {
        session.collection(&C::DEFINITION)?.contains(&C::lend(&C::universe()[key]))
    }

    fn get_many(&self, session: &Session, keys: &[usize]) -> Result<Vec<Option<u64>>> {
        let universe = C::universe();
        let keys: Vec<_> = keys.iter().map(|&key| C::lend(&universe[key])).collect();
        let found = session.collection(&C::DEFINITION)?.get_many(&keys)?;
        Ok(found.iter().map(|value| value.as_ref().map(number::<C>)).collect())
    }

    fn iter(&self, session: &Session) -> Result<Vec<(usize, u64)>> {
        rows::<C>(session.collection(&C::DEFINITION)?.iter()?)
    }

    fn prefix(&self, session: &Session, prefix: usize) -> Result<Vec<(usize, u64)>> {
        rows::<C>(C::scan(&session.collection(&C::DEFINITION)?, prefix)?)
    }

    fn range(&self, session: &Session, (from, to): (Bound<usize>, Bound<usize>)) -> Result<Vec<(usize, u64)>> {
        let universe = C::universe();
        let lent = |bound: Bound<usize>| bound.map(|key| C::lend(&universe[key]));
        rows::<C>(session.collection(&C::DEFINITION)?.range((lent(from), lent(to)))?)
    }

    fn count(&self, session: &Session) -> Result<u64> {
        session.collection(&C::DEFINITION)?.count()
    }
}

/// The value that stands for a number: most are short, every sixteenth fills half a page of a scan, and some of these
/// lie in two chunks.
fn valued<C: Case>(number: u64) -> C::Value {
    let length = match number {
        _ if number.is_multiple_of(64) => 300_000,
        _ if number.is_multiple_of(16) => 70_000,
        _ => number % 300,
    };
    C::value(format!("{number} {}", "z".repeat(length as usize)))
}

fn number<C: Case>(value: &C::Value) -> u64 {
    let number = C::text(value).split(' ').next().unwrap().parse().unwrap();
    assert!(*value == valued::<C>(number), "the value of {number} came back otherwise");
    number
}

/// The rows of a scan: as they come from an ordered collection, sorted from a hidden one.
fn rows<C: Case>(scan: Scan<C::Key, C::Value>) -> Result<Vec<(usize, u64)>> {
    let universe = C::universe();
    let place = |key: &Owned<C>| universe.binary_search(key).unwrap_or_else(|_| panic!("a key that nobody wrote"));
    let mut rows = Vec::new();
    for row in scan {
        let (key, value) = row?;
        rows.push((place(&key), number::<C>(&value)));
    }
    if !C::IS_ORDERED {
        rows.sort_unstable();
    }
    Ok(rows)
}
