//! One tenant beside the living ones: its records as they were, under another name, an incarnation and a ring of
//! their own.

use std::path::{Path, PathBuf};

use super::manifest::{File, Manifest, Part, Trust};
use super::repository::Repository;
use super::restore::graves;
use super::rows;
use crate::audit::Actor;
use crate::cells;
use crate::collection::Transplant;
use crate::directory::{ComesFrom, Directory, Newcomer, Row, Speaker, Tenant, check_speakers};
use crate::engine::{Batch, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::folder;
use crate::keys::Ring;
use crate::name::TenantName;
use crate::signing::Signer;

/// Which tenant is to come back from which backup, and under which name.
#[derive(Clone, Debug)]
#[must_use = "a restore does nothing until a custodian carries it out"]
pub struct TenantRestore {
    repository: PathBuf,
    tenant: String,
    name: String,
    number: Option<u64>,
    speakers: Vec<Speaker>,
}

/// Rows and bytes that are written at once.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;

impl TenantRestore {
    /// The records of `tenant` as they were in a backup in the folder `repository`, as a new tenant `name`.
    pub fn new(repository: impl AsRef<Path>, tenant: impl Into<String>, name: impl Into<String>) -> Self {
        let (repository, tenant, name) = (repository.as_ref().to_path_buf(), tenant.into(), name.into());
        Self { repository, tenant, name, number: None, speakers: Vec::new() }
    }

    /// Which backup, by its number; the newest unless said otherwise.
    pub fn backup(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// Who may speak for the new tenant: tokens of `issuer` whose tenant claim is `tenant_claim`. Everybody who speaks
    /// for the original today, unless said otherwise, and nobody else in any case: else a custodian, who reads no record,
    /// could show a tenant's to whomever he likes.
    pub fn speaker(mut self, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        self.speakers.push(Speaker::new(issuer, tenant_claim));
        self
    }
}

/// Writes what is transplanted, batch by batch.
struct Sink<'s> {
    directory: &'s Directory,
    tenant: &'s Tenant,
    batch: Batch,
    rows: usize,
    bytes: usize,
    total: u64,
}

/// A restore whose every condition has been checked.
struct Prepared {
    repository: Repository,
    manifest: Manifest,
    row: Row,
    from: std::sync::Arc<Ring>,
    newcomer: Newcomer,
}

/// Checks that a restore could begin, and returns the name that the tenant would have. Makes nothing.
pub(crate) fn check_restore(directory: &Directory, plan: &TenantRestore) -> Result<TenantName> {
    // Looking whom to believe makes the store's signing key at first need: a store without backups has none.
    Repository::open(&plan.repository)?;
    if !directory.has_signing_key()? {
        return Err(Error::invalid("the backups in the folder are of another store"));
    }
    let Prepared { newcomer, .. } = prepare(directory, plan)?;
    directory.check_newcomer(&newcomer)?;
    Ok(newcomer.name)
}

/// Carries out a restore. Returns the new tenant and how many rows it has.
pub(crate) fn restore_tenant(
    directory: &Directory,
    plan: &TenantRestore,
    by: &Actor,
) -> Result<(std::sync::Arc<Tenant>, u64)> {
    let Prepared { repository, manifest, row, from, newcomer } = prepare(directory, plan)?;
    let (tenant, to) = directory.create_veiled(&newcomer)?;
    let outcome = fill(directory, &repository, &manifest, &row, &tenant, (&from, &to), by);
    match outcome {
        Ok(rows) => {
            tracing::info!(incarnation = ?tenant.incarnation(), rows, "restored a tenant beside the living");
            Ok((tenant, rows))
        }
        Err(error) => {
            // What cannot be removed now goes when the store is next opened: nobody has signed in to it.
            drop(directory.delete_veiled(&tenant));
            Err(error)
        }
    }
}

fn prepare(directory: &Directory, plan: &TenantRestore) -> Result<Prepared> {
    let (original, name) = (TenantName::new(plan.tenant.as_str())?, TenantName::new(plan.name.as_str())?);
    let repository = Repository::open(&plan.repository)?;
    let trust = trust(directory)?;
    let manifest = repository.find(plan.number, &trust)?;
    let row = find_row(directory, &repository, &manifest, &original)?;
    let is_buried = graves(&repository, &manifest, &trust, false)?.contains(&directory.grave(row.incarnation)?);
    let living = directory.list().into_iter().find(|tenant| tenant.incarnation() == row.incarnation);
    let Some(living) = living.filter(|_| !is_buried) else {
        return Err(Error::new(ErrorKind::KeyDestroyed, "the tenant has been deleted, and does not come back"));
    };
    // What a recovery root has opened in an outage is for sessions: as for every act of custody, an owner has to allow.
    living.check_active()?;
    let from = living.ring_for_custody()?;
    if plan.speakers.iter().any(|speaker| !living.speakers().contains(speaker)) {
        return Err(Error::new(ErrorKind::Denied, "only who speaks for the original may speak for what comes back"));
    }
    let speakers = if plan.speakers.is_empty() { living.speakers() } else { &plan.speakers }.to_vec();
    check_speakers(&speakers)?;
    let region = row.region.clone();
    // The keys of the new tenant need the same consent: a restore must not take a customer's keys out of their hands.
    let policy = Some(directory.with_outline(&living, |outline| outline.policy.clone())?);
    let newcomer = Newcomer { name, speakers, region, own_cell: directory.has_own_cell(&living), policy };
    Ok(Prepared { repository, manifest, row, from, newcomer })
}

/// Whom an open store believes: itself.
pub(super) fn trust(directory: &Directory) -> Result<Trust> {
    let signer = Signer::new(&directory.signing_seed()?)?;
    Ok(Trust { store: directory.store_id(), key: signer.public()? })
}

fn find_row(directory: &Directory, repository: &Repository, manifest: &Manifest, name: &TenantName) -> Result<Row> {
    let wanted = directory.row_key(name)?;
    let mut found = None;
    rows::read_part(repository, manifest.part(Part::Directory), |key, value| {
        if key == wanted {
            found = Some(directory.open_row(&key, &value)?);
        }
        Ok(())
    })?;
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, "the backup does not hold a tenant of this name"))
}

