//! Mail from elsewhere: an mbox file or a maildir, sent to a service that serves, as any client would.
//!
//! What it is to the service: a bearer of a token. There is no back door for imports, and a store is open in one place.

mod client;
mod maildir;
mod mbox;
mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use zeroize::Zeroizing;

pub use client::{Client, Outcome};
pub use maildir::Maildir;
pub use mbox::Mbox;
pub use source::{Found, Place};

use crate::serve::Failure;

/// Options of `mail_service import`.
#[derive(Debug, Args)]
pub struct ImportOptions {
    /// Whose mail it becomes.
    #[arg(long)]
    tenant: String,
    /// An mbox file: of mboxo, mboxrd, mboxcl and mboxcl2.
    #[arg(long, required_unless_present = "maildir", conflicts_with = "maildir")]
    mbox: Option<PathBuf>,
    /// A maildir; its folders (`.Name`) become folders.
    #[arg(long)]
    maildir: Option<PathBuf>,
    /// Where messages go that are in no folder.
    #[arg(long, default_value = "inbox")]
    folder: String,
    /// The service. Without TLS only on this machine, since a token is sent.
    #[arg(long, env = "MAIL_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with the authority that the service's certificate is from.
    #[arg(long, env = "MAIL_URL_CA")]
    ca: Option<PathBuf>,
    /// A file with the token; else it is taken from the environment, as `MAIL_TOKEN`.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// The report as one line of JSON on the standard output.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages that are new.
    pub imported: u64,
    /// Messages that were imported before, or occur twice.
    pub present: u64,
    /// What was refused: where it is, and why.
    pub refused: Vec<(Place, String)>,
}

/// Imports, and says what came of it: exit code 2 if something was refused.
///
/// # Errors
/// If the mail cannot be read at all, or the service does not take any. Whoever calls again goes on where it was.
pub fn run(options: &ImportOptions) -> Result<ExitCode, Failure> {
    let token = read_token(options)?;
    let ca_pem = options.ca.as_ref().map(std::fs::read).transpose()?;
    let client = Client::new(&options.url, ca_pem.as_deref(), &options.tenant, &token)?;
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template("{wide_bar} {msg} {percent}% {eta}")?);
    let report = match (&options.mbox, &options.maildir) {
        (Some(path), _) => {
            let mbox = Mbox::open(path, &options.folder)?;
            bar.set_length(mbox.length());
            import(&client, mbox, &bar)
        }
        (None, Some(path)) => {
            let maildir = Maildir::open(path, &options.folder)?;
            bar.set_length(maildir.length());
            import(&client, maildir, &bar)
        }
        (None, None) => Err("name an mbox file or a maildir".into()),
    };
    bar.finish_and_clear();
    let report = report?;
    report.show(options.json);
    Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Sends everything that is found, message by message. What is broken is put into the report, and the rest goes on.
///
/// # Errors
/// If the service cannot be reached, or says that the bearer may not.
pub fn import(client: &Client, found: impl Iterator<Item = Found>, bar: &ProgressBar) -> Result<Report, Failure> {
    let (mut report, mut last_folder) = (Report::default(), String::new());
    for Found { place, folder, is_seen, progress, message } in found {
        bar.set_position(progress);
        let outcome = match message {
            Err(reason) => Outcome::Refused(reason),
            Ok(raw) => {
                if folder != last_folder {
                    client.make_folder(&folder)?;
                    last_folder.clone_from(&folder);
                }
                client.send(&folder, &raw, is_seen).map_err(|error| {
                    format!("{error}\nStopped at {place}; {}. Import again to go on.", report.summary())
                })?
            }
        };
        match outcome {
            Outcome::Imported => report.imported += 1,
            Outcome::Present => report.present += 1,
            Outcome::Refused(reason) => {
                bar.suspend(|| eprintln!("refused: {place}: {reason}"));
                report.refused.push((place, reason));
            }
        }
        bar.set_message(report.summary());
    }
    Ok(report)
}

impl Report {
    fn summary(&self) -> String {
        let Self { imported, present, refused } = self;
        format!("{imported} imported, {present} there already, {} refused", refused.len())
    }

    fn show(&self, as_json: bool) {
        let Self { imported, present, refused } = self;
        if !as_json {
            return println!("{}", self.summary());
        }
        let refused = refused.iter().map(|(place, reason)| {
            let Place { file, line, offset } = place;
            serde_json::json!({"file": file, "line": line, "offset": offset, "reason": reason})
        });
        let refused: Vec<_> = refused.collect();
        println!("{}", serde_json::json!({"imported": imported, "present": present, "refused": refused}));
    }
}

fn read_token(options: &ImportOptions) -> Result<Zeroizing<String>, Failure> {
    let token = match &options.token_file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => std::env::var("MAIL_TOKEN").map_err(|_| "put a token into MAIL_TOKEN, or name a file with one")?,
    };
    Ok(Zeroizing::new(token.trim().to_owned()))
}
