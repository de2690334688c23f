//! RE2's syntax in the words of the `regex` crate. Both are of one family and differ in corners: classes in classes, `\d`
//! beyond ASCII, `\Q...\E`, what a lone brace or an escape means, what may be repeated.

/// The same pattern for the `regex` crate, or RE2's own description of what is wrong with it.
pub(super) fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut translation = Translation { rest: pattern, out: String::new(), names: Vec::new() };
    translation.run()?;
    Ok(translation.out)
}

const BAD_CLASS: &str = "missing closing ]";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_GROUP: &str = "missing closing )";
const BAD_NAME: &str = "invalid named capture";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_RANGE: &str = "invalid character class range";
const BAD_COUNT: &str = "invalid repeat count";
const NAME_TWICE: &str = "duplicate capture group name";
const NOTHING_TO_REPEAT: &str = "missing argument to repetition operator";
const REPEATED_TWICE: &str = "invalid nested repetition operator";
const TRAILING: &str = "trailing backslash at end of expression";
/// Kafka's library says no more than this of a `)` too many.
const UNDERFLOW: &str = "regexp/syntax: internal error";

const REPEATS_MAX: u32 = 1_000;

/// What may be repeated stands before, or not.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Something,
    Repeated,
}

struct Translation<'a> {
    rest: &'a str,
    out: String,
    names: Vec<&'a str>,
}

impl<'a> Translation<'a> {
    fn run(&mut self) -> Result<(), &'static str> {
        let mut depth = 0usize;
        let mut before = Before::Nothing;
        while let Some(next) = self.rest.chars().next() {
            before = match next {
                '(' => {
                    depth += usize::from(self.group()?);
                    Before::Nothing
                }
                ')' => {
                    depth = depth.checked_sub(1).ok_or(UNDERFLOW)?;
                    self.copy(1);
                    Before::Something
                }
                '|' => {
                    self.copy(1);
                    Before::Nothing
                }
                '*' | '+' | '?' => self.repeat(1, before)?,
                '{' => match self.count()? {
                    Some(length) => self.repeat(length, before)?,
                    None => self.literal(),
                },
                '^' | '$' | '.' => {
                    self.copy(1);
                    Before::Something
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                _ => self.literal(),
            };
        }
        if depth > 0 { Err(BAD_GROUP) } else { Ok(()) }
    }

    fn copy(&mut self, bytes: usize) {
        let (copied, rest) = self.rest.split_at(bytes);
        self.out.push_str(copied);
        self.rest = rest;
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let taken = chars.next();
        self.rest = chars.as_str();
        taken
    }

    fn literal(&mut self) -> Before {
        if let Some(char) = self.take() {
            self.push(char);
        }
        Before::Something
    }

    /// A character that means nothing but itself.
    fn push(&mut self, char: char) {
        if char.is_ascii_alphanumeric() || char == '_' {
            self.out.push(char);
        } else {
            self.out.push_str(&format!(r"\x{{{:X}}}", u32::from(char)));
        }
    }

