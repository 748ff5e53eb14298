//! Base64url without padding (RFC 4648, section 5), as in tokens and key sets: exactly one text for each value.

/// The bytes behind `text`; `None` for padding, white space, symbols of other alphabets, an impossible length, and
/// bits left over at the end that are not zero.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for symbol in group {
            bits = bits << 6 | value_of(*symbol)?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (decoded, left_over) = decoded.split_at(group.len() - 1);
        if decoded.is_empty() || left_over.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(decoded);
    }
    Some(bytes)
}

fn value_of(symbol: u8) -> Option<u32> {
    let value = match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::decode;

    #[test]
    fn agrees_with_the_base64_crate_on_every_short_text() {
        let symbols = b"AQgwZaz09-_+/= \n.\x7f";
        let mut texts = vec![String::new()];
        for length in 1..=5 {
            let longer = texts
                .iter()
                .filter(|text| text.len() == length - 1)
                .flat_map(|text| symbols.iter().map(move |symbol| format!("{text}{}", char::from(*symbol))));
            let longer: Vec<_> = longer.collect();
            texts.extend(longer);
        }
        for text in &texts {
            assert_eq!(decode(text), URL_SAFE_NO_PAD.decode(text).ok(), "{text:?}");
        }
    }

    #[test]
    fn every_value_of_every_short_length_comes_back() {
        for length in 0..70 {
            for byte in 0..=255 {
                let bytes = vec![byte; length];
                assert_eq!(decode(&URL_SAFE_NO_PAD.encode(&bytes)), Some(bytes));
            }
        }
    }
}
