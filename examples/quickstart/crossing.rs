//! One tenant reaches for another's records, and somebody without a key for anybody's. Three layers, each refusing
//! by itself.

use strongroom::{ErrorKind, Session, Strongroom};

use crate::failure::{Outcome, expect, expect_refusal, fail};
use crate::issuer::{Issuer, SERVICE};
use crate::raw::{self, RawBox, RawCell, Row};
use crate::report::Refusal;
use crate::scene::{CONTOSO, CUSTODIAN, FABRIKAM, READ, Scene, WRITE};
use crate::work::{FILES, NOTES, Note, records};

/// The answers that a credential gets which entitles its bearer to nothing.
const DENIED: &[ErrorKind] = &[ErrorKind::Denied];

/// Layer one: whoever asks for a tenant must bring a credential that speaks for it.
pub fn identity(scene: &mut Scene, room: &Strongroom) -> Outcome {
    scene.screen.heading("Identity: tokens that do not speak for fabrikam");
    let issuer = &scene.issuer;
    let contoso = scene.user_token(CONTOSO)?;
    let roles = &[READ, WRITE];
    let attempts = [
        ("a genuine token of contoso asks for fabrikam", contoso.clone()),
        ("signed with another key", Issuer::new()?.token(FABRIKAM, "mallory", roles)?),
        ("expired two minutes ago", issuer.token_that_expires_in(-120, FABRIKAM, "alice", roles)?),
        ("\"alg\": \"none\", unsigned", issuer.token_without_signature(FABRIKAM, roles)?),
        ("contoso's, rewritten to fabrikam", issuer.token_rewritten(&contoso, FABRIKAM, roles)?),
    ];
    for (attempt, token) in attempts {
        refuse(scene, "identity", attempt, room.session(&token, FABRIKAM), DENIED)?;
    }
    refuse(scene, "identity", "asks for a tenant that does not exist", room.session(&contoso, "nobody"), DENIED)?;
    refuse(scene, "identity", "contoso's user asks for custody", room.custody(&contoso), DENIED)?;
    let role = scene.issuer.token(CONTOSO, "mallory", &[CUSTODIAN])?;
    refuse(scene, "identity", "a custodian's role, from contoso", room.custody(&role), DENIED)?;
    let reader = room.session(&scene.issuer.token(CONTOSO, "bob", &[READ])?, CONTOSO)?;
    let write = reader.collection(&NOTES)?.put(&("diary", 1), &Note { text: "mine now".to_owned() });
    refuse(scene, "identity", "a reader writes", write, DENIED)?;
    let custodian = room.session(&scene.custodian_token()?, FABRIKAM);
    refuse(scene, "identity", "the custodian asks for records", custodian, DENIED)?;
    expect(SERVICE != FABRIKAM, || "the service is a tenant".to_owned())
}

/// Layer two: a session holds its own tenant's box. There is no call that takes the name of another.
pub fn namespace(scene: &mut Scene, room: &Strongroom) -> Outcome {
    scene.screen.heading("Namespace: contoso's own session looks up fabrikam's keys");
    let (contoso, fabrikam) = (scene.sign_in(room, CONTOSO)?, scene.sign_in(room, FABRIKAM)?);
    let secret = Note { text: "for fabrikam's eyes only".to_owned() };
    fabrikam.collection(&NOTES)?.put(&("vault", 7), &secret)?;
    expect(fabrikam.collection(&NOTES)?.get(&("vault", 7))? == Some(secret), || "fabrikam's note is lost".to_owned())?;
    let found = contoso.collection(&NOTES)?.get(&("vault", 7))?;
    let listed = contoso.collection(&NOTES)?.prefix(("vault",))?.count();
    expect(found.is_none() && listed == 0, || "contoso found a record of fabrikam".to_owned())?;
    scene.screen.found("fabrikam's record: not there; and no call names another tenant's box");
    let answer = "absent".to_owned();
    scene.report.refusals.push(Refusal { layer: "namespace", attempt: "contoso looks up a key of fabrikam's", answer });
    Ok(())
}

/// Layer three: bytes carried from one box to another, or changed, open nothing. Ends with the store as it was.
pub fn cryptography(scene: &mut Scene, room: Strongroom) -> Outcome<Row> {
    scene.screen.heading("Cryptography: the closed store, opened with plain RocksDB");
    let expected = (records(&scene.sign_in(&room, CONTOSO)?)?, records(&scene.sign_in(&room, FABRIKAM)?)?);
    room.close();
    let (contoso, fabrikam) = tell_apart(RawCell::open(&scene.store())?.boxes()?, expected)?;
    let (key, value) = &contoso.longest;
    scene
        .screen
        .note(&format!("{} is contoso's and {} fabrikam's, to judge by their sizes", contoso.name, fabrikam.name));

    RawCell::open(&scene.store())?.put(&contoso.name, key, &fabrikam.longest.1)?;
    let moved = "fabrikam's bytes in place of contoso's";
    longest_is_refused(scene, moved)?;

    let mut flipped = value.clone();
    flipped[value.len() / 2] ^= 1;
    RawCell::open(&scene.store())?.put(&contoso.name, key, &flipped)?;
    longest_is_refused(scene, "one bit of a record, checksums repaired")?;

    let cell = RawCell::open(&scene.store())?;
    cell.put(&contoso.name, key, value)?;
    cell.put(&contoso.name, &fabrikam.longest.0, &fabrikam.longest.1)?;
    drop(cell);
    let room = scene.open()?;
    let count = scene.sign_in(&room, CONTOSO)?.collection(&FILES)?.count();
    refuse(scene, "cryptography", "fabrikam's whole record in contoso's box", count, &[ErrorKind::Tampered])?;
    drop(room);

    RawCell::open(&scene.store())?.delete(&contoso.name, &fabrikam.longest.0)?;
    let room = scene.open()?;
    let again = (records(&scene.sign_in(&room, CONTOSO)?)?, records(&scene.sign_in(&room, FABRIKAM)?)?);
    expect(again == expected, || format!("{again:?} records after the repair, {expected:?} before"))?;
    scene.screen.found("everything put back: both tenants read all their records again");
    Ok(contoso.longest)
}

