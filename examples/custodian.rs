//! A tool for custodians of a store: they make, suspend, resume and delete tenants, and read no record.
//!
//! ```sh
//! STRONGROOM_TOKEN=.. cargo run --example custodian -- \
//!   --store room/store --keys room/keys --jwks issuer/jwks.json --issuer https://id.example --audience mail list
//! ```
//!
//! It opens the store itself, so the service must not be running. A running service offers the same acts through
//! `Strongroom::custody`.

use std::path::PathBuf;
use std::process::ExitCode;

use strongroom::identity::{Jwks, JwtVerifier, Oidc};
use strongroom::{Custody, ErrorKind, LocalRoots, Strongroom, TenantSpec, TenantState};

const USAGE: &str = "\
Makes, suspends, resumes and deletes the tenants of a strongroom.

usage: custodian OPTIONS COMMAND

commands:
  list                       every tenant, its state and who may speak for it
  create NAME ISSUER TENANT  a tenant for which tokens of ISSUER speak whose tenant claim is TENANT
  suspend NAME               ends its sessions and admits no more; its records stay
  resume NAME                admits its sessions again
  delete NAME --yes          destroys its keys and wipes its records, for ever

options, all required but the last two:
  --store FOLDER             the store; it must not be open in a running service
  --keys FOLDER              the root keys, which never lie in the store
  --jwks FILE                the public keys of the issuer of your token
  --issuer URL               who that is, as the token's `iss` says
  --audience NAME            the service, as the token's `aud` says
  --service TENANT           the tenant claim of the service's own people; `service` unless said otherwise
  --root NAME                the service's root key among the keys; `service` unless said otherwise

Your token is taken from the variable STRONGROOM_TOKEN, never from the command line, where other users of the
machine could see it. It needs the role `strongroom.custodian`.
";

/// What went wrong, as a sentence, and whether the usage would help.
struct Failure {
    message: String,
    is_usage: bool,
}

/// What a command does.
type Act<'c> = Box<dyn Fn(&Custody) -> strongroom::Result<()> + 'c>;

#[derive(Default)]
struct Options {
    store: PathBuf,
    keys: PathBuf,
    jwks: PathBuf,
    issuer: String,
    audience: String,
    service: String,
    root: String,
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
        ["list"] => Box::new(list),
        ["create", name, issuer, tenant] => {
            Box::new(move |custody| custody.create_tenant(TenantSpec::new(name, issuer, tenant)).map(drop))
        }
        ["suspend", name] => Box::new(move |custody| custody.suspend_tenant(name)),
        ["resume", name] => Box::new(move |custody| custody.resume_tenant(name)),
        ["delete", name, "--yes"] => Box::new(move |custody| custody.delete_tenant(name)),
        ["delete", _] => return Err(usage("deleting is for ever; add --yes if that is what you want")),
        [] => return Err(usage("no command")),
        [command, ..] => return Err(usage(format!("`{command}` is no command, or not with these arguments"))),
    };
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
    room.open().map_err(|error| match error.kind() {
        ErrorKind::Conflict => failure(format!("{error}\n  If a service has the store open, stop it first.")),
        _ => error.into(),
    })
}

fn list(custody: &Custody) -> strongroom::Result<()> {
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
            if !argument.starts_with("--") || argument == "--yes" {
                options.command.push(argument);
                continue;
            }
            let value = arguments.next().ok_or_else(|| usage(format!("{argument} needs a value")))?;
            match argument.as_str() {
                "--store" => options.store = value.into(),
                "--keys" => options.keys = value.into(),
                "--jwks" => options.jwks = value.into(),
                "--issuer" => options.issuer = value,
                "--audience" => options.audience = value,
                "--service" => options.service = value,
                "--root" => options.root = value,
                _ => return Err(usage(format!("{argument} is no option"))),
            }
        }
        let missing = [
            ("--store", options.store.as_os_str().is_empty()),
            ("--keys", options.keys.as_os_str().is_empty()),
            ("--jwks", options.jwks.as_os_str().is_empty()),
            ("--issuer", options.issuer.is_empty()),
            ("--audience", options.audience.is_empty()),
        ];
        match missing.iter().find(|(_, is_missing)| *is_missing) {
            Some((option, _)) => Err(usage(format!("{option} is missing"))),
            None => Ok(options),
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