    /// An operator of so many bytes, and whether it takes as few as it can.
    fn repeat(&mut self, bytes: usize, before: Before) -> Result<Before, &'static str> {
        match before {
            Before::Nothing => return Err(NOTHING_TO_REPEAT),
            Before::Repeated => return Err(REPEATED_TWICE),
            Before::Something => self.copy(bytes),
        }
        if self.rest.starts_with('?') {
            self.copy(1);
        }
        Ok(Before::Repeated)
    }

    /// The length of `{n}`, `{n,}` or `{n,m}`; anything else in braces stands for itself.
    fn count(&self) -> Result<Option<usize>, &'static str> {
        let Some(end) = self.rest.find('}') else { return Ok(None) };
        let inner = &self.rest[1..end];
        let (low, high) = inner.split_once(',').map_or((inner, None), |(low, high)| (low, Some(high)));
        let is_number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits && (text == "0" || !text.starts_with('0'))
        };
        if !is_number(low) || high.is_some_and(|high| !high.is_empty() && !is_number(high)) {
            return Ok(None);
        }
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let low = number(low);
        let high = high.filter(|high| !high.is_empty()).map_or(low, number);
        if high > REPEATS_MAX || high < low { Err(BAD_COUNT) } else { Ok(Some(end + 1)) }
    }

    /// False if it only sets flags for what follows.
    fn group(&mut self) -> Result<bool, &'static str> {
        let Some(rest) = self.rest.strip_prefix("(?") else {
            self.rest = &self.rest[1..];
            self.out.push_str("(?:");
            return Ok(true);
        };
        let named = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<'));
        if let Some(named) = named {
            let end = named.find('>').ok_or(BAD_NAME)?;
            let name = &named[..end];
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(BAD_NAME);
            }
            if self.names.contains(&name) {
                return Err(NAME_TWICE);
            }
            self.names.push(name);
            self.rest = &named[end + 1..];
            self.out.push_str("(?:");
            return Ok(true);
        }
        self.rest = rest;
        self.flags()
    }

    fn flags(&mut self) -> Result<bool, &'static str> {
        // How each of these stands: not mentioned, on, off. Greediness (U) says nothing about whole matches.
        let mut set: [(char, Option<bool>); 3] = [('i', None), ('m', None), ('s', None)];
        let (mut negative, mut any) = (false, false);
        loop {
            match self.take().ok_or(BAD_PERL)? {
                'U' => any = true,
                '-' if !negative => (negative, any) = (true, false),
                end @ (':' | ')') if any || !negative => {
                    let are =
                        |on: bool| set.iter().filter(move |(_, is)| *is == Some(on)).map(|(flag, _)| *flag);
                    let (on, off): (String, String) = (are(true).collect(), are(false).collect());
                    let minus = if off.is_empty() { "" } else { "-" };
                    // The crate has no group of no flags.
                    if end == ':' || !on.is_empty() || !off.is_empty() {
                        self.out.push_str(&format!("(?{on}{minus}{off}{end}"));
                    }
                    return Ok(end == ':');
                }
                flag => {
                    let at = set.iter().position(|(known, _)| *known == flag).ok_or(BAD_PERL)?;
                    set[at].1 = Some(!negative);
                    any = true;
                }
            }
        }
    }

    fn class(&mut self) -> Result<Before, &'static str> {
        self.copy(1);
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        loop {
            match self.rest.chars().next().ok_or(BAD_CLASS)? {
                ']' if !first => {
                    self.copy(1);
                    return Ok(Before::Something);
                }
                '[' if self.rest.starts_with("[:") && self.named_class()? => (),
                '\\' if self.perl_class() => (),
                '\\' if self.rest[1..].starts_with(['p', 'P']) => self.unicode_class()?,
                _ => self.range()?,
            }
            first = false;
        }
    }

    fn range(&mut self) -> Result<(), &'static str> {
        let low = self.class_char()?;
        self.push(low);
        let after = self.rest.strip_prefix('-').filter(|after| !after.starts_with(']') && !after.is_empty());
        if let Some(after) = after {
            self.rest = after;
            let high = self.class_char()?;
            if high < low {
                return Err(BAD_RANGE);
            }
            self.out.push('-');
            self.push(high);
        }
        Ok(())
    }

    fn class_char(&mut self) -> Result<char, &'static str> {
        match self.take().ok_or(BAD_CLASS)? {
            '\\' => self.escaped_char(),
            char => Ok(char),
        }
    }

    /// `[:alpha:]`. False if it is not closed, which makes the bracket a character.
    fn named_class(&mut self) -> Result<bool, &'static str> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        let Some(end) = self.rest.find(":]") else { return Ok(false) };
        let name = self.rest.get(2..end).ok_or(BAD_RANGE)?;
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(BAD_RANGE);
        }
        self.copy(end + 2);
        Ok(true)
    }

    /// `\d`, `\s`, `\w` and their opposites: of ASCII only.
    fn perl_class(&mut self) -> bool {
        let class = match self.rest.as_bytes().get(1) {
            Some(b'd') => "[0-9]",
            Some(b'D') => "[^0-9]",
            Some(b's') => r"[\t\n\x0C\r ]",
            Some(b'S') => r"[^\t\n\x0C\r ]",
            Some(b'w') => "[0-9A-Za-z_]",
            Some(b'W') => "[^0-9A-Za-z_]",
            _ => return false,
        };
        self.out.push_str(class);
        self.rest = &self.rest[2..];
        true
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}` and their opposites with `P`.
    fn unicode_class(&mut self) -> Result<(), &'static str> {
        let mut negated = self.rest[1..].starts_with('P');
        let rest = &self.rest[2..];
        let (name, rest) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').ok_or(BAD_RANGE)?,
            None => rest.split_at_checked(1).ok_or(BAD_RANGE)?,
        };
        let name = name.strip_prefix('^').inspect(|_| negated = !negated).unwrap_or(name);
        let kind = match name.len() {
            0 => return Err(BAD_RANGE),
            1 | 2 => "gc",
            _ => "sc",
        };
        let class = match name {
            "Any" if negated => r"[^\x{0}-\x{10FFFF}]".to_owned(),
            "Any" => r"[\x{0}-\x{10FFFF}]".to_owned(),
            _ => format!(r"\{}{{{kind}={name}}}", if negated { 'P' } else { 'p' }),
        };
        // The crate knows more names than RE2, and by other spellings.
        let plain = name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let exact = plain && name.starts_with(|first: char| first.is_ascii_uppercase());
        if !exact || regex_syntax::parse(&class).is_err() {
            return Err(BAD_RANGE);
        }
        self.out.push_str(&class);
        self.rest = rest;
        Ok(())
    }

    fn escape(&mut self) -> Result<Before, &'static str> {
        match self.rest.as_bytes().get(1) {
            Some(b'A' | b'z') => self.copy(2),
            // The crate's own word boundaries are Unicode's.
            Some(b'b') => self.replace(r"(?-u:\b)"),
            Some(b'B') => self.replace(r"(?-u:\B)"),
            Some(b'p' | b'P') => self.unicode_class()?,
            Some(b'Q') => {
                let quoted = &self.rest[2..];
                let (text, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                text.chars().for_each(|char| self.push(char));
                self.rest = rest;
            }
            _ if self.perl_class() => (),
            _ => {
                self.rest = &self.rest[1..];
                let char = self.escaped_char()?;
                self.push(char);
            }
        }
        Ok(Before::Something)
    }

    fn replace(&mut self, with: &str) {
        self.out.push_str(with);
        self.rest = &self.rest[2..];
    }

    /// What stands after a backslash, if it is one character in other words.
    fn escaped_char(&mut self) -> Result<char, &'static str> {
        let is_octal = |char: &char| ('0'..='7').contains(char);
        Ok(match self.take().ok_or(TRAILING)? {
            // A digit alone would be a back reference.
            '1'..='7' if !self.rest.starts_with(|next: char| is_octal(&next)) => return Err(BAD_ESCAPE),
            first @ '0'..='7' => {
                let more = self.rest.chars().take(2).take_while(is_octal).count();
                let (digits, rest) = self.rest.split_at(more);
                self.rest = rest;
                let value = u32::from_str_radix(&format!("{first}{digits}"), 8).map_err(|_| BAD_ESCAPE)?;
                char::from_u32(value).ok_or(BAD_ESCAPE)?
            }
            'x' => {
                let (digits, rest) = match self.rest.strip_prefix('{') {
                    Some(inner) => inner.split_once('}').ok_or(BAD_ESCAPE)?,
                    None => self.rest.split_at_checked(2).ok_or(BAD_ESCAPE)?,
                };
                self.rest = rest;
                if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(BAD_ESCAPE);
                }
                let value = u32::from_str_radix(digits, 16).map_err(|_| BAD_ESCAPE)?;
                char::from_u32(value).ok_or(BAD_ESCAPE)?
            }
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            other if other.is_ascii_alphanumeric() => return Err(BAD_ESCAPE),
            other => other,
        })
    }
}
