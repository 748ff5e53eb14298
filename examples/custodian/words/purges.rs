//! Purges and their receipts.

use strongroom::desk::Done;
use strongroom::purge::{Escrowed, Medium, PurgeStage, PurgeStatus, Receipt, RootState, Statement};

use super::{at, lines};

/// What an answer on purges says; `None` if it is none.
pub fn of(done: &Done) -> Option<String> {
    Some(match done {
        Done::Purge(None) => "nobody has asked for a purge".to_owned(),
        Done::Purge(Some(status)) => purge(status),
        Done::Purges(purges) if purges.is_empty() => "no purge was asked for".to_owned(),
        Done::Purges(purges) => lines(purges.iter().map(purge_line)),
        Done::PurgesRun(runs) if runs.is_empty() => "no purge was due".to_owned(),
        Done::PurgesRun(runs) => lines(runs.iter().map(|run| match &run.failure {
            None => purge_line(&run.status),
            Some(failure) => format!("{}\n  FAILED, and is tried again: {}", purge_line(&run.status), failure.message),
        })),
        // Printed with the end of its line.
        Done::Receipt(note) => note.strip_suffix('\n').unwrap_or(note).to_owned(),
        _ => return None,
    })
}

/// A purge in one line.
pub fn purge_line(status: &PurgeStatus) -> String {
    let tenant = status.tenant.as_str();
    let due = at(status.due_secs);
    match status.stage {
        PurgeStage::Requested => {
            format!("{tenant}: requested; waits for another custodian's approval, and until {due} at least")
        }
        PurgeStage::Approved => format!("{tenant}: approved; can be carried out from {due} on"),
        PurgeStage::Destroying => {
            format!("{tenant}: the keys are destroyed; the proof has yet to be made: custodian purge prove {tenant}")
        }
        PurgeStage::NeedsAttention => {
            format!("{tenant}: the keys are destroyed, and receipt {} is NOT PROVEN", status.receipts)
        }
        PurgeStage::Proven => format!("{tenant}: destroyed and proven; receipt {} is not final", status.receipts),
        PurgeStage::Final => format!("{tenant}: destroyed and proven; receipt {} is final", status.receipts),
        _ => format!("{tenant}: in a state that this tool does not know"),
    }
}

fn purge(status: &PurgeStatus) -> String {
    let mut said = vec![purge_line(status), format!("  {}", statement("asked for", &status.requested))];
    said.extend(status.approved.iter().map(|approved| format!("  {}", statement("approved", approved))));
    said.extend(status.destroyed_secs.map(|secs| format!("  the keys were destroyed on {}", at(secs))));
    said.extend(status.missing.iter().map(|missing| format!("  missing: {missing}")));
    lines(said.into_iter())
}

fn statement(what: &str, statement: &Statement) -> String {
    let Statement { subject, issuer, reason, at_secs, .. } = statement;
    format!("{what} by {subject} of {issuer} on {}: {reason}", at(*at_secs))
}

/// What the note says, before anybody has verified it.
pub fn note(note: &str) -> String {
    let text = note.split_once("\n\n").map_or(note, |(text, _)| text);
    serde_json::from_str(text).map(|read| receipt(&read)).unwrap_or_default()
}

/// What a receipt says.
pub fn receipt(receipt: &Receipt) -> String {
    let mut said = vec![
        format!("receipt {} of the purge of {}, issued on {}", receipt.number, receipt.tenant, at(receipt.issued_secs)),
        format!("  incarnation {} in store {}", receipt.incarnation, receipt.store),
        format!("  {}", statement("asked for", &receipt.requested)),
        format!("  {}", statement("approved", &receipt.approved)),
        format!(
            "  the keys were destroyed on {}: generations {}, epochs {}",
            at(receipt.destroyed_secs),
            numbers(&receipt.generations),
            numbers(&receipt.epochs)
        ),
    ];
    if !receipt.keys_were_opened {
        said.push("  no root key opened them any more: the wrapped secrets were searched for".to_owned());
    }
    if !receipt.records_wiped {
        said.push("  sealed records are left in tables, as noise, until a scan that was open has ended".to_owned());
    }
    said.extend(searched(receipt));
    let root =
        |root: &strongroom::purge::RootVersion| format!("  root {} {}: {}", root.root, root.version, state(root.state));
    said.extend(receipt.roots.iter().map(root));
    said.extend(receipt.escrows.iter().map(escrow));
    said.push(medium(&receipt.medium));
    said.push(match (receipt.proven, receipt.is_final) {
        (false, _) => "NOT PROVEN".to_owned(),
        (true, false) => "PROVEN; not final".to_owned(),
        (true, true) => "PROVEN and FINAL: nothing is left that could open a stray copy".to_owned(),
    });
    said.extend(receipt.missing.iter().map(|missing| format!("  missing: {missing}")));
    lines(said.into_iter())
}

fn searched(receipt: &Receipt) -> Vec<String> {
    let search = &receipt.search;
    let secrets: u32 = search.searched_for.values().sum();
    let found = match search.hits_total {
        0 => "nothing was found".to_owned(),
        count => format!("FOUND in {count} places"),
    };
    let mut said =
        vec![format!("  searched {} files, {} bytes, for {secrets} secrets: {found}", search.files, search.bytes)];
    said.extend(search.hits.iter().map(|hit| {
        let kind = serde_json::to_value(hit.kind).ok().and_then(|kind| Some(kind.as_str()?.replace('_', " ")));
        format!("    {} in {} at byte {}", kind.unwrap_or_default(), hit.file, hit.offset)
    }));
    said.extend((search.unread_total > 0).then(|| format!("  NOT READ: {} files", search.unread_total)));
    said.extend(search.unread.iter().map(|file| format!("    {file}")));
    let samples = receipt.samples;
    said.push(format!(
        "  with the root keys in hand: {} copies of the ring opened, {} of {} sealed records",
        samples.rings_opened, samples.opened, samples.tried
    ));
    said.extend(samples.windows.map(|windows| format!("  {windows} windows of 32 bytes were tried as keys of these")));
    said
}

fn numbers(numbers: &[u32]) -> String {
    if numbers.is_empty() {
        return "unknown".to_owned();
    }
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn state(state: RootState) -> &'static str {
    match state {
        RootState::Alive => "alive",
        RootState::Refused => "refused or switched off, which can be taken back",
        RootState::Destroyed => "destroyed",
        RootState::Unknown => "nobody answered",
        _ => "in a state that this tool does not know",
    }
}

fn escrow(escrow: &Escrowed) -> String {
    let which = match (escrow.number, escrow.through) {
        (number, through) if number == through => format!("escrow {number}"),
        (number, through) => format!("escrows {number} to {through}"),
    };
    let made = escrow
        .exported_secs
        .map_or("begun, and not known to be finished".to_owned(), |secs| format!("of {}", at(secs)));
    let digest = escrow.sha256.as_ref().map(|digest| format!(", SHA-256 {digest}")).unwrap_or_default();
    let end = match &escrow.destroyed {
        None => "may be there still".to_owned(),
        Some(declaration) => {
            format!("declared destroyed by {} on {}", declaration.subject, at(declaration.at_secs))
        }
    };
    format!("  {which}, {made}{digest}: {end}")
}

fn medium(medium: &Medium) -> String {
    let overwrites = match medium.overwrites_in_place {
        Some(true) => "which overwrites in place",
        Some(false) => "which keeps what is overwritten",
        None => "of which it is not known whether it overwrites in place",
    };
    format!("  the ring lay on {}, {overwrites}", medium.file_system)
}
