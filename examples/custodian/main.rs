//! A tool for custodians of a store: they make, suspend, resume and delete tenants, back them up and restore them, and
//! read no record.
//!
//! ```sh
//! STRONGROOM_TOKEN=.. cargo run --example custodian -- \
//!   --store room/store --keys room/keys --jwks issuer/jwks.json --issuer https://id.example --audience mail list
//! ```
//!
//! It opens the store itself, so the service must not be running. A running service offers the same acts through
//! `Strongroom::custody`.

mod safekeeping;

use std::path::PathBuf;
use std::process::ExitCode;

use safekeeping::Terms;
use strongroom::identity::{Jwks, JwtVerifier, Oidc};
use strongroom::{Custody, ErrorKind, LocalRoots, Strongroom, TenantSpec, TenantState};

const USAGE: &str = "\
Makes, suspends, resumes, deletes, backs up and restores the tenants of a strongroom.

usage: custodian OPTIONS COMMAND

commands:
  list                       every tenant, its state and who may speak for it
  create NAME ISSUER TENANT  a tenant for which tokens of ISSUER speak whose tenant claim is TENANT
  suspend NAME               ends its sessions and admits no more; its records stay
  resume NAME                admits its sessions again
  delete NAME --yes          destroys its keys and wipes its records, for ever

  recovery-key FILE          makes a recovery key; prints what to seal escrows to
  ring export FILE           all rings, sealed to each --recipient, or to STRONGROOM_PASSPHRASE
  backup FOLDER              the store, or the --cell or --tenant; what is unchanged is not copied again
  backup list FOLDER         the backups in a folder
  backup verify FOLDER       reads every byte of a backup
  backup drill FOLDER ESCROW SCRATCH
                             restores a backup into an absent folder, opens every record, and removes it
  restore tenant FOLDER NAME NEW-NAME
                             a tenant as it was, beside the living ones
  restore store FOLDER ESCROW
                             the whole store, into an absent or empty --store
  restore cell FOLDER ESCROW NUMBER
                             one cell of the --store
  (`drill`, `restore store` and `restore cell` need no token: only --keys, the escrow and what unseals it)

options, all required but regions and the last two (and those of backups, below):
  --store FOLDER             the store; it must not be open in a running service
  --keys FOLDER              the root keys, which never lie in the store
  --jwks FILE                the public keys of the issuer of your token
  --issuer URL               who that is, as the token's `iss` says
  --region NAME=FOLDER       the folder of a region; may be given several times
  --audience NAME            the service, as the token's `aud` says
  --service TENANT           the tenant claim of the service's own people; `service` unless said otherwise
  --root NAME                the service's root key among the keys; `service` unless said otherwise

options of escrows and backups:
  --recipient KEY            a recovery key (age1..); may be given several times
  --identity FILE            the secret half of a recovery key, to open an escrow
  --number N                 which backup; the newest unless said otherwise
  --cell N, --tenant NAME    back up only this
  --escrow-never             back up though no escrow holds the rings
  --accept-gaps              go on though cells, rings or newer backups are missing or damaged

Your token is taken from the variable STRONGROOM_TOKEN, never from the command line, where other users of the
machine could see it. It needs the role `strongroom.custodian`.
";

/// What went wrong, as a sentence, and whether the usage would help.
struct Failure {
    message: String,
    is_usage: bool,
}

/// What a command does.
type Act<'c> = Box<dyn Fn(&Custody) -> Result<(), Failure> + 'c>;

