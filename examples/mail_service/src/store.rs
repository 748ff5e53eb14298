//! All that the service knows of strongroom: the one place to read for how it is used.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use strongroom::aio::{Collection, Session, Strongroom};
use strongroom::{Clock, CollectionDef, Error, ErrorKind, Expected, Key, PutOptions, Result, Version};

use crate::letter::Reading;
use crate::model::{CONTENTS, FOLDERS, Folder, IMPORTED, Imported, LETTERS, Letter, STANDING, Slot};

/// The most rows that one page looks at. A search that has to look further answers with what it has, and where to go on.
const LOOK_MAX: usize = 2000;

/// The store, as the service's handlers see it: a door to mailboxes. A cheap handle.
#[derive(Clone)]
pub struct Store {
    room: Strongroom,
    clock: Arc<dyn Clock>,
}

/// The mail of one tenant, for one request of one bearer.
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

/// A message that has been stored.
pub struct Stored {
    /// Where in its folder.
    pub slot: Slot,
    /// As lists show it.
    pub letter: Letter,
    /// Of that.
    pub version: Version,
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
    pub async fn home(&self, token: &str) -> Result<Mailbox> {
        Ok(Mailbox { session: self.room.home_session(token).await?, clock: self.clock.clone() })
    }

    /// Opens the mailbox of `tenant` for the bearer of `token`.
    ///
    /// # Errors
    /// `Denied` unless the token speaks for the tenant; a tenant that is unknown looks like one that is forbidden.
    pub async fn mailbox(&self, token: &str, tenant: &str) -> Result<Mailbox> {
        Ok(Mailbox { session: self.room.session(token, tenant).await?, clock: self.clock.clone() })
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

    /// Whether the bearer may change anything.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.session.identity().may_write()
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
        let mut made = Vec::new();
        if let Some(folders) = self.readable(&FOLDERS).await? {
            let mut rows = folders.iter().await?;
            while let Some(row) = rows.next().await {
                let ((name,), _) = row?;
                made.push(name);
            }
        }
        made.sort();
        Ok(STANDING.iter().map(|(name, _)| (*name).to_owned()).chain(made).collect())
    }

