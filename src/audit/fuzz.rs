//! What an attacker can send to those who read trails: leaves, checkpoints, whole exports.

use std::sync::LazyLock;

use super::act::Act;
use super::checkpoint::Checkpoint;
use super::event::{Actor, Event, LEAF_MAX_LEN};
use super::note::VerifierKey;
use super::offline::{LastLine, verify_export};
use super::tree::Tree;
use super::{line, note};
use crate::fuzz::edited;
use crate::secret::Key32;
use crate::signing::Signer;

const NAME: &str = "strongroom/00/01";
const TEXT: &str = "strongroom/00/01\n0\nAAAA\n";
static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(&Key32::with(|seed| seed.fill(7))).expect("a seed"));
static KEY: LazyLock<VerifierKey> =
    LazyLock::new(|| VerifierKey::new(NAME, SIGNER.public().expect("a key")).expect("a name"));
/// A trail of three events, as it is exported.
static EXPORT: LazyLock<String> = LazyLock::new(|| {
    let (mut tree, mut export) = (Tree::default(), String::new());
    for number in 0..3 {
        let event = Event::new(Act::REVOKED, Actor::person("i", "t", "s")).detail("number", number);
        let leaf = event.encode([9; 16]);
        tree.push(&leaf);
        export += &(line::render(number, &event, &leaf).expect("an event") + "\n");
    }
    let checkpoint = Checkpoint::new(NAME.to_owned(), &tree).sign(&SIGNER).expect("a checkpoint");
    export + &serde_json::to_string(&LastLine { checkpoint }).expect("a line") + "\n"
});

pub(crate) fn event(data: &[u8]) {
    let Ok(event) = Event::decode(data) else { return };
    assert!(data.len() <= LEAF_MAX_LEN);
    let salt = *data.first_chunk().expect("a leaf has random bytes");
    assert_eq!(event.encode(salt), data);
    let line = line::render(3, &event, data).expect("every event has a line");
    assert!(line.len() <= line::LINE_MAX_LEN && !line.contains('\n'));
    assert_eq!(line::parse(&line, 3).expect("its own line"), data);
}

/// As text; and as edits of a note that was signed.
pub(crate) fn checkpoint(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        drop(text.parse::<VerifierKey>().map(|key| assert_eq!(key.to_string(), text)));
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            let note = checkpoint.sign(&SIGNER);
            let same = note.and_then(|note| Checkpoint::read_unverified(&note));
            assert!(same.is_err() || same.is_ok_and(|same| same == checkpoint));
        }
        assert!(KEY.open(text).is_err(), "a note that nobody signed");
    }
    let signed = note::sign(&SIGNER, NAME, TEXT).expect("a text");
    if let Ok(edited) = String::from_utf8(edited(signed.as_bytes(), data)) {
        // Others may sign too, and their signatures are passed over.
        assert!(KEY.open(&edited).is_ok_and(|text| text == TEXT) || KEY.open(&edited).is_err() && edited != signed);
    }
}

/// As a whole; and as edits of a trail that was exported.
pub(crate) fn export(data: &[u8]) {
    assert!(verify_export(data, Some(&KEY), None).is_err(), "a trail that nobody exported");
    drop(verify_export(data, None, std::str::from_utf8(data).ok()));
    let edited = edited(EXPORT.as_bytes(), data);
    match verify_export(&edited[..], Some(&KEY), None) {
        Ok(verified) => assert_eq!(Ok(verified), verify_export(EXPORT.as_bytes(), Some(&KEY), None).map_err(drop)),
        Err(_) => assert_ne!(edited, EXPORT.as_bytes(), "the trail as it was exported"),
    }
}
