//! All that the service knows of strongroom: the one place to read for how it is used.

use std::sync::Arc;

use strongroom::{
    Clock, Collection, CollectionDef, Error, ErrorKind, Expected, Key, Result, Session, Strongroom, Version,
};

use crate::letter::Reading;
use crate::model::{CONTENTS, FOLDERS, Folder, IMPORTED, Imported, LETTERS, Letter, STANDING, Slot};

/// The most rows that one page looks at. A search that has to look further answers with what it has, and where to go on.
const LOOK_MAX: usize = 2000;
/// How often a change tries again that somebody else was ahead of.
const ATTEMPTS: usize = 16;

/// The store, as the service's handlers see it: a door to mailboxes. A cheap handle.
#[derive(Clone)]
pub struct Store {
    room: Strongroom,
    clock: Arc<dyn Clock>,
}

/// The mail of one tenant, for one request of one bearer.
#[derive(Clone)]
pub struct Mailbox {
    session: Session,
    clock: Arc<dyn Clock>,
}

/// A message that is to be stored.
pub struct NewLetter {
    /// What it says.
    pub reading: Reading,
    /// The message as it came.
    pub raw: Vec<u8>,
    /// Whether it was read already.
    pub seen: bool,
    /// From this second since 1970 on it is gone.
    pub expires_at_secs: Option<u64>,
}

/// Some messages of a folder, newest first.
pub struct Page {
    /// The messages.
    pub rows: Vec<(Slot, Letter)>,
    /// Where the next page begins: after this one. `None` at the end.
    pub next: Option<Slot>,
}

impl Store {
    /// The mailboxes of a store that is open.
    #[must_use]
    pub fn new(room: Strongroom, clock: Arc<dyn Clock>) -> Self {
        Self { room, clock }
    }

    /// The store's own clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Opens the mailbox that the token itself speaks for.
    ///
    /// # Errors
    /// `Denied` if it speaks for none.
    pub async fn home(&self, token: String) -> Result<Mailbox> {
        let (room, clock) = (self.room.clone(), self.clock.clone());
        let token = zeroize::Zeroizing::new(token);
        blocking(move || Ok(Mailbox { session: room.home_session(&token)?, clock })).await
    }

    /// Opens the mailbox of `tenant` for the bearer of `token`.
    ///
    /// # Errors
    /// `Denied` unless the token speaks for the tenant; a tenant that is unknown looks like one that is forbidden.
    pub async fn mailbox(&self, token: String, tenant: String) -> Result<Mailbox> {
        let (room, clock) = (self.room.clone(), self.clock.clone());
        let token = zeroize::Zeroizing::new(token);
        blocking(move || Ok(Mailbox { session: room.session(&token, &tenant)?, clock })).await
    }
}

