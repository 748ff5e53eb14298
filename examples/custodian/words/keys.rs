//! Keys: generations, reseals, what is in the way of an end.

use strongroom::desk::Done;
use strongroom::{
    AccessStatus, Blocker, Census, Fence, GenerationState, GenerationStatus, KeyStatus, Policy, ResealReport,
    RetireReport,
};

use super::{at, lines};

/// What an answer on keys says; `None` if it is none.
pub fn of(done: &Done) -> Option<String> {
    Some(match done {
        Done::Access(access) => access_status(access),
        Done::Keys(keys) => key_status(keys),
        Done::Generation(number) => format!(
            "generation {number} is written under from now on\n  To move what older ones have sealed: custodian reseal"
        ),
        Done::Census(census) => counted(census),
        Done::Resealed(report) => resealed(report),
        Done::CanDestroy(verdict) if verdict.blockers.is_empty() => {
            format!("nothing needs the key of generation {} any more", verdict.generation)
        }
        Done::CanDestroy(verdict) | Done::NotRetired(verdict) => {
            let beginning = format!("the key of generation {} is still needed:", verdict.generation);
            lines(
                std::iter::once(beginning).chain(verdict.blockers.iter().map(|known| format!("  {}", blocker(known)))),
            )
        }
        Done::Retired(report) => retired(report),
        _ => return None,
    })
}

fn access_status(access: &AccessStatus) -> String {
    let now = match (access.fence, access.outage_since_secs) {
        (Some(Fence::Ordered), _) => {
            "revoked: nothing opens until a custodian of the tenant restores access".to_owned()
        }
        (Some(Fence::Observed), _) => "shut: the owner of a root key refuses".to_owned(),
        (Some(_), _) => "shut".to_owned(),
        (None, Some(since)) => format!("open, but no root key has answered since {}", at(since)),
        (None, None) => "open".to_owned(),
    };
    let (reachable, unreachable) = (access.latency.reachable.as_secs(), access.latency.unreachable.as_secs());
    lines(
        [
            now,
            access.last_allowed_secs.map_or_else(
                || "  no root key has allowed since it was refused".to_owned(),
                |secs| format!("  a root key last allowed on {}", at(secs)),
            ),
            format!("  when its owner refuses, the last read is at most {reachable} s later"),
            format!("  if nobody can reach the key service, at most {unreachable} s after it last allowed"),
        ]
        .into_iter(),
    )
}

fn key_status(keys: &KeyStatus) -> String {
    let roots = keys.roots.iter().map(|(root, version)| format!("{} {version}", root.as_str()));
    let roots = roots.collect::<Vec<_>>().join(", ");
    let known = [format!("policy: {}", policy(&keys.policy)), format!("epoch {}, under {roots}", keys.epoch)];
    lines(known.into_iter().chain(keys.generations.iter().map(generation)))
}

fn generation(generation: &GenerationStatus) -> String {
    let state = match generation.state {
        GenerationState::Writing => "written under".to_owned(),
        GenerationState::Registered => "followed by another; records of it may be left".to_owned(),
        GenerationState::Rolling { percent } => format!("its records are being moved, {percent}% of the sweep is done"),
        GenerationState::Rolled => "no record of it is left".to_owned(),
        _ => "in a state that this tool does not know".to_owned(),
    };
    format!("generation {}, of {}: {state}", generation.number, at(generation.created_secs))
}

fn counted(census: &Census) -> String {
    let generations = census.generations.iter().map(|counted| {
        format!("generation {}: {} records, {} bytes", counted.generation, counted.records, counted.bytes)
    });
    let damaged = (census.damaged > 0).then(|| format!("damaged: {} rows", census.damaged));
    match census.generations.is_empty() && census.damaged == 0 {
        true => "no record".to_owned(),
        false => lines(generations.chain(damaged)),
    }
}

fn resealed(report: &ResealReport) -> String {
    let progress = report.progress;
    let end = match report.is_complete {
        true => "no record is left of any generation but the newest",
        false => "records of older generations are left",
    };
    format!(
        "{end}\n  {} records moved, {} looked at in {} sweeps, {} bytes read and written",
        progress.resealed, progress.records, progress.sweep, progress.bytes
    )
}

fn blocker(blocker: &Blocker) -> String {
    match blocker {
        Blocker::Newest => "it is the newest; custodian rotate makes another".to_owned(),
        Blocker::Writers => "writes that began under it are still under way; try again in a moment".to_owned(),
        Blocker::Records { met, bytes, unreadable, percent } => {
            let beginning = "records of it may be left";
            let met = match (percent, met) {
                (Some(percent), _) => format!("the sweep under way, {percent}% done, has met {met}, {bytes} bytes"),
                (None, 0) => "no sweep since the store was opened has proven that none is".to_owned(),
                (None, _) => format!("the last sweep has met {met}, {bytes} bytes"),
            };
            let unreadable = match unreadable {
                0 => String::new(),
                count => format!("; {count} of them do not authenticate, and have to be replaced or deleted"),
            };
            format!("{beginning}: {met}{unreadable}; custodian reseal moves them")
        }
        Blocker::Scans(count) => format!("{count} scans are open that began before; they end with their sessions"),
        Blocker::Backups(count) => format!("{count} backups are under way; try again when they are done"),
        _ => "something that this tool does not know".to_owned(),
    }
}

fn retired(report: &RetireReport) -> String {
    let mut said = vec![format!(
        "the key of generation {} is destroyed; what was sealed under it opens for nobody",
        report.generation
    )];
    for (root, version) in &report.roots {
        said.push(format!("  an old copy of the ring, where a disk keeps one, opens with {} {version}", root.as_str()));
    }
    for escrow in &report.escrows {
        let known = escrow.sha256.as_ref().zip(escrow.exported_secs);
        let known = known.map(|(sha256, secs)| format!(", of {}: SHA-256 {sha256}", at(secs)));
        said.push(format!("  escrow {} holds it still{}", escrow.number, known.unwrap_or_default()));
    }
    lines(said.into_iter())
}

fn policy(policy: &Policy) -> String {
    let all = |roots: &Vec<strongroom::RootId>| {
        roots.iter().map(strongroom::RootId::as_str).collect::<Vec<_>>().join(" with ")
    };
    let any: Vec<String> = policy.alternatives().iter().map(all).collect();
    let recovery = policy.recovery().map(|root| format!("; {} for recovery", root.as_str())).unwrap_or_default();
    format!("{}{recovery}", any.join(", or "))
}
