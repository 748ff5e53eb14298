//! Commands that take several requests, or wait.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;
use strongroom::desk::{Act, Change, Done, PurgedAct, TenantAct};
use strongroom::purge::PurgeStatus;
use strongroom::{Clock, ErrorKind, GenerationState, KeyStatus, SystemClock};

use crate::asking::{self, Asker};
use crate::cli::{Command, Purge, Purged};
use crate::door::Door;
use crate::failure::Failure;
use crate::output::Output;
use crate::parts::Parts;
use crate::words;

/// How often somebody who waits looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many looks in a row may find that nothing moves the records: the store begins within a second.
const IDLE_LOOKS: u32 = 10;

/// Does it, unless the command is a request like others.
pub fn run(command: &Command, asker: &Asker<'_>) -> Result<Option<Output>, Failure> {
    Ok(Some(match command {
        Command::Reseal { tenant, wait: true, .. } if !asker.dry_run => wait_for_reseal(asker, tenant)?,
        Command::Retire { tenant, generation, reseal } => retire(asker, tenant, *generation, *reseal)?,
        Command::Purge(Purge::Status { whose, wait }) => show_purge(asker, whose, *wait)?,
        Command::Purge(Purge::Execute { tenant, yes, wait, exhaustive }) => {
            execute(asker, tenant, *exhaustive, (*yes, *wait))?
        }
        Command::Purge(Purge::Receipt { whose, file: Some(file), number }) if !asker.dry_run => {
            keep_receipt(asker, whose, file, *number)?
        }
        Command::Purge(Purge::Declare { whose, escrow, reason }) if !asker.dry_run => {
            let act = PurgedAct::DeclareEscrowDestroyed { escrow: *escrow, reason: reason.clone() };
            let done = asker.ask(of_purged(whose, act))?;
            Output::of(vec![done]).noting("The next receipt tells of it: custodian purge finalize")
        }
        _ => return Ok(None),
    }))
}

/// An act on a purged tenant, through the door that the custodian has.
pub fn of_purged(whose: &Purged, act: PurgedAct) -> Act {
    let tenant = whose.tenant.clone();
    match whose.as_service {
        true => Act::PurgedTenant { tenant, act },
        false => Act::ForPurgedTenant { tenant, act },
    }
}

fn keys(asker: &Asker<'_>, tenant: &str) -> Result<KeyStatus, Failure> {
    match asker.ask_own(tenant, TenantAct::Keys)? {
        Done::Keys(keys) => Ok(keys),
        _ => Err(not_understood()),
    }
}

/// Waits until the store has moved every record to the newest generation.
fn wait_for_reseal(asker: &Asker<'_>, tenant: &str) -> Result<Output, Failure> {
    let (bar, mut idle) = (asking::bar(), 0);
    loop {
        let keys = keys(asker, tenant)?;
        let older = keys.generations.len().saturating_sub(1);
        let left = keys.generations[..older].iter().filter(|older| older.state != GenerationState::Rolled);
        let states: Vec<GenerationState> = left.map(|older| older.state).collect();
        let percent = states.iter().find_map(|state| match state {
            GenerationState::Rolling { percent } => Some(*percent),
            _ => None,
        });
        idle = if percent.is_some() { 0 } else { idle + 1 };
        if states.is_empty() {
            bar.finish_and_clear();
            return Ok(Output::of(vec![Done::Keys(keys)]));
        }
        if idle == IDLE_LOOKS {
            let message = format!("nothing moves the records of {tenant} now; custodian reseal {tenant}");
            return Err(Failure::new(ErrorKind::Conflict, message));
        }
        bar.set_message("percent of the sweep in the background");
        bar.set_position(percent.unwrap_or_default().into());
        thread::sleep(LOOK_EVERY);
    }
}

/// Retires one generation, or every one that can go.
fn retire(asker: &Asker<'_>, tenant: &str, generation: Option<u32>, reseal: bool) -> Result<Output, Failure> {
    // What a sweep has proven is known until the store is closed, and this store has just been opened.
    let sweeps = reseal || matches!(asker.door, Door::Store(_));
    let living: Vec<u32> = keys(asker, tenant)?.generations.iter().map(|living| living.number).collect();
    let older = &living[..living.len().saturating_sub(1)];
    if generation.is_none() && older.is_empty() {
        return Ok(Output::text("nothing to retire: there is only one generation"));
    }
    let mut answers = Vec::new();
    if sweeps {
        answers.push(asker.ask_own(tenant, TenantAct::Reseal { bytes_per_second: None })?);
    }
    for generation in generation.map_or(older.to_vec(), |generation| vec![generation]) {
        let would_have_moved = asker.dry_run && sweeps && older.contains(&generation);
        answers.push(match asker.ask_own(tenant, TenantAct::Retire { generation }) {
            // The records that are in its way.
            Err(failure) if would_have_moved && failure.kind == ErrorKind::Conflict => {
                Done::Planned(vec![end_of(tenant, generation)])
            }
            answer => answer?,
        });
    }
    Ok(Output::of(answers))
}

