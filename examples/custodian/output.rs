//! What is printed: words for people, or one JSON document.

use std::process::ExitCode;

use serde_json::{Value, json};
use strongroom::backup::{RestoreReport, VerifyReport};
use strongroom::desk::{Change, Done};
use strongroom::purge::{PurgeStage, VerifiedReceipt};
use strongroom::{ErrorKind, Grade};

use crate::failure::Failure;
use crate::words;

pub struct Output {
    json: Value,
    words: String,
    /// What is to be seen in the exit code, though there is an answer.
    failure: Option<Failure>,
}

pub fn print_failure(failure: &Failure, as_json: bool) -> ExitCode {
    if as_json {
        println!("{}", json!({ "error": { "kind": failure.kind, "message": failure.message } }));
    } else {
        eprintln!("custodian: {}", failure.message);
    }
    failure.code()
}

impl Output {
    pub fn new(json: Value, words: String) -> Self {
        Self { json: json!({ "done": json }), words, failure: None }
    }

    /// Text alone.
    pub fn text(text: &str) -> Self {
        Self::new(json!(text), text.to_owned())
    }

    /// What would be made by what needs no store.
    pub fn planned(of: &str, to: &str) -> Self {
        let change = Change { of: of.to_owned(), from: None, to: Some(to.to_owned()), is_final: false };
        Self::of(vec![Done::Planned(vec![change])])
    }

    pub fn of(mut answers: Vec<Done>) -> Self {
        let words: Vec<String> = answers.iter().map(words::of).filter(|words| !words.is_empty()).collect();
        let failure = answers.iter().find_map(failure);
        let done = if answers.len() == 1 { json!(answers.remove(0)) } else { json!(answers) };
        Self { json: json!({ "done": done }), words: words.join("\n"), failure }
    }

    pub fn of_restore(report: &RestoreReport) -> Self {
        let json = json!({ "restored": {
            "number": report.number, "tenants": report.tenants, "deleted": report.deleted, "incomplete": report.incomplete,
        } });
        let words = format!(
            "backup {}: {} tenants are back\n  deleted since, and not back: {}; incomplete: {}",
            report.number, report.tenants, report.deleted, report.incomplete
        );
        Self::new(json, words)
    }

    pub fn of_drill(report: &VerifyReport) -> Self {
        let json = json!({ "drilled": report });
        let words = format!("backup {}: restored, {} records opened, and removed again", report.number, report.records);
        Self::new(json, words)
    }

    pub fn of_receipt(verified: &VerifiedReceipt) -> Self {
        let json = json!({ "verified": { "receipt": verified.receipt, "sequence": verified.sequence } });
        let vouched = match verified.sequence {
            Some(number) => format!("event {number} of the trail names it, and each event is as it was written"),
            None => "held against the key alone, and against no trail".to_owned(),
        };
        let words = format!("the receipt is the store's own; {vouched}\n{}", words::receipt(&verified.receipt));
        let failure = (!verified.receipt.proven).then(|| {
            Failure::new(ErrorKind::Corrupt, "the receipt is the store's own, and says that the purge is not proven")
        });
        Self { failure, ..Self::new(json, words) }
    }

    /// With a word for people on what comes next.
    pub fn noting(mut self, note: &str) -> Self {
        self.words = format!("{}\n  {note}", self.words);
        self
    }

    pub fn print(self, as_json: bool) -> ExitCode {
        match as_json {
            true => println!("{}", self.json),
            false if self.words.is_empty() => {}
            false => println!("{}", harmless(&self.words)),
        }
        match self.failure {
            None => ExitCode::SUCCESS,
            Some(failure) => {
                eprintln!("custodian: {}", failure.message);
                failure.code()
            }
        }
    }
}

/// What of an answer is no success.
fn failure(done: &Done) -> Option<Failure> {
    match done {
        Done::Exported(report) if report.damaged > 0 => Some(Failure::new(
            ErrorKind::Corrupt,
            format!("the rings of {} tenants are damaged and not in the escrow", report.damaged),
        )),
        Done::Imported(report) if !report.missing.is_empty() => Some(Failure::new(
            ErrorKind::Corrupt,
            format!("the escrow does not help the damaged rings of {} tenants", report.missing.len()),
        )),
        Done::Imported(report) if !report.unknown.is_empty() => Some(Failure::new(
            ErrorKind::Unavailable,
            format!("the root keys of {} tenants do not answer or refuse", report.unknown.len()),
        )),
        Done::NotRetired(verdict) => {
            let message = format!("the key of generation {} cannot be destroyed yet", verdict.generation);
            Some(Failure::new(ErrorKind::Conflict, message))
        }
        Done::Resealed(report) if !report.is_complete && report.progress.unreadable > 0 => Some(Failure::new(
            ErrorKind::Corrupt,
            format!("{} records do not authenticate, and cannot be moved", report.progress.unreadable),
        )),
        Done::Resealed(report) if !report.is_complete => {
            Some(Failure::new(ErrorKind::Unavailable, "it was interrupted; the same command goes on"))
        }
        Done::Purge(Some(status)) if status.stage == PurgeStage::NeedsAttention => Some(Failure::new(
            ErrorKind::Corrupt,
            "something was found that could bring the keys back, or not searched",
        )),
        Done::PurgesRun(runs) => {
            let failed = runs.iter().find_map(|run| Some((run, run.failure.as_ref()?)))?;
            Some(Failure::new(failed.1.kind, format!("{}: {}", failed.0.status.tenant.as_str(), failed.1.message)))
        }
        Done::Rotated(report) if !report.left.is_empty() => {
            Some(Failure::new(ErrorKind::Unavailable, format!("{} tenants stay as they were", report.left.len())))
        }
        Done::Checked(check) if check.prove().is_err() => {
            Some(Failure::new(ErrorKind::Tampered, "the root key must not be relied on"))
        }
        Done::Health(health) if health.worst() == Grade::Bad => {
            Some(Failure::new(ErrorKind::Corrupt, "something is bad"))
        }
        _ => None,
    }
}

/// Without what a terminal would take for an order: names and reasons are other people's words.
fn harmless(words: &str) -> String {
    words.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}
