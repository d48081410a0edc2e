//! JSON seen by its letters alone, so that the reader is judged by something that is not itself.

/// What can be told of JSON without building anything: only meaningful where the text is JSON.
pub(super) struct Lexed {
    /// Members of objects, each as often as it stands there.
    pub members: usize,
    pub depth: usize,
    /// An escape that is half a character.
    pub lone_surrogate: bool,
}

impl Lexed {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut lexed = Lexed {
            members: 0,
            depth: 0,
            lone_surrogate: false,
        };
        let (mut at, mut open) = (0, 0_usize);
        while at < text.len() {
            match text[at] {
                b'"' => {
                    at = lexed.string(text, at + 1);
                    continue;
                }
                b':' => lexed.members += 1,
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            lexed.depth = lexed.depth.max(open);
            at += 1;
        }
        lexed
    }

    /// The place after the closing quote.
    fn string(&mut self, text: &[u8], mut at: usize) -> usize {
        let mut high = false;
        while at < text.len() && text[at] != b'"' {
            let unit = (text[at] == b'\\').then(|| unit(&text[at + 1..])).flatten();
            let low = unit.is_some_and(|unit| (0xDC00..0xE000).contains(&unit));
            self.lone_surrogate |= high != low;
            high = unit.is_some_and(|unit| (0xD800..0xDC00).contains(&unit));
            at += match (text[at], unit) {
                (_, Some(_)) => 6,
                (b'\\', None) => 2,
                _ => 1,
            };
        }
        self.lone_surrogate |= high;
        at + 1
    }
}

/// The four digits of `uXXXX`.
fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