fn end_of(tenant: &str, generation: u32) -> Change {
    let of = format!("the key of generation {generation} of tenant {tenant}");
    Change { of, from: Some("living".to_owned()), to: None, is_final: true }
}

/// How far the purge has come, of a tenant that is there or gone.
fn purge_status(asker: &Asker<'_>, whose: &Purged) -> Result<Option<PurgeStatus>, Failure> {
    if whose.as_service {
        let Done::Purges(purges) = asker.ask(Act::Purges)? else { return Err(not_understood()) };
        let mut purges = purges.into_iter().filter(|purge| purge.tenant.as_str() == whose.tenant);
        let first = purges.next();
        let is_open = first.as_ref().is_some_and(|purge| purge.destroyed_secs.is_none());
        return Ok(if is_open { first } else { purges.next_back().or(first) });
    }
    let answer = match asker.ask_own(&whose.tenant, TenantAct::PurgeStatus) {
        // The tenant's door is shut when it is gone.
        Err(failure) if failure.kind == ErrorKind::Denied => asker.ask(of_purged(whose, PurgedAct::Status)),
        answer => answer,
    };
    match answer? {
        Done::Purge(status) => Ok(status.map(|status| *status)),
        _ => Err(not_understood()),
    }
}

fn show_purge(asker: &Asker<'_>, whose: &Purged, wait: bool) -> Result<Output, Failure> {
    if asker.dry_run {
        return Ok(Output::of(vec![Done::Planned(Vec::new())]));
    }
    let bar = asking::waiting();
    loop {
        let status = purge_status(asker, whose)?;
        let Some(status) = status else {
            let message = format!("nobody has asked for a purge of {}", whose.tenant);
            return Err(Failure::new(ErrorKind::NotFound, message));
        };
        if !wait || status.receipts > 0 {
            bar.finish_and_clear();
            return Ok(Output::of(vec![Done::Purge(Some(Box::new(status)))]));
        }
        bar.set_message(words::purge_line(&status));
        bar.tick();
        thread::sleep(LOOK_EVERY);
    }
}

/// Carries a purge out, or says how far it has come if the store was faster.
fn execute(asker: &Asker<'_>, tenant: &str, exhaustive: bool, (yes, wait): (bool, bool)) -> Result<Output, Failure> {
    if !yes && !asker.dry_run {
        return Err(Failure::usage("a purge is for ever; add --yes if that is what you want, or --dry-run to see"));
    }
    let whose = Purged { tenant: tenant.to_owned(), as_service: false };
    if wait && !asker.dry_run {
        wait_until_due(asker, &whose)?;
    }
    let act = if exhaustive { TenantAct::ExecutePurgeExhaustively } else { TenantAct::ExecutePurge };
    match asker.ask_own(tenant, act) {
        Err(failure) if failure.kind == ErrorKind::Denied && !asker.dry_run => show_purge(asker, &whose, wait),
        done => Ok(Output::of(vec![done?])),
    }
}

fn wait_until_due(asker: &Asker<'_>, whose: &Purged) -> Result<(), Failure> {
    let (bar, clock) = (asking::waiting(), SystemClock::new());
    while let Some(status) = purge_status(asker, whose)? {
        let is_due = status.approved.is_some() && status.due_secs <= clock.wall_ms() / 1000;
        if is_due || status.destroyed_secs.is_some() {
            break;
        }
        bar.set_message(words::purge_line(&status));
        bar.tick();
        thread::sleep(LOOK_EVERY);
    }
    bar.finish_and_clear();
    Ok(())
}

fn keep_receipt(asker: &Asker<'_>, whose: &Purged, file: &Path, number: Option<u32>) -> Result<Output, Failure> {
    let mut parts = Parts::into(file)?;
    let Done::Receipt(note) = asker.ask(of_purged(whose, PurgedAct::Receipt { number }))? else {
        return Err(not_understood());
    };
    parts.write(&note);
    parts.keep()?;
    let words = format!("the receipt is in {}\n{}", file.display(), words::note(&note));
    Ok(Output::new(json!({ "receipt": file }), words))
}

fn not_understood() -> Failure {
    Failure::new(ErrorKind::Internal, "the answer is none that this tool understands")
}
