//! The few shapes of msgpack that short items are made of, written and read without a detour.

use serde::de::IgnoredAny;

/// Why bytes are not what was expected.
pub(super) type Problem = String;

const NIL: u8 = 0xc0;

fn problem<T>(what: &str) -> Result<T, Problem> {
    Err(what.to_owned())
}

/// A number in its shortest form.
pub(super) fn put_uint(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    match value {
        0..0x80 => out.push(bytes[7]),
        0x80..0x100 => out.extend_from_slice(&[0xcc, bytes[7]]),
        0x100..0x1_0000 => put(out, 0xcd, &bytes[6..]),
        0x1_0000..0x1_0000_0000 => put(out, 0xce, &bytes[4..]),
        _ => put(out, 0xcf, &bytes),
    }
}

pub(super) fn put_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = (bytes.len() as u64).to_be_bytes();
    match bytes.len() {
        0..0x100 => out.extend_from_slice(&[0xc4, len[7]]),
        0x100..0x1_0000 => put(out, 0xc5, &len[6..]),
        _ => put(out, 0xc6, &len[4..]),
    }
    out.extend_from_slice(bytes);
}

/// A text of at most 65,535 bytes.
pub(super) fn put_str(out: &mut Vec<u8>, text: &str) {
    let len = (text.len() as u64).to_be_bytes();
    match text.len() {
        0..32 => out.push(0xa0 | len[7]),
        32..0x100 => out.extend_from_slice(&[0xd9, len[7]]),
        _ => put(out, 0xda, &len[6..]),
    }
    out.extend_from_slice(text.as_bytes());
}

/// The head of a list.
pub(super) fn put_list(out: &mut Vec<u8>, fields: usize) {
    let len = (fields as u64).to_be_bytes();
    match fields {
        0..16 => out.push(0x90 | len[7]),
        16..0x1_0000 => put(out, 0xdc, &len[6..]),
        _ => put(out, 0xdd, &len[4..]),
    }
}

pub(super) fn put_nil(out: &mut Vec<u8>) {
    out.push(NIL);
}

fn put(out: &mut Vec<u8>, head: u8, rest: &[u8]) {
    out.push(head);
    out.extend_from_slice(rest);
}

/// What is left of a frame.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Whether a list comes next.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.0.first(), Some(0x90..0xa0 | 0xdc | 0xdd))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let Some((head, rest)) = self.0.split_at_checked(len) else {
            return problem("it ends within an item");
        };
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A number of `len` bytes.
    fn number(&mut self, len: usize) -> Result<u64, Problem> {
        Ok(self.take(len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn size(&mut self, len: usize) -> Result<usize, Problem> {
        usize::try_from(self.number(len)?).or_else(|_| problem("a length beyond memory"))
    }

    pub(super) fn uint(&mut self) -> Result<u64, Problem> {
        match self.byte()? {
            small @ 0..0x80 => Ok(u64::from(small)),
            0xcc => self.number(1),
            0xcd => self.number(2),
            0xce => self.number(4),
            0xcf => self.number(8),
            _ => problem("not a number where one is expected"),
        }
    }

    pub(super) fn small(&mut self) -> Result<u32, Problem> {
        u32::try_from(self.uint()?).or_else(|_| problem("a number beyond 32 bits"))
    }

    pub(super) fn bin(&mut self) -> Result<&'a [u8], Problem> {
        let len = match self.byte()? {
            0xc4 => self.size(1)?,
            0xc5 => self.size(2)?,
            0xc6 => self.size(4)?,
            _ => return problem("not bytes where they are expected"),
        };
        self.take(len)
    }

    pub(super) fn str(&mut self) -> Result<&'a str, Problem> {
        let len = match self.byte()? {
            head @ 0xa0..0xc0 => usize::from(head & 0x1f),
            0xd9 => self.size(1)?,
            0xda => self.size(2)?,
            _ => return problem("not a text where one is expected"),
        };
        str::from_utf8(self.take(len)?).or_else(|_| problem("a text that is not UTF-8"))
    }

    /// Exactly `N` bytes: an id or a hash.
    pub(super) fn id<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.bin()?.try_into().or_else(|_| problem("an id of another length"))
    }

    pub(super) fn list(&mut self) -> Result<List<'_, 'a>, Problem> {
        let left = match self.byte()? {
            head @ 0x90..0xa0 => usize::from(head & 0x0f),
            0xdc => self.size(2)?,
            0xdd => self.size(4)?,
            _ => return problem("not a list where one is expected"),
        };
        Ok(List { reader: self, left })
    }

    /// A value with named fields.
    pub(super) fn value<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Problem> {
        rmp_serde::from_read(&mut self.0).map_err(|error| error.to_string())
    }
}

/// What is left of a list.
#[derive(Debug)]
pub(super) struct List<'r, 'a> {
    reader: &'r mut Reader<'a>,
    pub(super) left: usize,
}

impl<'a> List<'_, 'a> {
    /// The next field.
    pub(super) fn must(&mut self) -> Result<&mut Reader<'a>, Problem> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return problem("an item with too few fields"),
        }
        Ok(self.reader)
    }

    /// The next field, if it is there and not nil.
    pub(super) fn may(&mut self) -> Result<Option<&mut Reader<'a>>, Problem> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.reader.0.first() == Some(&NIL) {
            self.reader.0 = &self.reader.0[1..];
            return Ok(None);
        }
        Ok(Some(self.reader))
    }

    /// Fields that this build does not know.
    pub(super) fn skip(self) -> Result<(), Problem> {
        (0..self.left).try_for_each(|_| self.reader.value::<IgnoredAny>().map(drop))
    }
}
