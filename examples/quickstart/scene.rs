//! What the steps of the demonstration share.

use std::path::PathBuf;
use std::time::Duration;

use strongroom::{LocalRoots, Session, Strongroom};

use crate::documents::Documents;
use crate::failure::Outcome;
use crate::issuer::{self, ISSUER, Issuer, SERVICE};
use crate::report::{Phase, Report};
use crate::screen::Screen;

pub const CONTOSO: &str = "contoso";
pub const FABRIKAM: &str = "fabrikam";
pub const TENANTS: [&str; 2] = [CONTOSO, FABRIKAM];

pub const READ: &str = "strongroom.read";
pub const WRITE: &str = "strongroom.write";
pub const CUSTODIAN: &str = "strongroom.custodian";

pub struct Scene {
    pub screen: Screen,
    /// Holds the folders `store`, `keys`, `issuer`, `backups` and `recovery`.
    pub home: PathBuf,
    pub jwks: PathBuf,
    pub issuer: Issuer,
    pub documents: Documents,
    pub report: Report,
}

impl Scene {
    pub fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    /// Opens the store, or makes it. The root keys lie beside it, never in it.
    pub fn open(&self) -> Outcome<Strongroom> {
        let roots = LocalRoots::open_with_root(self.home.join("keys"), "service")?;
        let verifier = issuer::verifier(&self.jwks)?;
        Ok(Strongroom::builder(self.store(), roots, verifier).service_speaker(ISSUER, SERVICE).open()?)
    }

    /// Signs in to a tenant with a fresh token of one of its people.
    pub fn sign_in(&self, room: &Strongroom, tenant: &str) -> Outcome<Session> {
        Ok(room.session(&self.user_token(tenant)?, tenant)?)
    }

    pub fn user_token(&self, tenant: &str) -> Outcome<String> {
        self.issuer.token(tenant, "alice", &[READ, WRITE])
    }

    pub fn custodian_token(&self) -> Outcome<String> {
        self.issuer.token(SERVICE, "carol", &[CUSTODIAN])
    }

    pub fn measured(
        &mut self,
        name: &'static str,
        records: usize,
        bytes: usize,
        took: Duration,
        durability: &'static str,
    ) {
        let (records, bytes) = (records as u64, bytes as u64);
        self.report.phases.push(Phase { name, records, bytes, took, durability });
    }
}
