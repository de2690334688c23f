//! Rust source as text: comments and strings blanked, words found, use trees expanded.

/// The source with comments and the insides of strings turned to spaces; lines stay where they are.
pub(crate) fn blanked(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => find(source, at + 2, "*/") + 2,
            b'"' => string_end(bytes, at + 1),
            b'r' if raw_string(bytes, at).is_some() => {
                let hashes = raw_string(bytes, at).unwrap_or(0);
                find(source, at + hashes + 2, &format!("\"{}", "#".repeat(hashes))) + 1 + hashes
            }
            // A quote starts a character only if one ends two or a few bytes on; otherwise it is a lifetime.
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => find(source, at + 3, "'") + 1,
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at + 3,
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n)
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The number of hashes if a raw string starts here.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let within_word = at > 0 && is_word(bytes[at - 1]) && bytes[at - 1] != b'b';
    (!within_word && bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn find(source: &str, from: usize, what: &str) -> usize {
    let bytes = source.as_bytes();
    (from..bytes.len()).find(|at| bytes[*at..].starts_with(what.as_bytes())).unwrap_or(bytes.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The code up to an inline `mod tests { .. }`, which stands last.
pub(crate) fn without_tests(code: &str) -> &str {
    let starts_tests = |rest: &str| {
        let rest = rest.trim_start();
        rest.starts_with("mod ") && rest.find(['{', ';']).is_some_and(|end| rest.as_bytes()[end] == b'{')
    };
    let mark = "#[cfg(test)]";
    let tests = code.match_indices(mark).find(|(at, _)| starts_tests(&code[at + mark.len()..]));
    tests.map_or(code, |(at, _)| &code[..at])
}

/// Where `word` stands on its own.
pub(crate) fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
        let starts = !is_word(first) || *at == 0 || !is_word(bytes[at - 1]);
        let ends = !is_word(last) || bytes.get(at + word.len()).is_none_or(|byte| !is_word(*byte));
        starts && ends
    })
}

pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Every `crate::` and `super::` path in the code as (position, segments from the crate's root).
pub(crate) fn imports(code: &str, own: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut out = Vec::new();
    for at in occurrences(code, "crate::") {
        expand(&code[at + 7..], &[], &mut |path| out.push((at, path)));
    }
    for at in occurrences(code, "super::").filter(|at| !code[..*at].ends_with("super::")) {
        let ups = code[at..].split("super::").take_while(|part| part.is_empty()).count();
        let stem: Vec<String> =
            own.iter().take(own.len().saturating_sub(ups)).map(|name| (*name).to_owned()).collect();
        expand(&code[at + ups * 7..], &stem, &mut |path| out.push((at, path)));
    }
    out
}

/// Expands a use tree, `a::{b::c, d}` into a::b::c and a::d; returns what is left of the text.
fn expand<'a>(text: &'a str, stem: &[String], out: &mut dyn FnMut(Vec<String>)) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(rest, stem, out).trim_start();
            let Some(more) = rest.strip_prefix(',') else { break };
            rest = more;
        }
        return rest.strip_prefix('}').unwrap_or(rest);
    }
    let word = text.bytes().take_while(|byte| is_word(*byte)).count();
    if word == 0 {
        out(stem.to_vec());
        return text.strip_prefix('*').unwrap_or(text);
    }
    let mut path = stem.to_vec();
    path.push(text[..word].to_owned());
    let rest = &text[word..];
    match rest.strip_prefix("::") {
        Some(more) if more.starts_with(|c: char| c == '{' || c == '*' || c == '_' || c.is_alphanumeric()) => {
            expand(more, &path, out)
        }
        _ => {
            out(path);
            rest.trim_start()
                .strip_prefix("as ")
                .map_or(rest, |alias| alias.trim_start_matches(|c: char| c == '_' || c.is_alphanumeric()))
        }
    }
}

pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        depth += i32::from(byte == b'{') - i32::from(byte == b'}');
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}
