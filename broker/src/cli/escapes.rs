//! Backslash escapes in what people type: `\n`, `\t`, `\x1f`.

/// The bytes meant.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, taken) = escape(rest)?;
        bytes.push(byte);
        rest = &rest[taken..];
    }
    Ok(bytes)
}

/// What follows a backslash: the byte it stands for, and how many characters it takes.
pub(crate) fn escape(rest: &[u8]) -> Result<(u8, usize), String> {
    Ok(match rest.first() {
        Some(b'n') => (b'\n', 1),
        Some(b'r') => (b'\r', 1),
        Some(b't') => (b'\t', 1),
        Some(b'0') => (0, 1),
        Some(b'\\') => (b'\\', 1),
        Some(b'x') => {
            let digits = rest.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
            let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = digits.filter(is_hex).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            (byte.ok_or("\\x needs two hexadecimal digits")?, 3)
        }
        Some(other) => {
            return Err(format!("\\{} stands for nothing; \\\\ is a backslash", char::from(*other)));
        }
        None => return Err("a lone backslash at the end; \\\\ is a backslash".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes_and_the_rest_for_itself() {
        assert_eq!(unescape(r"a\tb\n\r\0\\\x1F|").unwrap(), b"a\tb\n\r\0\\\x1f|");
        assert_eq!(unescape("ü").unwrap(), "ü".as_bytes());
        for text in [r"\", r"\q", r"\x", r"\x1", r"\x+1", r"\xzz"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