/// A byte goes bad on the disk, under RocksDB.
pub fn damage(scene: &mut Scene, (_, value): &Row) -> Outcome {
    scene.screen.heading("Damage: one bit of a table file is flipped");
    let places = raw::find_in_tables(&scene.store(), value)?;
    places.iter().try_for_each(|place| place.flip(value.len() / 2))?;
    let room = scene.open()?;
    let (contoso, fabrikam) = (scene.sign_in(&room, CONTOSO)?, scene.sign_in(&room, FABRIKAM)?);
    let attempt = "one bit of a table file";
    let refusal = read_longest(scene, &contoso)?;
    refuse(scene, "disk", attempt, refusal, &[ErrorKind::Corrupt, ErrorKind::Tampered])?;
    let whole = read_longest(scene, &fabrikam)?.map_err(|error| format!("fabrikam's records suffered: {error}"))?;
    expect(whole > 0, || "fabrikam has lost a document".to_owned())?;
    scene.screen.found("fabrikam, in the same cell, reads on");
    drop((room, contoso, fabrikam));

    places.iter().try_for_each(|place| place.flip(value.len() / 2))?;
    let room = scene.open()?;
    let contoso = scene.sign_in(&room, CONTOSO)?;
    read_longest(scene, &contoso)?.map_err(|error| format!("the repaired record does not read: {error}"))?;
    scene.screen.found("flipped back: contoso reads it again");
    Ok(())
}

/// Notes a refusal, or fails if it is none or of another kind.
fn refuse<T: std::fmt::Debug>(
    scene: &mut Scene,
    layer: &'static str,
    attempt: &'static str,
    answer: strongroom::Result<T>,
    allowed: &[ErrorKind],
) -> Outcome {
    let kind = expect_refusal(attempt, answer, allowed)?;
    scene.screen.found(&format!("{attempt}: {kind}"));
    scene.report.refusals.push(Refusal { layer, attempt, answer: kind.to_string() });
    Ok(())
}

/// Contoso is refused one of its longest documents, and fabrikam none.
fn longest_is_refused(scene: &mut Scene, attempt: &'static str) -> Outcome {
    let room = scene.open()?;
    let (contoso, fabrikam) = (scene.sign_in(&room, CONTOSO)?, scene.sign_in(&room, FABRIKAM)?);
    let refusal = read_longest(scene, &contoso)?;
    refuse(scene, "cryptography", attempt, refusal, &[ErrorKind::Tampered])?;
    read_longest(scene, &fabrikam)?.map_err(|error| format!("fabrikam's records suffered: {error}"))?;
    Ok(())
}

/// Reads the document that is the longest, or all of them if several are as long. The first refusal, or how many
/// came back right.
fn read_longest(scene: &Scene, session: &Session) -> Outcome<strongroom::Result<usize>> {
    let files = session.collection(&FILES)?;
    let longest = scene.documents.longest().bytes;
    let mut right = 0;
    for document in scene.documents.taken.iter().filter(|document| document.bytes == longest) {
        match files.get(&document.key.as_str()) {
            Ok(content) if content == Some(document.read()?) => right += 1,
            Ok(_) => return fail(format!("{} came back WRONG", document.key)),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(right))
}

/// Which box is whose: the disk does not say, so by the number of records, which a session of each has counted.
fn tell_apart(boxes: Vec<RawBox>, (contoso, fabrikam): (u64, u64)) -> Outcome<(RawBox, RawBox)> {
    let Ok([mut one, mut other]) = <[RawBox; 2]>::try_from(boxes) else {
        return fail("the cell holds another number of boxes in use than two");
    };
    if (one.rows < other.rows) != (contoso < fabrikam) {
        std::mem::swap(&mut one, &mut other);
    }
    let differ = one.rows.abs_diff(other.rows) == contoso.abs_diff(fabrikam) && contoso != fabrikam;
    expect(differ, || "the boxes cannot be told apart by their sizes".to_owned())?;
    expect(one.longest.1.len() == other.longest.1.len(), || "the longest records are not of one document".to_owned())?;
    Ok((one, other))
}