    /// Makes a folder. Whether it was not there.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn make_folder(&self, name: &str) -> Result<bool> {
        if STANDING.iter().any(|(standing, _)| *standing == name) {
            return Ok(false);
        }
        let folder = Folder { number: random()?.max(STANDING.len() as u64 + 1) };
        is_first(self.session.batch().put_if(&FOLDERS, &(name,), folder, Expected::Absent).commit().await)
    }

    /// A page of a folder: at most `limit` messages after `after`, of those in which `query` occurs, in whatever case.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder.
    pub async fn page(&self, folder: &str, after: Option<Slot>, limit: usize, query: &str) -> Result<Page> {
        let (number, query) = (self.number(folder).await?, query.to_lowercase());
        let mut page = Page { rows: Vec::new(), next: None };
        let Some(letters) = self.readable(&LETTERS).await? else { return Ok(page) };
        let from = after.unwrap_or(Slot { age: 0, tail: 0 }).in_folder(number);
        let mut rows = letters.range(from..=(number, u64::MAX, u64::MAX)).await?;
        let (mut looked, mut last) = (0, None);
        while let Some(row) = rows.next().await {
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
            if contains(&letter, &query) {
                page.rows.push((slot, letter));
            }
        }
        Ok(page)
    }

    /// A message as lists show it, and its version.
    ///
    /// # Errors
    /// `NotFound` if it is not, or no longer, there.
    pub async fn letter(&self, folder: &str, slot: Slot) -> Result<(Letter, Version)> {
        let key = slot.in_folder(self.number(folder).await?);
        let letters = self.readable(&LETTERS).await?.ok_or_else(no_such_letter)?;
        let entry = letters.entry(&key).await?.ok_or_else(no_such_letter)?;
        let version = entry.version();
        Ok((entry.into_value(), version))
    }

    /// A message itself.
    ///
    /// # Errors
    /// `NotFound` if it is gone meanwhile.
    pub async fn content(&self, letter: &Letter) -> Result<Vec<u8>> {
        let contents = self.readable(&CONTENTS).await?.ok_or_else(no_such_letter)?;
        contents.get(&letter.content).await?.ok_or_else(no_such_letter)
    }

    /// Stores messages, each in its folder: all of them or none. Returns them in order.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder.
    pub async fn put(&self, letters: Vec<(&str, NewLetter)>) -> Result<Vec<Stored>> {
        let (mut batch, mut placed) = (self.session.batch(), Vec::new());
        for (folder, new) in letters {
            let (slot, letter, raw) = self.prepare(new)?;
            let (key, life) = (slot.in_folder(self.number(folder).await?), life(&letter));
            batch =
                batch.put_with(&LETTERS, &key, letter.clone(), life).put_with(&CONTENTS, &letter.content, raw, life);
            placed.push((slot, letter));
        }
        // Two of each message, and that of what lists show is the first.
        let versions = batch.commit().await?.into_iter().step_by(2);
        Ok(placed.into_iter().zip(versions).map(|((slot, letter), version)| Stored { slot, letter, version }).collect())
    }

    /// Stores a message unless one of this SHA-256 was ever imported. Whether it was stored.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder.
    pub async fn import(&self, digest: (u128, u128), folder: &str, new: NewLetter) -> Result<bool> {
        let (slot, letter, raw) = self.prepare(new)?;
        let key = slot.in_folder(self.number(folder).await?);
        let imported = Imported { at_secs: self.now_ms() / 1000 };
        let batch = self.session.batch().put_if(&IMPORTED, &digest, imported, Expected::Absent);
        is_first(batch.put(&CONTENTS, &letter.content, raw).put(&LETTERS, &key, letter).commit().await)
    }

    /// Whether a message of this SHA-256 was ever imported.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn is_imported(&self, digest: (u128, u128)) -> Result<bool> {
        match self.readable(&IMPORTED).await? {
            Some(imported) => imported.contains(&digest).await,
            None => Ok(false),
        }
    }

    /// Marks a message as seen or not, if it is still of this version. Its new version.
    ///
    /// # Errors
    /// `NotFound` if it is not there, `Conflict` if it is of another version.
    pub async fn mark(&self, folder: &str, slot: Slot, seen: bool, expected: Version) -> Result<Version> {
        let (letter, _) = self.letter(folder, slot).await?;
        let (letter, key) = (Letter { seen, ..letter }, slot.in_folder(self.number(folder).await?));
        let options = life(&letter).expecting(expected);
        self.session.collection(&LETTERS).await?.put_with(&key, letter, options).await
    }

    /// Moves a message to another folder, where it has the same slot, in one transaction: however often and by however many
    /// it is asked for, the message is in one folder. Returns its version there; `None` if it was there already, and nothing
    /// was changed: of what version it is by now, whoever asks has not seen.
    ///
    /// # Errors
    /// `NotFound` if it is in neither folder, `Conflict` if it is of another version than expected.
    pub async fn move_to(
        &self,
        from: &str,
        slot: Slot,
        to: &str,
        expected: Option<Version>,
    ) -> Result<Option<Version>> {
        let (from, to) = (slot.in_folder(self.number(from).await?), slot.in_folder(self.number(to).await?));
        let moving = self.session.transact(move |transaction| {
            let Some(found) = transaction.entry(&LETTERS, &from)? else {
                return if transaction.contains(&LETTERS, &to)? { Ok(None) } else { Err(no_such_letter()) };
            };
            if let Some(expected) = expected {
                transaction.expect(&LETTERS, &from, expected)?;
            }
            if from == to {
                return Ok(None);
            }
            transaction.delete(&LETTERS, &from)?;
            let options = PutOptions::new().expires_as(found.expires_at());
            transaction.put_with(&LETTERS, &to, found.value(), options).map(Some)
        });
        moving.await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// `NotFound` if it is not there, `Conflict` if it is of another version than expected.
    pub async fn delete(&self, folder: &str, slot: Slot, expected: Option<Version>) -> Result<()> {
        let key = slot.in_folder(self.number(folder).await?);
        let deleting = self.session.transact(move |transaction| {
            let letter = transaction.get(&LETTERS, &key)?.ok_or_else(no_such_letter)?;
            if let Some(expected) = expected {
                transaction.expect(&LETTERS, &key, expected)?;
            }
            transaction.delete(&CONTENTS, &letter.content)?;
            transaction.delete(&LETTERS, &key)
        });
        deleting.await
    }
}

impl Mailbox {
    /// A collection to read from. `None` if it has never been written to, and the bearer may not make it.
    async fn readable<K: Key + 'static, V: Send + 'static>(
        &self,
        definition: &CollectionDef<K, V>,
    ) -> Result<Option<Collection<K, V>>> {
        match self.session.collection(definition).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// The number of a folder.
    async fn number(&self, name: &str) -> Result<u64> {
        if let Some((_, number)) = STANDING.iter().find(|(standing, _)| *standing == name) {
            return Ok(*number);
        }
        let no_such_folder = || Error::new(ErrorKind::NotFound, "there is no such folder");
        let folders = self.readable(&FOLDERS).await?.ok_or_else(no_such_folder)?;
        Ok(folders.get(&(name,)).await?.ok_or_else(no_such_folder)?.number)
    }

    /// A new message as it is stored: its slot, what lists show, and itself.
    fn prepare(&self, new: NewLetter) -> Result<(Slot, Letter, Vec<u8>)> {
        let NewLetter { reading, raw, seen, expires_at_secs } = new;
        let now_ms = self.now_ms();
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

    fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }
}

/// How long a message and its content live.
fn life(letter: &Letter) -> PutOptions {
    let end = letter.expires_at_secs.map(|secs| UNIX_EPOCH + Duration::from_secs(secs));
    end.map_or_else(PutOptions::new, |end| PutOptions::new().expires_at(end))
}

/// Whether what was to be there once was put there now.
fn is_first(committed: Result<Vec<Version>>) -> Result<bool> {
    match committed {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        committed => committed.map(|_| true),
    }
}

fn contains(letter: &Letter, query: &str) -> bool {
    let Letter { from, to, subject, excerpt, .. } = letter;
    query.is_empty() || [subject, from, to, excerpt].into_iter().any(|text| text.to_lowercase().contains(query))
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
