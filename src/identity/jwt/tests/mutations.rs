//! Valid tokens with one thing changed.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::mint::{Issuer, encode};
use super::{WORLD, contoso_claims, entra_claims, entra_header, fabrikam_claims, fabrikam_header, verify, with};

/// A valid token, whole and in parts.
struct Specimen {
    issuer: &'static Issuer,
    header: Value,
    claims: Value,
    token: String,
}

fn specimens() -> [Specimen; 3] {
    let specimen = |issuer: &'static Issuer, header: Value, claims: Value| {
        let token = issuer.token_with_header(&header, &claims);
        Specimen { issuer, header, claims, token }
    };
    [
        specimen(&WORLD.entra, entra_header(), entra_claims()),
        specimen(&WORLD.contoso, WORLD.contoso.header(), contoso_claims()),
        specimen(&WORLD.fabrikam, fabrikam_header(), fabrikam_claims()),
    ]
}

/// Numbers that look random and are the same at every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }
}

/// Every way to change one member of an object: taken out, of another type, in another case, with more to it; and
/// one member more than there was.
fn changed(object: &Value) -> Vec<Value> {
    let members = object.as_object().expect("an object");
    let mut changed: Vec<Value> = members.iter().flat_map(|(name, value)| changes(members, name, value)).collect();
    let more = ["admin", "act", "crit", "jwk", "cnf", "tid2", "TID", "Exp", ""];
    changed.extend(more.map(|name| with(object.clone(), name, json!("x"))));
    changed
}

fn changes(members: &Map<String, Value>, name: &str, value: &Value) -> Vec<Value> {
    let renamed = |to: String| {
        let mut members = members.clone();
        let value = members.remove(name).expect("the member");
        members.insert(to, value);
        Value::Object(members)
    };
    let mut removed = members.clone();
    removed.remove(name);
    let mut changed = vec![Value::Object(removed), renamed(name.to_uppercase()), renamed(format!("{name} "))];
    changed.extend(other_values(value).into_iter().map(|value| with(Value::Object(members.clone()), name, value)));
    changed
}

fn other_values(value: &Value) -> Vec<Value> {
    let mut values = vec![Value::Null, json!(true), json!({}), json!([[]]), json!(-1), json!(0.5), json!("")];
    match value {
        Value::String(text) => {
            let longer = json!(format!("{text} "));
            let (upper, lower) = (text.to_uppercase(), text.to_lowercase());
            values.extend([upper, lower].into_iter().filter(|other| other != text).map(Value::from));
            values.extend([longer, json!([text, 1]), json!({ "value": text })]);
        }
        Value::Number(number) => values.extend([json!(number.to_string()), json!([number])]),
        other => values.push(json!(other.to_string())),
    }
    values
}

/// One bit of one part turned over: `bits` places in what the part encodes, and as many in its text.
fn flipped(token: &str, bits: usize, dice: &mut Dice) -> Vec<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let mut flipped = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        for _ in 0..bits {
            let mut bytes = URL_SAFE_NO_PAD.decode(part).expect("a sound part");
            let place = dice.below(bytes.len());
            bytes[place] ^= 1 << dice.below(8);
            flipped.push(with_part(&parts, index, &encode(bytes)));

            let mut text = part.as_bytes().to_vec();
            let place = dice.below(text.len());
            text[place] ^= 1 << dice.below(7);
            flipped.push(with_part(&parts, index, std::str::from_utf8(&text).expect("ASCII")));
        }
    }
    flipped
}

fn with_part(parts: &[&str], index: usize, part: &str) -> String {
    let mut parts = parts.to_vec();
    parts[index] = part;
    parts.join(".")
}

/// The specimen with each change of a member under the old signature, and signed anew.
fn rewritten(Specimen { issuer, header, claims, token }: &Specimen) -> (Vec<String>, Vec<String>) {
    let headers = changed(header).into_iter().map(|header| (header, claims.clone()));
    let pairs = headers.chain(changed(claims).into_iter().map(|claims| (header.clone(), claims)));
    let parts: Vec<&str> = token.split('.').collect();
    pairs
        .map(|(header, claims)| {
            let signed = issuer.sign(header.to_string(), claims.to_string());
            let (message, _) = signed.rsplit_once('.').expect("a token has three parts");
            (format!("{message}.{}", parts[2]), signed)
        })
        .unzip()
}

#[test]
fn no_token_with_one_thing_changed_is_accepted() {
    let mut dice = Dice(0x5eed);
    for specimen in specimens() {
        assert!(verify(&specimen.token).is_ok(), "the control: unchanged, it is accepted");
        let (rewritten, _) = rewritten(&specimen);
        let mutants: BTreeSet<_> = flipped(&specimen.token, 100, &mut dice).into_iter().chain(rewritten).collect();
        let mutants: Vec<_> = mutants.into_iter().filter(|mutant| *mutant != specimen.token).collect();
        assert!(mutants.len() >= 600, "only {} mutants", mutants.len());
        for mutant in &mutants {
            assert!(verify(mutant).is_err(), "{mutant}");
        }
    }
}

/// Were the signature not looked at, some of the same changes would pass: those of members that do not matter here,
/// and those that another valid token might have.
#[test]
fn the_same_changes_signed_anew_pass_in_part() {
    for specimen in specimens() {
        let (_, signed) = rewritten(&specimen);
        let accepted = signed.iter().filter(|token| verify(token).is_ok()).count();
        assert!(accepted > 0 && accepted < signed.len(), "{accepted} of {}", signed.len());
    }
}

/// Signed anew, so that nothing but the member itself can be what is refused.
#[test]
fn no_change_to_a_member_that_counts_is_accepted_even_if_signed() {
    // `typ` is left out: it is compared in any case.
    let of_header = ["alg", "kid"];
    let of_claims: [&[&str]; 3] =
        [&["aud", "exp", "iss", "oid", "tid", "ver"], &["aud", "exp", "iss", "tid"], &["aud", "exp", "iss"]];
    let object = |value: &Value| value.as_object().expect("an object").clone();
    let mut tried = 0;
    for (Specimen { issuer, header, claims, token: _ }, of_claims) in specimens().iter().zip(of_claims) {
        let headers = of_header.iter().flat_map(|name| changes(&object(header), name, &header[name]));
        let headers = headers.map(|changed| (changed, claims.clone()));
        let changed = of_claims.iter().flat_map(|name| changes(&object(claims), name, &claims[name]));
        for (header, claims) in headers.chain(changed.map(|changed| (header.clone(), changed))) {
            assert!(verify(&issuer.sign(header.to_string(), claims.to_string())).is_err(), "{header} {claims}");
            tried += 1;
        }
    }
    assert_eq!(tried, 257);
}
