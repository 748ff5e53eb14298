//! Request bodies that hold secrets, put together in one buffer of the right size, which is wiped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::keys::Binding;
use crate::kms::{WrapContext, WrapSecret};

/// 32 bytes in base64.
const SECRET_TEXT_LEN: usize = 44;

/// `{"plaintext":"..","associated_data":".."}`
pub(super) fn encrypt(secret: &WrapSecret, binding: Binding, context: &WrapContext) -> Zeroizing<String> {
    let mut text = Zeroizing::new([0; SECRET_TEXT_LEN]);
    let length = STANDARD.encode_slice(secret.expose_secret(), text.as_mut_slice()).unwrap_or(0);
    with_context("plaintext", &text[..length], binding, context)
}

/// `{"ciphertext":"vault:v1:..","associated_data":".."}`
pub(super) fn decrypt(version: u32, bytes: &[u8], binding: Binding, context: &WrapContext) -> Zeroizing<String> {
    let text = format!("vault:v{version}:{}", STANDARD.encode(bytes));
    with_context("ciphertext", text.as_bytes(), binding, context)
}

/// `{"role_id":"..","secret_id":".."}`
pub(super) fn approle(role_id: &str, secret_id: &str) -> Zeroizing<String> {
    object(&[("role_id", role_id.as_bytes()), ("secret_id", secret_id.as_bytes())])
}

fn with_context(name: &str, text: &[u8], binding: Binding, context: &WrapContext) -> Zeroizing<String> {
    let bound = STANDARD.encode(context.associated_data());
    let place = match binding {
        Binding::AssociatedData => "associated_data",
        Binding::Derivation => "context",
        Binding::Nothing => return object(&[(name, text)]),
    };
    object(&[(name, text), (place, bound.as_bytes())])
}

/// An object of texts that need no escape: base64, and what [`is_plain`] has looked at.
fn object(members: &[(&str, &[u8])]) -> Zeroizing<String> {
    let length = members.iter().map(|(name, text)| name.len() + text.len() + 6).sum::<usize>() + 2;
    let mut body = Zeroizing::new(String::with_capacity(length));
    for (place, (name, text)) in members.iter().enumerate() {
        body.push_str(if place == 0 { "{\"" } else { ",\"" });
        body.push_str(name);
        body.push_str("\":\"");
        text.iter().for_each(|&byte| body.push(char::from(byte)));
        body.push('"');
    }
    body.push('}');
    debug_assert!(body.len() <= length);
    body
}

/// Whether a text can stand in a body, a header or a path as it is.
pub(super) fn is_plain(text: &str, limit: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=limit).contains(&text.len()) && text.bytes().all(plain) && text != "." && text != ".."
}

/// Ciphertext as a vault writes it: the number of the key's version, and the bytes.
pub(super) fn parse_ciphertext(text: &str) -> Option<(u32, Vec<u8>)> {
    let (version, bytes) = text.strip_prefix("vault:")?.split_once(':')?;
    Some((parse_version(version)?, STANDARD.decode(bytes).ok()?))
}

/// `v` and a number without leading zeros or sign.
pub(super) fn parse_version(text: &str) -> Option<u32> {
    let number = text.strip_prefix('v')?.parse().ok()?;
    (number > 0 && format!("v{number}") == text).then_some(number)
}

/// The secret in an answer, decoded in place.
pub(super) fn parse_secret(text: &str) -> Option<WrapSecret> {
    // What it decodes to is estimated upwards.
    let mut bytes = Zeroizing::new([0; 64]);
    let length = STANDARD.decode_slice(text, bytes.as_mut_slice()).ok()?;
    WrapSecret::from_slice(&bytes[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::{Call, RootId};

    #[test]
    fn bodies_are_json_of_what_they_are_made_from() {
        let context = WrapContext::new([1; 16], RootId::new("a").unwrap(), 1, Call::new().unwrap());
        let secret = WrapSecret::from_slice(&[0xFB; 32]).unwrap();
        let bound = STANDARD.encode(context.associated_data());
        let read = |body: Zeroizing<String>| serde_json::from_str::<serde_json::Value>(&body).unwrap();
        let wrapped = read(encrypt(&secret, Binding::AssociatedData, &context));
        assert_eq!(wrapped["associated_data"], bound.as_str());
        assert_eq!(parse_secret(wrapped["plaintext"].as_str().unwrap()).unwrap().expose_secret(), &[0xFB; 32]);
        assert_eq!(read(encrypt(&secret, Binding::Derivation, &context))["context"], bound.as_str());
        assert_eq!(read(encrypt(&secret, Binding::Nothing, &context)).as_object().unwrap().len(), 1);
        let sealed = read(decrypt(7, &[1, 2, 3], Binding::Nothing, &context));
        assert_eq!(parse_ciphertext(sealed["ciphertext"].as_str().unwrap()), Some((7, vec![1, 2, 3])));
        assert_eq!(read(approle("r", "s"))["secret_id"], "s");
    }

    #[test]
    fn what_is_read_is_read_strictly() {
        for text in
            ["vault:v1", "vault:1:AQID", "vault:v01:AQID", "vault:v0:AQID", "vault:v-1:AQID", "v1:AQID", "vault:v1:AQI"]
        {
            assert_eq!(parse_ciphertext(text), None, "{text}");
        }
        assert!(parse_secret(&STANDARD.encode([1; 31])).is_none());
        assert!(parse_secret(&STANDARD.encode([1; 33])).is_none());
        assert!(parse_secret(&STANDARD.encode([1; 4096])).is_none());
        for text in ["", ".", "..", "a/b", "a b", "a\"", "a\n", "ä", "a?b", "a%2fb", &"a".repeat(65)] {
            assert!(!is_plain(text, 64), "{text:?}");
        }
        assert!(is_plain("Customer_a.1-x", 64));
    }
}