#[derive(Default)]
struct Options {
    store: PathBuf,
    keys: PathBuf,
    jwks: PathBuf,
    issuer: String,
    audience: String,
    service: String,
    root: String,
    terms: Terms,
    command: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, is_usage: true }) => {
            eprintln!("custodian: {message}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure { message, is_usage: false }) => {
            eprintln!("custodian: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let command: Vec<&str> = options.command.iter().map(String::as_str).collect();
    let act: Act<'_> = match *command.as_slice() {
        ["recovery-key", file] => return safekeeping::recovery_key(file),
        _ if safekeeping::is_offline(&command) => return safekeeping::offline(options, &command),
        ["ring", "export", file] => Box::new(move |custody| safekeeping::export(custody, &options.terms, file)),
        ["backup", "list", folder] => Box::new(move |custody| safekeeping::list(custody, folder)),
        ["backup", "verify", folder] => Box::new(move |custody| safekeeping::verify(custody, &options.terms, folder)),
        ["backup", folder] => Box::new(move |custody| safekeeping::back_up(custody, &options.terms, folder)),
        ["restore", "tenant", folder, tenant, name] => {
            Box::new(move |custody| safekeeping::restore_tenant(custody, &options.terms, folder, tenant, name))
        }
        ["list"] => Box::new(list),
        ["create", name, issuer, tenant] => {
            Box::new(move |custody| Ok(custody.create_tenant(TenantSpec::new(name, issuer, tenant)).map(drop)?))
        }
        ["suspend", name] => Box::new(move |custody| Ok(custody.suspend_tenant(name)?)),
        ["resume", name] => Box::new(move |custody| Ok(custody.resume_tenant(name)?)),
        ["delete", name, "--yes"] => Box::new(move |custody| Ok(custody.delete_tenant(name)?)),
        ["delete", _] => return Err(usage("deleting is for ever; add --yes if that is what you want")),
        [] => return Err(usage("no command")),
        [command, ..] => return Err(usage(format!("`{command}` is no command, or not with these arguments"))),
    };
    options.check()?;
    let token = std::env::var("STRONGROOM_TOKEN").map_err(|_| usage("STRONGROOM_TOKEN is not set"))?;
    let room = open(options)?;
    let custody = room.custody(token.trim())?;
    act(&custody)?;
    if let ["create" | "suspend" | "resume" | "delete", name, ..] = command[..] {
        println!("{} {name}: done", command[0]);
    }
    Ok(())
}

/// Opens a store that is there: a custodian with a wrong path must not make a new one.
fn open(options: &Options) -> Result<Strongroom, Failure> {
    if !options.store.join("FORMAT").is_file() {
        return Err(failure(format!("{} is not a strongroom store", options.store.display())));
    }
    if !options.keys.is_dir() {
        return Err(failure(format!("{} is not a folder of root keys", options.keys.display())));
    }
    let jwks = options.jwks.clone();
    let profile = Oidc::new(&options.issuer, &options.audience);
    let verifier = JwtVerifier::builder().oidc(profile, move || Jwks::from_file(&jwks)).build()?;
    let room = Strongroom::builder(&options.store, LocalRoots::open(&options.keys)?, verifier)
        .service_root(&options.root)
        .service_speaker(&options.issuer, &options.service);
    let regions = options.terms.regions.iter();
    let room = regions.fold(room, |room, (name, folder)| room.region(name, folder));
    room.open().map_err(|error| match error.kind() {
        ErrorKind::Conflict => failure(format!("{error}\n  If a service has the store open, stop it first.")),
        _ => error.into(),
    })
}

fn list(custody: &Custody) -> Result<(), Failure> {
    let tenants = custody.tenants()?;
    let width = tenants.iter().map(|tenant| tenant.name.as_str().len()).max().unwrap_or(0).max("tenant".len());
    println!("{:width$}  {:9}  spoken for by", "tenant", "state");
    for tenant in tenants {
        let state = match tenant.state {
            TenantState::Active => "active",
            TenantState::Suspended => "suspended",
            TenantState::Deleting => "deleting",
            _ => "unknown",
        };
        let speakers = tenant.speakers.iter().map(|speaker| format!("{} of {}", speaker.tenant(), speaker.issuer()));
        println!("{:width$}  {state:9}  {}", tenant.name.as_str(), speakers.collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

impl Options {
    fn parse(arguments: Vec<String>) -> Result<Self, Failure> {
        let mut options = Self { service: "service".into(), root: "service".into(), ..Self::default() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--escrow-never" => options.terms.escrow_never = true,
                "--accept-gaps" => options.terms.accept_gaps = true,
                "--yes" => options.command.push(argument.clone()),
                other if !other.starts_with("--") => options.command.push(argument.clone()),
                _ => options.take(&argument, arguments.next())?,
            }
        }
        Ok(options)
    }

    fn take(&mut self, argument: &str, value: Option<String>) -> Result<(), Failure> {
        let number = |value: &str| value.parse::<u64>().map_err(|_| usage(format!("{argument} needs a number")));
        let value = value.ok_or_else(|| usage(format!("{argument} needs a value")))?;
        match argument {
            "--store" => self.store = value.into(),
            "--keys" => self.keys = value.into(),
            "--jwks" => self.jwks = value.into(),
            "--issuer" => self.issuer = value,
            "--audience" => self.audience = value,
            "--service" => self.service = value,
            "--root" => self.root = value,
            "--region" => {
                let (name, folder) = value.split_once('=').ok_or_else(|| usage("a region is given as NAME=FOLDER"))?;
                self.terms.regions.push((name.to_owned(), folder.into()));
            }
            "--recipient" => self.terms.recipients.push(value),
            "--identity" => self.terms.identity = value.into(),
            "--tenant" => self.terms.tenant = Some(value),
            "--cell" => self.terms.cell = Some(u32::try_from(number(&value)?).map_err(|_| usage("no such cell"))?),
            "--number" => self.terms.number = Some(number(&value)?),
            _ => return Err(usage(format!("{argument} is no option"))),
        }
        Ok(())
    }

    /// What opening a store needs.
    fn check(&self) -> Result<(), Failure> {
        let missing = [
            ("--store", self.store.as_os_str().is_empty()),
            ("--keys", self.keys.as_os_str().is_empty()),
            ("--jwks", self.jwks.as_os_str().is_empty()),
            ("--issuer", self.issuer.is_empty()),
            ("--audience", self.audience.is_empty()),
        ];
        match missing.iter().find(|(_, is_missing)| *is_missing) {
            Some((option, _)) => Err(usage(format!("{option} is missing"))),
            None => Ok(()),
        }
    }
}

impl From<strongroom::Error> for Failure {
    fn from(error: strongroom::Error) -> Self {
        let hint = match error.kind() {
            ErrorKind::Denied => "\n  The token must be valid now and carry the role `strongroom.custodian`.",
            _ => "",
        };
        let cause = std::error::Error::source(&error).map(|cause| format!("\n  {cause}")).unwrap_or_default();
        failure(format!("{error}{cause}{hint}"))
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), is_usage: true }
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), is_usage: false }
}
