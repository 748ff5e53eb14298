//! What an answer says, in words for people.

mod keys;
mod purges;

use strongroom::backup::BackupKind;
use strongroom::desk::{Change, Done};
use strongroom::{Fence, Grade, RootFinding, TenantName};

pub use self::purges::{note, purge_line, receipt};

/// What an answer says.
pub fn of(done: &Done) -> String {
    match done {
        Done::Planned(changes) if changes.is_empty() => "nothing would change".to_owned(),
        Done::Planned(changes) => lines(changes.iter().map(change)),
        Done::Acknowledged => "done".to_owned(),
        Done::Identity(who) => format!(
            "{} of {}, for {}\n  until {}",
            who.subject,
            who.speaker.issuer,
            who.speaker.tenant,
            at(who.ends_at_secs)
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
        Done::Checked(check) => {
            let proven = format!("{} {} wraps and unwraps", check.root, check.version);
            lines(std::iter::once(proven).chain(check.findings.iter().map(|known| format!("  {}", finding(*known)))))
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
        Done::Proposed(number) => format!("proposal {number}"),
        Done::Rotated(report) => format!(
            "{} tenants are under {} {} now, {} were before, {} stay as they were",
            report.moved.len(),
            report.root.as_str(),
            report.version,
            report.already,
            report.left.len()
        ),
        other => keys::of(other).or_else(|| purges::of(other)).unwrap_or_else(|| words_of_files(other)),
    }
}

/// What an owner should know of a root key.
fn finding(finding: RootFinding) -> &'static str {
    match finding {
        RootFinding::ContextIgnored => "FAULT: what it wrapped for one tenant or epoch it unwrapped for another",
        RootFinding::RecreatesMissingKeys => "wrapping under a key that is gone makes a new one of its name",
        RootFinding::Exportable => "the key's own bytes can be had from its provider",
        RootFinding::DeletionAllowed => "the key can be deleted, by mistake too",
        RootFinding::MoreRightsThanNeeded => "our token may do more with it than wrap, unwrap and describe",
        RootFinding::AnyoneCanWrap => "it has a public half, with which anybody can wrap: good for tenants only",
        RootFinding::ContextNotBound => "it binds no context by itself; the key derived from what it wraps does",
        RootFinding::OldVersionsUnwrap => "versions before the current one still unwrap",
        RootFinding::NotDescribed => "its provider does not say what it is, or not to us",
        _ => "something that this tool does not know",
    }
}

fn words_of_files(done: &Done) -> String {
    match done {
        Done::Exported(report) => format!("the rings of {} tenants are in the escrow", report.tenants),
        Done::Imported(report) => format!(
            "{} rings are those of the escrow now{}; {} were whole, {} in the escrow are of tenants who are gone{}{}",
            report.imported.len(),
            named(&report.imported),
            report.whole,
            report.dead,
            still("damaged, and not in the escrow as they are to be", &report.missing),
            still("not to be told, because their root keys do not answer or refuse", &report.unknown)
        ),
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
            format!("{number}: {kind}, made on {}, {files} files, {bytes} bytes", at(backup.created_secs))
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
    let shut = match tenant.fence {
        None => "",
        Some(Fence::Observed) => "  (shut: the owner of a root key refuses)",
        Some(Fence::Ordered) => "  (shut: its custodians have revoked access)",
        Some(_) => "  (shut)",
    };
    format!("{:width$}  {:9}  {speakers}{shut}", tenant.name.as_str(), tenant.state.as_str())
}

fn names(tenants: &[TenantName]) -> String {
    tenants.iter().map(TenantName::as_str).collect::<Vec<_>>().join(", ")
}

fn named(tenants: &[TenantName]) -> String {
    if tenants.is_empty() { String::new() } else { format!(" ({})", names(tenants)) }
}

fn still(how: &str, tenants: &[TenantName]) -> String {
    if tenants.is_empty() { String::new() } else { format!("\n  {how}: {}", names(tenants)) }
}

/// A time of the store's clock, as people read it.
fn at(secs: u64) -> String {
    let (days, rest) = (secs / 86_400, secs % 86_400);
    // Counted from the first of March of the year 0, so that a leap day is the last of its year; 400 years are an era.
    let (era, day_of_era) = ((days + 719_468) / 146_097, (days + 719_468) % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let part = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * part + 2) / 5 + 1, if part < 10 { part + 3 } else { part - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02} UTC")
}
