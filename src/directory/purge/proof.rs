//! The proof of a purge: the store attacks itself with all that it has, and signs what came of it.

use std::collections::BTreeMap;

use super::row::{Destruction, Purge, Verdict};
use super::{Directory, PURGES, Samples, Thoroughness};
use crate::audit::{Act, Actor, Event};
use crate::cells::{Medium, SLOT_LEN};
use crate::engine::{Batch, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, Ring, RootProbe};
use crate::kms::RootError;
use crate::name::Incarnation;
use crate::purge::{self, PurgeStatus, Receipt, RootState, RootVersion, SearchReport, Statement, TraceKind};
use crate::seal::{self, Place};
use crate::secret::Key32;
use crate::traces::Progress;

impl Directory {
    /// Searches every file, tries to open what is found, and issues a receipt.
    pub(super) fn prove_purge(
        &self,
        purge: &mut Purge,
        samples: &Samples,
        by: &Actor,
        thoroughness: Thoroughness,
        progress: Progress<'_>,
    ) -> Result<()> {
        let destruction = purge.destruction()?;
        let search = self.cells.search(&destruction.traces, progress);
        let ended =
            || Error::new(ErrorKind::Closed, "the search was ended before its end; the proof is still to be made");
        let search = search.ok_or_else(ended)?;
        let mut tried = self.try_to_open(purge.incarnation, destruction, &search, samples);
        if thoroughness == Thoroughness::Exhaustive && !samples.is_empty() {
            let found = self.try_windows(purge.incarnation, samples, &mut || progress(&search))?;
            let (windows, opened) = found.ok_or_else(ended)?;
            tried.windows = Some(windows);
            tried.opened = tried.opened.max(opened);
        }
        self.issue(purge, search, tried, by)
    }

