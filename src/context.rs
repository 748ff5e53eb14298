//! The one injective encoding behind every HKDF info, every AAD and every cache id.
//!
//! `ctx(label, p1, .., pn) = lp(label) || lp(p1) || .. || lp(pn)`, `lp(x) = u32 length || x`, big-endian.
//! The label fixes the number, order and width of the parts, so that distinct tuples never encode alike.

/// A context under construction; finished by [`Context::into_bytes`] or read in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context(Vec<u8>);

impl Context {
    pub(crate) fn new(label: &'static str) -> Self {
        Self(Vec::with_capacity(128)).bytes(label.as_bytes())
    }

    /// A part of raw bytes: an incarnation, a digest, a name's UTF-8.
    pub(crate) fn bytes(mut self, part: &[u8]) -> Self {
        push_part(&mut self.0, part);
        self
    }

    pub(crate) fn u8(self, part: u8) -> Self {
        self.bytes(&[part])
    }

    pub(crate) fn u32(self, part: u32) -> Self {
        self.bytes(&part.to_be_bytes())
    }

    /// A list is one part: the concatenation of `lp(item)`.
    pub(crate) fn list<'a>(self, items: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut list = Vec::new();
        for item in items {
            push_part(&mut list, item);
        }
        self.bytes(&list)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("every part is bounded far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_cannot_run_into_each_other() {
        let joined = |a: &str, b: &str| Context::new("t").bytes(a.as_bytes()).bytes(b.as_bytes());
        assert_ne!(joined("a-b", "c"), joined("a", "b-c"));
        assert_ne!(joined("", "x"), joined("x", ""));
        assert_ne!(Context::new("t").list([&b"ab"[..]]), Context::new("t").list([&b"a"[..], b"b"]));
    }

    #[test]
    fn every_context_is_the_references() {
        for entry in crate::test_kit::section("context", 13) {
            let label: &'static str = entry["label"].as_str().unwrap().to_owned().leak();
            let parts = entry["parts"].as_array().unwrap();
            let context = parts.iter().fold(Context::new(label), |context, part| context.bytes(&encode_part(part)));
            assert_eq!(context.as_slice(), crate::test_kit::hex(&entry["hex"]), "{entry}");
        }
    }

    fn encode_part(part: &serde_json::Value) -> Vec<u8> {
        let value = &part["value"];
        let number = || value.as_u64().unwrap();
        match part["type"].as_str().unwrap() {
            "u8" => vec![u8::try_from(number()).unwrap()],
            "u32" => u32::try_from(number()).unwrap().to_be_bytes().to_vec(),
            "u64" => number().to_be_bytes().to_vec(),
            "bytes" => crate::test_kit::hex(value),
            "text" => value.as_str().unwrap().as_bytes().to_vec(),
            "list" => {
                let mut out = Vec::new();
                value.as_array().unwrap().iter().for_each(|item| push_part(&mut out, &encode_part(item)));
                out
            }
            other => panic!("a part of type {other}"),
        }
    }

    proptest! {
        #[test]
        fn distinct_tuples_never_encode_alike(
            left in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..5),
            right in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..5),
        ) {
            let encode = |parts: &[Vec<u8>]| parts.iter().fold(Context::new("p"), |ctx, part| ctx.bytes(part));
            prop_assert_eq!(left == right, encode(&left) == encode(&right));
        }
    }
}
