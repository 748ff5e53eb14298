//! A lost disk: the rings go into an escrow, the store into a folder of backups, the store's folder is removed, and
//! everything comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use strongroom::backup::{BackupPlan, Escrow, EscrowKey, EscrowLock, Restore, verify};
use strongroom::{LocalRoots, Session, Strongroom};

use crate::failure::{Outcome, expect};
use crate::issuer::write_private;
use crate::scene::{CONTOSO, Scene, TENANTS};
use crate::screen::{bytes, thousands};
use crate::timing::Stopwatch;
use crate::work::{ABOUT, FILES, NOTES, Note};

/// Of each record the SHA-256 of what it holds, by collection and key.
type Contents = BTreeMap<(&'static str, String), [u8; 32]>;

/// Backs up, changes something, backs up again, loses the store, and restores it.
pub fn lose_and_restore(scene: &mut Scene) -> Outcome {
    scene.screen.heading("A lost disk: rings in an escrow, two backups, the store's folder removed, a restore");
    let room = scene.open()?;
    let (secret, recipient) = EscrowKey::generate();
    let custody = room.custody(&scene.custodian_token()?)?;
    let exported = custody.export_rings(escrow_file(scene), &EscrowLock::recipients([recipient.as_str()])?)?;
    scene.screen.found(&format!(
        "the rings of {} tenants in an escrow, sealed through age to a recovery key",
        exported.tenants
    ));
    back_up(scene, &room, "back up")?;
    let note = Note { text: "written between the backups".to_owned() };
    scene.sign_in(&room, CONTOSO)?.collection(&NOTES)?.put(&("between", 1), &note)?;
    back_up(scene, &room, "back up again")?;

    let before = TENANTS.map(|tenant| scene.sign_in(&room, tenant).and_then(|session| contents(&session)));
    let before = before.into_iter().collect::<Outcome<Vec<_>>>()?;
    drop((custody, room));
    std::fs::remove_dir_all(scene.store())?;
    scene.screen.note("the folder of the store is gone");
    restore(scene, &secret)?;

    let room = scene.open()?;
    for (tenant, before) in TENANTS.into_iter().zip(before) {
        let session = scene.sign_in(&room, tenant)?;
        expect(contents(&session)? == before, || format!("{tenant} has other records than before the loss"))?;
        compare_with_files(scene, &session)?;
        let count = thousands(before.len() as u64);
        scene
            .screen
            .found(&format!("{tenant}: {count} records are back, every document equal to its file, byte for byte"));
    }
    write_private(&scene.home.join("recovery/identity.txt"), secret.as_bytes())?;
    Ok(())
}

fn back_up(scene: &mut Scene, room: &Strongroom, name: &'static str) -> Outcome {
    let custody = room.custody(&scene.custodian_token()?)?;
    let bar = scene.screen.bar(name, 0);
    let mut watch = Stopwatch::default();
    let plan = BackupPlan::store(scene.home.join("backups")).on_progress(|progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    });
    let report = watch.time(|| custody.backup(plan))?;
    bar.finish_and_clear();
    let (whole, copied) = (bytes(report.bytes), bytes(report.bytes_copied));
    scene.screen.found(&format!(
        "backup {}: {} files, {whole}, of which {copied} had to be copied",
        report.number, report.files
    ));
    scene.measured(name, 0, usize::try_from(report.bytes_copied)?, watch.total(), "synced at its end");
    Ok(())
}

fn restore(scene: &mut Scene, secret: &str) -> Outcome {
    let escrow = || Escrow::open(escrow_file(scene), &EscrowKey::identity(secret)?);
    let (mut verifying, mut restoring) = (Stopwatch::default(), Stopwatch::default());
    let verified = verifying.time(|| verify(scene.home.join("backups"), &escrow()?, None))?;
    let roots = LocalRoots::open(scene.home.join("keys"))?;
    let restore = Restore::new(scene.home.join("backups"), escrow()?, roots);
    let restored = restoring.time(|| restore.store_into(scene.store()))?;
    expect(restored.tenants == TENANTS.len() as u64, || format!("{} tenants came back", restored.tenants))?;
    scene.screen.found(&format!("backup {} verified and restored", restored.number));
    scene.measured("verify a backup", 0, usize::try_from(verified.bytes)?, verifying.total(), "");
    scene.measured("restore the store", 0, usize::try_from(restored.bytes)?, restoring.total(), "synced at its end");
    Ok(())
}

/// Everything that a tenant's own session finds.
fn contents(session: &Session) -> Outcome<Contents> {
    let sum = |bytes: &[u8]| <[u8; 32]>::from(Sha256::digest(bytes));
    let mut found = Contents::new();
    for row in session.collection(&FILES)?.iter()? {
        let (key, content) = row?;
        found.insert(("files", key), sum(&content));
    }
    for row in session.collection(&ABOUT)?.iter()? {
        let (key, about) = row?;
        found.insert(("about", key), sum(format!("{about:?}").as_bytes()));
    }
    for row in session.collection(&NOTES)?.iter()? {
        let (key, note) = row?;
        found.insert(("notes", format!("{key:?}")), sum(format!("{note:?}").as_bytes()));
    }
    Ok(found)
}

/// Every document that the tenant has not deleted, against the file that it came from.
fn compare_with_files(scene: &Scene, session: &Session) -> Outcome {
    let files = session.collection(&FILES)?;
    for document in &scene.documents.taken {
        if let Some(content) = files.get(&document.key.as_str())? {
            let same = content == document.read()?;
            expect(same, || format!("{} came back differently", document.key))?;
        }
    }
    Ok(())
}

fn escrow_file(scene: &Scene) -> PathBuf {
    scene.home.join("recovery/rings.age")
}