impl Mailbox {
    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.session.tenant().as_str()
    }

    /// When the session ends, in seconds since 1970.
    #[must_use]
    pub fn ends_at_secs(&self) -> u64 {
        self.session.identity().ends_at_secs()
    }

    /// Who asks, in the issuer's words.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.session.identity().subject()
    }

    /// The names of the folders: the standing ones, then those that were made, in order.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn folders(&self) -> Result<Vec<String>> {
        self.with(|mailbox| {
            let mut made = Vec::new();
            if let Some(folders) = mailbox.readable(&FOLDERS)? {
                for row in folders.iter()? {
                    let ((name,), _) = row?;
                    made.push(name);
                }
            }
            made.sort();
            Ok(STANDING.iter().map(|(name, _)| (*name).to_owned()).chain(made).collect())
        })
        .await
    }

    /// Makes a folder. Whether it was not there.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn make_folder(&self, name: String) -> Result<bool> {
        self.with(move |mailbox| {
            if STANDING.iter().any(|(standing, _)| *standing == name) {
                return Ok(false);
            }
            let folder = Folder { number: random()?.max(STANDING.len() as u64 + 1) };
            let batch = mailbox.session.batch().put_if(&FOLDERS, &(&name,), &folder, Expected::Absent)?;
            match batch.commit() {
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
                made => made.map(|()| true),
            }
        })
        .await
    }

    /// A page of a folder: at most `limit` messages after `after`, of those in which `query` occurs, in whatever case.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder.
    pub async fn page(&self, folder: String, after: Option<Slot>, limit: usize, query: String) -> Result<Page> {
        self.with(move |mailbox| mailbox.page_now(&folder, after, limit, &query.to_lowercase())).await
    }

    /// A message as lists show it, and its version.
    ///
    /// # Errors
    /// `NotFound` if it is not, or no longer, there.
    pub async fn letter(&self, folder: String, slot: Slot) -> Result<(Letter, Version)> {
        self.with(move |mailbox| mailbox.letter_now(mailbox.number(&folder)?, slot)).await
    }

    /// A message itself.
    ///
    /// # Errors
    /// `NotFound` if it is gone meanwhile.
    pub async fn content(&self, letter: &Letter) -> Result<Vec<u8>> {
        let number = letter.content;
        self.with(move |mailbox| {
            let found = mailbox.readable(&CONTENTS)?.map(|contents| contents.get(&number)).transpose()?.flatten();
            found.ok_or_else(no_such_letter)
        })
        .await
    }

    /// Stores messages, each in its folder: all of them or none. Their slots, in order.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder.
    pub async fn put(&self, letters: Vec<(String, NewLetter)>) -> Result<Vec<Slot>> {
        self.with(move |mailbox| {
            let (mut batch, mut slots) = (mailbox.session.batch(), Vec::new());
            for (folder, new) in letters {
                let (slot, letter, raw) = mailbox.prepare(new)?;
                let key = slot.in_folder(mailbox.number(&folder)?);
                batch = batch.put(&CONTENTS, &letter.content, &raw)?.put(&LETTERS, &key, &letter)?;
                slots.push(slot);
            }
            batch.commit()?;
            Ok(slots)
        })
        .await
    }

    /// Stores a message unless one of this SHA-256 was ever imported. Whether it was stored.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder.
    pub async fn import(&self, digest: (u128, u128), folder: String, new: NewLetter) -> Result<bool> {
        self.with(move |mailbox| {
            let key_folder = mailbox.number(&folder)?;
            let (slot, letter, raw) = mailbox.prepare(new)?;
            let imported = Imported { at_secs: mailbox.now_secs() };
            let batch = mailbox.session.batch().put_if(&IMPORTED, &digest, &imported, Expected::Absent)?;
            let batch = batch.put(&CONTENTS, &letter.content, &raw)?;
            match batch.put(&LETTERS, &slot.in_folder(key_folder), &letter)?.commit() {
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
                stored => stored.map(|()| true),
            }
        })
        .await
    }

    /// Whether a message of this SHA-256 was ever imported.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn is_imported(&self, digest: (u128, u128)) -> Result<bool> {
        self.with(move |mailbox| {
            let found = mailbox.readable(&IMPORTED)?.map(|imported| imported.contains(&digest)).transpose()?;
            Ok(found.unwrap_or(false))
        })
        .await
    }

    /// Marks a message as seen or not, if it is still of this version. Its new version.
    ///
    /// # Errors
    /// `NotFound` if it is not there, `Conflict` if it is of another version.
    pub async fn mark(&self, folder: String, slot: Slot, seen: bool, expected: Version) -> Result<Version> {
        self.with(move |mailbox| {
            let number = mailbox.number(&folder)?;
            let (letter, version) = mailbox.letter_now(number, slot)?;
            check(version, Some(expected))?;
            let letter = Letter { seen, ..letter };
            mailbox.session.collection(&LETTERS)?.put_if(&slot.in_folder(number), &letter, version)
        })
        .await
    }

    /// Moves a message to another folder, where it has the same slot, in one transaction: however often and by however many
    /// it is asked for, the message is in one folder. Asking again for what has been done changes nothing.
    ///
    /// # Errors
    /// `NotFound` if it is in neither folder, `Conflict` if it is of another version than expected.
    pub async fn move_to(&self, from: String, slot: Slot, to: String, expected: Option<Version>) -> Result<()> {
        self.with(move |mailbox| {
            let (from, to) = (mailbox.number(&from)?, mailbox.number(&to)?);
            persist(expected, || mailbox.try_to_move(from, slot, to, expected))
        })
        .await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// `NotFound` if it is not there, `Conflict` if it is of another version than expected.
    pub async fn delete(&self, folder: String, slot: Slot, expected: Option<Version>) -> Result<()> {
        self.with(move |mailbox| {
            let number = mailbox.number(&folder)?;
            persist(expected, || {
                let (letter, version) = mailbox.letter_now(number, slot)?;
                check(version, expected)?;
                let batch = mailbox.session.batch().delete(&CONTENTS, &letter.content)?;
                batch.delete_if(&LETTERS, &slot.in_folder(number), version)?.commit()
            })
        })
        .await
    }
}

