//! The one way in: a request to the desk, of a running service or of a store that is opened here.

use std::os::unix::net::UnixStream;
use std::path::Path;

use strongroom::desk::{self, CustodyDesk, Done, Reply, Request};
use strongroom::identity::{Claims, Jwks, JwtVerifier, Oidc, Rejection, Verifier};
use strongroom::{ErrorKind, LocalRoots, RootSet, Strongroom};

use crate::failure::Failure;
use crate::settings::Settings;

/// What the folder of a command is called at the desk of a store that is opened here.
const FOLDER: &str = "folder";

pub enum Door<'s> {
    /// A running service.
    Socket(&'s Path),
    /// A closed store, now open.
    Store(CustodyDesk),
}

impl<'s> Door<'s> {
    /// The service, if one answers; else the store.
    pub fn open(settings: &'s Settings) -> Result<Self, Failure> {
        match (&settings.socket, &settings.store) {
            (Some(socket), None) => Ok(Self::Socket(socket)),
            (Some(socket), Some(_)) if UnixStream::connect(socket).is_ok() => Ok(Self::Socket(socket)),
            (_, Some(_)) => open_store(settings).map(|room| Self::Store(room.custody_desk())),
            (None, None) => Err(Failure::usage("neither --socket nor --store is given, and no settings name one")),
        }
    }

    /// What a folder is called at this desk. Over a socket it has that name already.
    pub fn folder(&mut self, folder: &Path) -> Result<String, Failure> {
        if let Self::Store(desk) = self {
            *desk = desk.clone().folder(FOLDER, folder)?;
            return Ok(FOLDER.to_owned());
        }
        match folder.to_str() {
            Some(name) if !name.contains('/') => Ok(name.to_owned()),
            _ => Err(Failure::usage("a running service is told the name of one of its folders, and no path")),
        }
    }

    /// Asks, and hands every line of the answer but the last to `told`.
    pub fn ask(&self, request: &Request, mut told: impl FnMut(&Reply)) -> Result<Done, Failure> {
        match self {
            Self::Socket(path) => Ok(desk::ask(path, request, told)?),
            Self::Store(desk) => {
                let (json, mut last) = (request.to_json()?, None);
                let heard = desk.handle(&json, &mut |line| {
                    match Reply::parse(line).map_err(std::io::Error::other)? {
                        Reply::Done(done) => last = Some(Ok(done)),
                        Reply::Error(refusal) => last = Some(Err(strongroom::Error::from(refusal).into())),
                        reply => told(&reply),
                    }
                    Ok(())
                });
                let unheard = || Failure::new(ErrorKind::Internal, "the desk gave no answer");
                heard.map_err(|_| unheard())?;
                last.unwrap_or_else(|| Err(unheard()))
            }
        }
    }
}

/// Verifies custodians. Whose users the service lets in is not known here, so tenants of any issuer can be made.
struct OfCustodians(JwtVerifier);

impl Verifier for OfCustodians {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        self.0.verify(credential, now_secs)
    }
}

/// Opens a store that is there: a custodian with a wrong path must not make a new one.
fn open_store(settings: &Settings) -> Result<Strongroom, Failure> {
    let missing = |option: &str| Failure::usage(format!("{option} is missing"));
    let store = settings.store.as_ref().ok_or_else(|| missing("--store"))?;
    if !store.join("FORMAT").is_file() {
        return Err(Failure::usage(format!("{} is not a strongroom store", store.display())));
    }
    let jwks = settings.jwks.clone().ok_or_else(|| missing("--jwks"))?;
    let issuer = settings.issuer.as_ref().ok_or_else(|| missing("--issuer"))?;
    let audience = settings.audience.as_ref().ok_or_else(|| missing("--audience"))?;
    let profile = Oidc::new(issuer, audience);
    let verifier = JwtVerifier::builder().oidc(profile, move || Jwks::from_file(&jwks)).build()?;
    let room = Strongroom::builder(store, roots(settings)?, OfCustodians(verifier))
        .service_root(&settings.root)
        .service_speaker(issuer, &settings.service);
    let room = settings.regions.iter().fold(room, |room, (name, folder)| room.region(name, folder));
    room.open().map_err(|error| match error.kind() {
        ErrorKind::Conflict => Failure::new(
            ErrorKind::Conflict,
            format!("{error}\n  A service has the store open: ask it with --socket, or stop it first."),
        ),
        _ => error.into(),
    })
}

/// All root keys: those in their folder, and those in vaults.
pub fn roots(settings: &Settings) -> Result<RootSet, Failure> {
    let vaults = settings.vaults.iter().try_fold(RootSet::new(), |roots, vault| vault.join(roots))?;
    match &settings.keys {
        None if !settings.vaults.is_empty() => Ok(vaults),
        _ => Ok(vaults.local(local_roots(settings)?)?),
    }
}

/// The root keys in their folder, which must be there.
pub fn local_roots(settings: &Settings) -> Result<LocalRoots, Failure> {
    let keys = settings.keys.as_ref().ok_or_else(|| Failure::usage("--keys is missing"))?;
    if !keys.is_dir() {
        return Err(Failure::usage(format!("{} is not a folder of root keys", keys.display())));
    }
    Ok(LocalRoots::open(keys)?)
}
