//! What is printed: words for people, or one JSON document.

use std::process::ExitCode;

use serde_json::{Value, json};
use strongroom::backup::{BackupKind, RestoreReport, VerifyReport};
use strongroom::desk::{Change, Done};
use strongroom::{ErrorKind, Grade, Policy};

use crate::failure::Failure;

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
        let words: Vec<String> = answers.iter().map(words).filter(|words| !words.is_empty()).collect();
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

    pub fn print(self, as_json: bool) -> ExitCode {
        match as_json {
            true => println!("{}", self.json),
            false if self.words.is_empty() => {}
            false => println!("{}", self.words),
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

fn words(done: &Done) -> String {
    match done {
        Done::Planned(changes) if changes.is_empty() => "nothing would change".to_owned(),
        Done::Planned(changes) => lines(changes.iter().map(change)),
        Done::Acknowledged => "done".to_owned(),
        Done::Identity(who) => format!(
            "{} of {}, for {}\n  until second {} since 1970",
            who.subject, who.speaker.issuer, who.speaker.tenant, who.ends_at_secs
        ),
        Done::Status(status) => format!(
            "{} tenants, {} suspended, {} being deleted\n{} cells, {} open, {} failed; {} free boxes, {} to be wiped",
            status.stats.tenants,
            status.suspended,
            status.deleting,
            status.stats.cells.known,
            status.stats.cells.open,
            status.stats.cells.failed,
            status.stats.free_boxes,
            status.stats.unclean_boxes
        ),
        Done::Health(health) => lines(health.findings.iter().map(|finding| {
            let mark = match finding.grade {
                Grade::Good => "ok  ",
                Grade::Bad => "BAD ",
                _ => "note",
            };
            format!("{mark}  {}: {}", finding.of, finding.says)
        })),
        Done::Tenant(tenant) => tenant_line(tenant, 0),
        Done::Tenants(tenants) => {
            let width = tenants.iter().map(|tenant| tenant.name.as_str().len()).max().unwrap_or(0);
            lines(tenants.iter().map(|tenant| tenant_line(tenant, width)))
        }
        Done::Keys(keys) => {
            let roots = keys.roots.iter().map(|(root, version)| format!("{} {version}", root.as_str()));
            let generations = keys.generations.iter().map(|generation| generation.number.to_string());
            format!(
                "policy: {}\nepoch {}, under {}\ngenerations: {}",
                policy(&keys.policy),
                keys.epoch,
                roots.collect::<Vec<_>>().join(", "),
                generations.collect::<Vec<_>>().join(", ")
            )
        }
        Done::Checked(check) => {
            let proven = format!("{} {} wraps and unwraps", check.root, check.version);
            lines(std::iter::once(proven).chain(check.findings.iter().map(|finding| format!("  {finding:?}"))))
        }
        Done::Events(events) => lines(events.iter().map(|event| {
            let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
            let who = event["actor"]["subject"].as_str().unwrap_or("the store");
            let (number, details) = (&event["sequence"], &event["details"]);
            format!("{number}  {}  {}: {}, by {who} {details}", text("time"), text("act"), text("outcome"))
        })),
        Done::Trail(trail) => format!("{}: {} events, each as it was written", trail.origin, trail.size),
        Done::Checkpoint(note) => note.trim_end().to_owned(),
        Done::VerifierKey(key) => key.clone(),
        Done::Generation(number) => format!("generation {number} is written under from now on"),
        Done::Proposed(number) => format!("proposal {number}"),
        Done::Rotated(report) => format!(
            "{} tenants are under {} {} now, {} were before, {} stay as they were",
            report.moved.len(),
            report.root.as_str(),
            report.version,
            report.already,
            report.left.len()
        ),
        other => words_of_files(other),
    }
}

fn words_of_files(done: &Done) -> String {
    match done {
        Done::Exported(report) => format!("the rings of {} tenants are in the escrow", report.tenants),
        Done::BackedUp(report) => format!(
            "backup {}: {} files, {} bytes, {} copied\n  without cells {:?}; rings of {} tenants in no escrow",
            report.number, report.files, report.bytes, report.bytes_copied, report.missing_cells, report.uncovered
        ),
        Done::Backups(backups) => lines(backups.iter().map(|backup| {
            let kind = match backup.kind {
                BackupKind::Store => "the store".to_owned(),
                BackupKind::Cell(number) => format!("cell {number}"),
                _ => "a tenant".to_owned(),
            };
            let (number, files, bytes) = (backup.number, backup.files, backup.bytes);
            format!("{number}: {kind}, made in second {}, {files} files, {bytes} bytes", backup.created_secs)
        })),
        Done::Verified(report) => {
            format!(
                "backup {}: {} files, {} bytes, each as its manifest says",
                report.number, report.files, report.bytes
            )
        }
        // What has no words of its own is shown as it is.
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn change(change: &Change) -> String {
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
    let last = if change.is_final { "  (for ever)" } else { "" };
    format!("{}: {} -> {}{last}", change.of, side(&change.from), side(&change.to))
}

fn tenant_line(tenant: &strongroom::TenantSummary, width: usize) -> String {
    let speakers = tenant.speakers.iter().map(|speaker| format!("{} of {}", speaker.tenant(), speaker.issuer()));
    let speakers = speakers.collect::<Vec<_>>().join(", ");
    format!("{:width$}  {:9}  {speakers}", tenant.name.as_str(), tenant.state.as_str())
}

fn policy(policy: &Policy) -> String {
    let all = |roots: &Vec<strongroom::RootId>| {
        roots.iter().map(strongroom::RootId::as_str).collect::<Vec<_>>().join(" with ")
    };
    let any: Vec<String> = policy.alternatives().iter().map(all).collect();
    let recovery = policy.recovery().map(|root| format!("; {} for recovery", root.as_str())).unwrap_or_default();
    format!("{}{recovery}", any.join(", or "))
}
