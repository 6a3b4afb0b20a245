//! JSON by a reader of its own (RFC 8259): it keeps every field, also one that is there twice, and every
//! number as it was written.

/// How deep the reader of the house goes.
const DEPTH_MAX: u32 = 127;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    /// `None` where half of a surrogate pair stands in it, which no Unicode text has.
    Text(Option<String>),
    List(Vec<Json>),
    Object(Vec<(Option<String>, Json)>),
}

impl Json {
    /// The value that these bytes are, and nothing else.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader {
            rest: std::str::from_utf8(bytes).ok()?,
            depth: 0,
        };
        let value = reader.value()?;
        reader.blanks();
        reader.rest.is_empty().then_some(value)
    }

    pub(super) fn fields(&self) -> &[(Option<String>, Self)] {
        match self {
            Self::Object(fields) => fields,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => &[],
        }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Object(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.as_deref(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// A whole number without fraction, exponent or a minus before zero.
    pub(super) fn whole(&self) -> Option<i128> {
        match self {
            Self::Number(text) if text != "-0" => text.parse().ok(),
            Self::Number(_)
            | Self::Null
            | Self::Bool(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Object(_) => None,
        }
    }

    /// How often a field is there.
    pub(super) fn count(&self, name: &str) -> usize {
        let named = |(key, _): &&(Option<String>, Self)| key.as_deref() == Some(name);
        self.fields().iter().filter(named).count()
    }

    /// The value of a field that is there once.
    pub(super) fn only(&self, name: &str) -> Option<&Self> {
        let named = |(key, _): &&(Option<String>, Self)| key.as_deref() == Some(name);
        let mut found = self.fields().iter().filter(named);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// The text of a field that is there once.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.only(name)?.text()
    }

    /// Whether it is an object with these fields, each at most once; others only where they may be there.
    pub(super) fn has_each_once(&self, known: &[&str], others_too: bool) -> bool {
        let is_fine = |key: &Option<String>| {
            let key = key.as_deref();
            key.is_some_and(|key| others_too || known.contains(&key))
        };
        matches!(self, Self::Object(_))
            && self.fields().iter().all(|(key, _)| is_fine(key))
            && known.iter().all(|name| self.count(name) <= 1)
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: u32,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, sign: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(sign)?;
        Some(())
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn value(&mut self) -> Option<Json> {
        self.blanks();
        match self.rest.as_bytes().first()? {
            b'n' => self.take("null").map(|()| Json::Null),
            b't' => self.take("true").map(|()| Json::Bool(true)),
            b'f' => self.take("false").map(|()| Json::Bool(false)),
            b'"' => self.text().map(Json::Text),
            b'[' => self.nested(Self::list),
            b'{' => self.nested(Self::object),
            _ => self.number(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Json>) -> Option<Json> {
        self.depth += 1;
        let value = (self.depth <= DEPTH_MAX).then(|| read(self))?;
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Option<Json> {
        self.take("[")?;
        self.blanks();
        let mut items = Vec::new();
        if self.take("]").is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            self.blanks();
            match self.next()? {
                ',' => {}
                ']' => return Some(Json::List(items)),
                _ => return None,
            }
        }
    }

    fn object(&mut self) -> Option<Json> {
        self.take("{")?;
        self.blanks();
        let mut fields = Vec::new();
        if self.take("}").is_some() {
            return Some(Json::Object(fields));
        }
        loop {
            self.blanks();
            let name = self.text()?;
            self.blanks();
            self.take(":")?;
            fields.push((name, self.value()?));
            self.blanks();
            match self.next()? {
                ',' => {}
                '}' => return Some(Json::Object(fields)),
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<Json> {
        let begins = self.rest;
        let digits = |reader: &mut Self| {
            let after = reader.rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let count = reader.rest.len() - after.len();
            reader.rest = after;
            (count > 0).then_some(count)
        };
        self.take("-");
        let leads = self.rest.starts_with('0');
        let count = digits(self)?;
        if leads && count > 1 {
            return None;
        }
        if self.take(".").is_some() {
            digits(self)?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            self.take("+").or_else(|| self.take("-"));
            digits(self)?;
        }
        let length = begins.len() - self.rest.len();
        Some(Json::Number(begins[..length].to_owned()))
    }

    #[expect(
        clippy::option_option,
        reason = "no text at all, and a text that is not Unicode"
    )]
    fn text(&mut self) -> Option<Option<String>> {
        self.take("\"")?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let next = match self.next()? {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\\' => match self.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    same @ ('"' | '\\' | '/') => same,
                    'u' => {
                        let (digits, rest) = self.rest.split_at_checked(4)?;
                        let are_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                        are_hex.then(|| self.rest = rest)?;
                        units.push(u16::from_str_radix(digits, 16).ok()?);
                        continue;
                    }
                    _ => return None,
                },
                control if control < ' ' => return None,
                plain => plain,
            };
            units.extend(next.encode_utf16(&mut [0; 2]).iter());
        }
    }
}