fn fill(
    directory: &Directory,
    repository: &Repository,
    manifest: &Manifest,
    row: &Row,
    tenant: &Tenant,
    (from, to): (&Ring, &Ring),
    by: &Actor,
) -> Result<u64> {
    let mut transplant = Transplant::new(from, to);
    let batch = Batch::new(Durability::Buffered);
    let mut sink = Sink { directory, tenant, batch, rows: 0, bytes: 0, total: 0 };
    let mut each = |key: Vec<u8>, value: Vec<u8>| {
        let bytes = key.len() + value.len();
        let (key, envelope) = transplant.row(&key, value, directory.entropy())?;
        sink.batch.put(tenant.keyspace(), key, envelope);
        sink.count(bytes)
    };
    let records: Vec<&File> = manifest.part(Part::Records).collect();
    match manifest.cell(row.cell) {
        Some(cell) => {
            let scratch = directory.cells().scratch()?;
            // On a disk of the cell's own region: what must lie there is not even passing through another.
            let database = scratch.of_cell(row.cell, row.region.as_ref());
            folder::make(&database).map_err(|error| Error::io("the copy of a cell cannot be laid out", error))?;
            for file in manifest.part(Part::Cell(row.cell)) {
                repository.fetch_to(file, &database.join(&file.name))?;
            }
            let copy = cells::open_copy(&database, cell.boxes)?;
            rows::pages(&*copy.view()?, row.box_number, |(key, value)| each(key, value))?;
        }
        None if records.is_empty() && row.stamped => {
            return Err(Error::corrupt("the tenant's records are missing from the backup"));
        }
        None => rows::read_part(repository, records.into_iter(), each)?,
    }
    sink.flush()?;
    let Sink { total, .. } = sink;
    directory.engine_of(tenant)?.sync()?;
    if row.stamped && !transplant.has_catalog() {
        return Err(Error::corrupt("the tenant's catalog is missing from the backup"));
    }
    let comes_from = ComesFrom { original: row.incarnation, backup: manifest.header.number, by };
    directory.unveil(tenant, transplant.has_catalog(), &comes_from)?;
    Ok(total)
}

impl Sink<'_> {
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.rows += 1;
        self.bytes += bytes;
        self.total += 1;
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        (self.rows, self.bytes) = (0, 0);
        let batch = std::mem::replace(&mut self.batch, Batch::new(Durability::Buffered));
        let _write = self.tenant.begin_veiled_write()?;
        self.directory.engine_of(self.tenant)?.apply(batch)
    }
}
