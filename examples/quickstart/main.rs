//! The quickstart: two tenants keep real documents in one strongroom, whoever should not read them tries to, and the
//! disk is lost and restored.
//!
//! ```sh
//! cargo run --example quickstart
//! DIR=src KEEP=/tmp/room cargo run --example quickstart
//! ```
//!
//! | variable | |
//! |---|---|
//! | `DIR` | the documents: any folder. The documentation of the Rust toolchain unless said otherwise |
//! | `ALL=1` | every document of the folder, not 3,000 of them and 150 MB |
//! | `KEEP` | where the store, its keys and the issuer stay: an absent or empty folder. A temporary one otherwise |
//! | `JSON=1` | the report as one JSON object on standard output, the story on standard error |
//!
//! Every number that it prints is measured. It ends with an error if anything is not as it should be.

mod crossing;
mod documents;
mod evidence;
mod failure;
mod issuer;
mod raw;
mod recovery;
mod report;
mod scene;
mod screen;
mod search;
mod timing;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use tempfile::TempDir;

use documents::Documents;
use failure::{Outcome, fail};
use issuer::{AUDIENCE, ISSUER, Issuer, write_private};
use report::Report;
use scene::{CONTOSO, Scene};
use screen::{Ink, Screen, bytes, thousands};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe quickstart failed: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let screen = Screen::new(flag("JSON"));
    let documents = Documents::choose(path("DIR"), flag("ALL"))?;
    let (home, temporary) = home()?;
    introduce(&screen, &documents, &home, temporary.is_some());

    screen.heading("An issuer of tokens is set up");
    let issuer = Issuer::new()?;
    let jwks = issuer.publish(&home.join("issuer"))?;
    screen.found("an Ed25519 key pair; its public key in jwks.json, which is all that the verifier reads");

    let report = Report { documents: about(&documents), ..Report::default() };
    let mut scene = Scene { screen, home, jwks, issuer, documents, report };
    demonstrate(&mut scene)?;
    scene.report.print(&scene.screen);
    scene.screen.line(&scene.screen.ink(Ink::Good, "Everything was as it should be."));
    if temporary.is_none() {
        keep(&scene)?;
    }
    if flag("JSON") {
        writeln!(std::io::stdout(), "{}", scene.report.to_json())?;
    }
    Ok(())
}

fn demonstrate(scene: &mut Scene) -> Outcome {
    let room = work::make_tenants(scene)?;
    work::store_all(scene, &room)?;
    work::synced_writes(scene, &room)?;
    let room = work::reopen(scene, room)?;
    work::read_back(scene, &room)?;
    work::scan(scene, &room)?;
    work::batch(scene, &room)?;
    work::delete_some(scene, &room)?;
    crossing::identity(scene, &room)?;
    crossing::namespace(scene, &room)?;
    let record = crossing::cryptography(scene, room)?;
    evidence::search(scene)?;
    crossing::damage(scene, &record)?;
    recovery::lose_and_restore(scene)
}

fn introduce(screen: &Screen, documents: &Documents, home: &Path, temporary: bool) {
    screen.line(&screen.ink(Ink::Bold, "Strongroom: one store, many tenants, every record encrypted"));
    let (count, size) = (thousands(documents.taken.len() as u64), bytes(documents.bytes as u64));
    screen.line(&format!("\n    documents  {count} files, {size}, from {}", documents.folder.display()));
    let left = [
        (documents.beyond_caps, "more, taken with ALL=1"),
        (documents.too_long, "skipped: longer than 16 MiB"),
        (documents.unfit_name, "skipped: the path does not fit a record key"),
    ];
    for (count, why) in left.iter().filter(|(count, _)| *count > 0) {
        screen.line(&format!("               {} {why}", thousands(*count as u64)));
    }
    let fate = if temporary { "removed at the end; KEEP=folder keeps it" } else { "kept" };
    screen.line(&format!("    store      {} ({fate})", home.join("store").display()));
}

fn about(documents: &Documents) -> serde_json::Value {
    json!({
        "folder": documents.folder, "files": documents.taken.len(), "bytes": documents.bytes,
        "beyond_caps": documents.beyond_caps, "too_long": documents.too_long, "unfit_name": documents.unfit_name,
    })
}

/// The folder of everything, and the guard that removes it if nobody wants it kept.
fn home() -> Outcome<(PathBuf, Option<TempDir>)> {
    let Some(home) = path("KEEP") else {
        let temporary = tempfile::Builder::new().prefix("strongroom-").tempdir()?;
        return Ok((temporary.path().to_path_buf(), Some(temporary)));
    };
    if home.exists() && (!home.is_dir() || home.read_dir()?.next().is_some()) {
        return fail(format!("KEEP={} is there and not an empty folder; name another", home.display()));
    }
    std::fs::create_dir_all(&home)?;
    Ok((home.canonicalize()?, None))
}

/// Leaves tokens for an hour beside the issuer, and says how to go on.
fn keep(scene: &Scene) -> Outcome {
    let issuer = scene.home.join("issuer");
    write_private(&issuer.join("custodian.token"), scene.custodian_token()?.as_bytes())?;
    write_private(&issuer.join("contoso.token"), scene.user_token(CONTOSO)?.as_bytes())?;
    let home = scene.home.display();
    scene.screen.line(&format!(
        "\nKept in {home}: store, keys, issuer, backups, recovery. For the next 50 minutes this lists the tenants:"
    ));
    scene.screen.line(&format!(
        "\n    STRONGROOM_TOKEN=$(cat {home}/issuer/custodian.token) cargo run --example custodian -- \\\n      \
         --store {home}/store --keys {home}/keys --jwks {home}/issuer/jwks.json \\\n      \
         --issuer {ISSUER} --audience {AUDIENCE} tenant list"
    ));
    Ok(())
}

fn path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn flag(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}