    /// Tries every 32 bytes of every file as the tenant key of the samples, one of each generation: whether anything at all
    /// is a key of theirs, whoever put it there. Returns how many were tried, and how many samples they are a key of; `None`
    /// if it did not go on.
    pub(super) fn try_windows(
        &self,
        incarnation: Incarnation,
        samples: &Samples,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<(u64, u32)>> {
        let mut of_generation = BTreeMap::new();
        for (key, sealed) in samples {
            let (Some(collection), Some(generation)) = (key.first_chunk(), seal::peek_generation(sealed)) else {
                continue;
            };
            of_generation.entry(generation).or_insert((u32::from_be_bytes(*collection), sealed.clone(), false));
        }
        let mut attempt = |window: &[u8; 32]| {
            let key = Key32::with(|bytes| *bytes = *window);
            for (collection, sealed, is_open) in of_generation.values_mut().filter(|(.., is_open)| !is_open) {
                *is_open = seal::is_sealed_under(&key, incarnation, *collection, sealed);
            }
        };
        let tried = self.cells.each_window(&mut attempt, goes_on);
        let tried = tried.map_err(|error| Error::io("a file of the store cannot be searched", error))?;
        let opened = of_generation.values().filter(|(.., is_open)| *is_open).count();
        Ok(tried.map(|tried| (tried, u32::try_from(opened).unwrap_or(u32::MAX))))
    }

    /// Asks the root keys again, and issues another receipt if that or what was declared changes what the last one said.
    pub(crate) fn finalize_purge(&self, incarnation: Incarnation, by: &Actor) -> Result<PurgeStatus> {
        let _one = self.purging.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut purge = self.purge(incarnation)?.ok_or_else(super::no_such_purge)?;
        let last = match purge.receipts {
            0 => None,
            number => self.receipt(incarnation, number)?,
        };
        let last = last.ok_or_else(|| Error::conflict("the purge has no receipt yet; carry it out first"))?;
        let last = Receipt::parse(self.trails.verifier_key(incarnation)?.open(&last)?)?;
        let (roots, escrows) = (self.root_versions_of(&purge)?, purge.destruction()?.escrows.clone());
        if (roots, escrows) != (last.roots, last.escrows) {
            self.issue(&mut purge, last.search, last.samples, by)?;
        }
        Ok(purge.status())
    }

    /// What an attacker would do who has the store's files and the root keys: every slot of the tenant that is still
    /// somewhere, and the sealed records.
    fn try_to_open(
        &self,
        incarnation: Incarnation,
        destruction: &Destruction,
        search: &SearchReport,
        samples: &Samples,
    ) -> purge::Samples {
        let (cell, number) = destruction.place;
        let in_place = self.cells.with_rings(cell, |rings| keys::copies(rings, number));
        let found = search.hits.iter().filter(|hit| hit.kind == TraceKind::RingSlot);
        let found = found.filter_map(|hit| self.cells.read_found(&hit.file, hit.offset, SLOT_LEN));
        let slots = in_place.unwrap_or_default().into_iter().chain(found);
        let rings = slots.filter_map(|slot| keys::open_stray(&slot, incarnation, &**self.register.roots()));
        let rings: Vec<Ring> = rings.collect();
        let opens = |(key, sealed): &&(Vec<u8>, Vec<u8>)| {
            let collection = key.first_chunk().map_or(0, |id| u32::from_be_bytes(*id));
            rings.iter().any(|ring| seal::open(ring, Place { collection, engine_key: key }, sealed).is_ok())
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let opened = count(samples.iter().filter(opens).count());
        purge::Samples { tried: count(samples.len()), rings_opened: count(rings.len()), opened, windows: None }
    }

    fn issue(&self, purge: &mut Purge, search: SearchReport, samples: purge::Samples, by: &Actor) -> Result<()> {
        let roots = self.root_versions_of(purge)?;
        let checkpoint = self.trails.checkpoint(purge.incarnation)?;
        let _changes = self.begin_change();
        // Somebody may have declared something meanwhile.
        *purge = self.purge(purge.incarnation)?.ok_or_else(super::no_such_purge)?;
        let receipt = self.receipt_of(purge, search, samples, roots, checkpoint)?.judge();
        let note = self.trails.sign(purge.incarnation, &receipt.render()?)?;
        purge.receipts = receipt.number;
        purge.verdict =
            Some(Verdict { is_proven: receipt.proven, is_final: receipt.is_final, missing: receipt.missing });
        let mut batch = Batch::new(Durability::Synced);
        self.put_receipt(&mut batch, purge.incarnation, purge.receipts, &note)?;
        self.register.put(&mut batch, PURGES, &[purge.incarnation.as_bytes()], purge)?;
        let event = Event::new(Act::PURGE_DONE, by.clone()).detail("receipt", purge::digest(&note));
        let event = event.detail("proven", receipt.proven).detail("final", receipt.is_final);
        self.trails.apply(batch, self.to_both_trails(purge, event))?;
        self.unfinished_purges().remove(&purge.incarnation);
        if !receipt.proven {
            tracing::error!(incarnation = ?purge.incarnation, "a purge is not proven; its receipt says why");
        }
        Ok(())
    }

    fn receipt_of(
        &self,
        purge: &Purge,
        search: SearchReport,
        samples: purge::Samples,
        roots: Vec<RootVersion>,
        checkpoint: String,
    ) -> Result<Receipt> {
        let Purge { tenant, incarnation, requested, due_secs, approved, receipts, .. } = purge.clone();
        let Destruction { at_secs, place, epochs, generations, keys_were_opened, escrows, medium, .. } =
            purge.destruction()?.clone();
        let approved: Option<Statement> = approved;
        Ok(Receipt {
            document: Receipt::document(),
            store: format!("{:?}", self.register.store_id()),
            tenant: tenant.as_str().to_owned(),
            incarnation: format!("{incarnation:?}"),
            number: receipts + 1,
            issued_secs: self.register.now_secs(),
            requested,
            approved: approved.ok_or_else(|| Error::corrupt("a purge was carried out that nobody had approved"))?,
            due_secs,
            destroyed_secs: at_secs,
            epochs,
            generations,
            keys_were_opened,
            roots,
            escrows,
            medium,
            records_wiped: !self.is_dirty(place)?,
            search,
            samples,
            checkpoint,
            proven: false,
            is_final: false,
            missing: Vec::new(),
        })
    }

    /// How the root keys answer now for the versions that the ring was under.
    fn root_versions_of(&self, purge: &Purge) -> Result<Vec<RootVersion>> {
        let mut versions: Vec<RootVersion> = Vec::new();
        for probe in &purge.destruction()?.roots {
            let RootProbe { root, version, .. } = probe;
            if versions.iter().any(|known| known.root == *root && known.version == *version) {
                continue;
            }
            let state = match probe.ask(purge.incarnation, &**self.register.roots()) {
                Ok(RootError::Destroyed) => RootState::Destroyed,
                Ok(RootError::Denied | RootError::Disabled) => RootState::Refused,
                Ok(RootError::Tampered) => RootState::Alive,
                Ok(RootError::Unreachable | RootError::Throttled) => RootState::Unknown,
                Err(error) if error.kind() == ErrorKind::Internal => RootState::Alive,
                Err(error) => return Err(error),
            };
            versions.push(RootVersion { root: root.clone(), version: version.clone(), state });
        }
        Ok(versions)
    }
}

/// As a receipt says what a ring lay on.
pub(super) fn describe(medium: Option<Medium>) -> purge::Medium {
    let (file_system, overwrites_in_place) = match medium {
        None => ("memory", Some(true)),
        Some(Medium::InPlace(name)) => (name, Some(true)),
        Some(Medium::Copies(name)) => (name, Some(false)),
        Some(Medium::Unknown) => ("unknown", None),
    };
    purge::Medium { file_system: file_system.to_owned(), overwrites_in_place }
}