/// What happens off the runtime's threads.
impl Mailbox {
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let mailbox = self.clone();
        blocking(move || work(&mailbox)).await
    }

    /// A collection to read from. `None` if it has never been written to, and the bearer may not make it.
    fn readable<K: Key, V>(&self, definition: &CollectionDef<K, V>) -> Result<Option<Collection<K, V>>> {
        match self.session.collection(definition) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// The number of a folder.
    fn number(&self, name: &str) -> Result<u64> {
        if let Some((_, number)) = STANDING.iter().find(|(standing, _)| *standing == name) {
            return Ok(*number);
        }
        let found = self.readable(&FOLDERS)?.map(|folders| folders.get(&(name,))).transpose()?.flatten();
        Ok(found.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such folder"))?.number)
    }

    fn page_now(&self, folder: &str, after: Option<Slot>, limit: usize, query: &str) -> Result<Page> {
        let number = self.number(folder)?;
        let mut page = Page { rows: Vec::new(), next: None };
        let Some(letters) = self.readable(&LETTERS)? else { return Ok(page) };
        let from = after.unwrap_or(Slot { age: 0, tail: 0 }).in_folder(number);
        let rows = letters.range(from..=(number, u64::MAX, u64::MAX))?;
        let (mut looked, mut last) = (0, None);
        for row in rows {
            let ((_, age, tail), letter) = row?;
            let slot = Slot { age, tail };
            if Some(slot) == after {
                continue;
            }
            if page.rows.len() == limit || looked == LOOK_MAX {
                page.next = last;
                break;
            }
            (looked, last) = (looked + 1, Some(slot));
            if self.lives(&letter) && contains(&letter, query) {
                page.rows.push((slot, letter));
            }
        }
        Ok(page)
    }

    fn letter_now(&self, folder: u64, slot: Slot) -> Result<(Letter, Version)> {
        let letters = self.readable(&LETTERS)?;
        let entry = letters.map(|letters| letters.entry(&slot.in_folder(folder))).transpose()?.flatten();
        let entry = entry.filter(|entry| self.lives(entry.value())).ok_or_else(no_such_letter)?;
        let version = entry.version();
        Ok((entry.into_value(), version))
    }

    fn try_to_move(&self, from: u64, slot: Slot, to: u64, expected: Option<Version>) -> Result<()> {
        let (letter, version) = match self.letter_now(from, slot) {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.letter_now(to, slot).map(drop),
            found => found?,
        };
        check(version, expected)?;
        if from == to {
            return Ok(());
        }
        let batch = self.session.batch().delete_if(&LETTERS, &slot.in_folder(from), version)?;
        batch.put_if(&LETTERS, &slot.in_folder(to), &letter, Expected::Absent)?.commit()
    }

    /// A new message as it is stored: its slot, what lists show, and itself.
    fn prepare(&self, new: NewLetter) -> Result<(Slot, Letter, Vec<u8>)> {
        let NewLetter { reading, raw, seen, expires_at_secs } = new;
        let now_ms = self.clock.wall_ms();
        let slot = Slot { age: u64::MAX - now_ms, tail: random()? };
        let letter = Letter {
            content: u128::from(random()?) << 64 | u128::from(random()?),
            excerpt: reading.excerpt(),
            date_secs: reading.date_secs.unwrap_or_else(|| i64::try_from(now_ms / 1000).unwrap_or(i64::MAX)),
            size: raw.len() as u64,
            seen,
            attachments: u32::try_from(reading.attachments.len()).unwrap_or(u32::MAX),
            from: reading.from,
            to: reading.to,
            subject: reading.subject,
            expires_at_secs,
        };
        Ok((slot, letter, raw))
    }

    fn lives(&self, letter: &Letter) -> bool {
        letter.expires_at_secs.is_none_or(|end| self.now_secs() < end)
    }

    fn now_secs(&self) -> u64 {
        self.clock.wall_ms() / 1000
    }
}

/// Tries again what somebody else was ahead of, unless it was to be done to one version only.
fn persist<T>(expected: Option<Version>, attempt: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 0..ATTEMPTS {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Conflict && expected.is_none() => {}
            done => return done,
        }
    }
    Err(Error::new(ErrorKind::Throttled, "the message is being changed too often"))
}

fn contains(letter: &Letter, query: &str) -> bool {
    let Letter { from, to, subject, excerpt, .. } = letter;
    query.is_empty() || [subject, from, to, excerpt].into_iter().any(|text| text.to_lowercase().contains(query))
}

fn check(version: Version, expected: Option<Version>) -> Result<()> {
    match expected {
        Some(expected) if expected != version => {
            Err(Error::new(ErrorKind::Conflict, "the message has been changed meanwhile"))
        }
        _ => Ok(()),
    }
}

fn no_such_letter() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such message")
}

/// A name that nobody has had: 32 hexadecimal digits.
///
/// # Errors
/// `Unavailable` if there is no randomness.
pub fn random_name() -> Result<String> {
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    let failed = |_| Error::new(ErrorKind::Unavailable, "the operating system gives no randomness");
    aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Runs what may wait for the disk off the runtime's threads, in the span that it belongs to.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "a request has failed in an unexpected way")))
}
