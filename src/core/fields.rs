//! Reads the fields of an encoded protobuf message one by one, without decoding the whole. Knows no
//! message.

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The content of a field, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireField<'m> {
    Number(u64),
    Body(&'m [u8]),
    Fixed,
}

/// The fields of a message with their numbers, in their order. Groups, which proto3 does not have, are
/// malformed.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'m> {
    rest: &'m [u8],
}

impl<'m> Fields<'m> {
    /// Reads a message from its start.
    pub(crate) fn of(message: &'m [u8]) -> Self {
        Self { rest: message }
    }

    /// Returns how many bytes of the message are not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn read(&mut self) -> Result<(u64, WireField<'m>), Malformed> {
        let key = varint(&mut self.rest)?;
        let field = match key & 7 {
            0 => WireField::Number(varint(&mut self.rest)?),
            1 => take(&mut self.rest, 8).map(|_| WireField::Fixed)?,
            5 => take(&mut self.rest, 4).map(|_| WireField::Fixed)?,
            2 => {
                let length = varint(&mut self.rest)?;
                WireField::Body(take(&mut self.rest, length)?)
            }
            _ => return Err(Malformed),
        };

        Ok((key >> 3, field))
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = Result<(u64, WireField<'m>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// Takes a number from the front.
#[inline]
pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    match rest {
        [byte, after @ ..] if *byte < 0x80 => {
            *rest = after;
            Ok(u64::from(*byte))
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (i, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            // Ten bytes have room for 70 bits.
            if i == 9 && *byte > 1 {
                return Err(Malformed);
            }
            *rest = &rest[i + 1..];
            return Ok(value);
        }
    }

    Err(Malformed)
}

/// Takes so many bytes from the front.
#[inline]
pub(crate) fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (body, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_each_wire_type_are_read_until_something_is_malformed() {
        let message = b"\x08\x96\x01\x12\x02ab\x1d1234\x2112345678\x0b";
        let fields: Vec<_> = Fields::of(message).collect();
        assert_eq!(
            fields,
            [
                Ok((1, WireField::Number(150))),
                Ok((2, WireField::Body(b"ab"))),
                Ok((3, WireField::Fixed)),
                Ok((4, WireField::Fixed)),
                Err(Malformed),
            ]
        );
        for cut in ["\x08", "\x12\x03ab", "\x1d123", "\x211234567", "\x12"] {
            let last = Fields::of(cut.as_bytes()).last();
            assert_eq!(last, Some(Err(Malformed)), "{cut:?}");
        }
    }

    #[test]
    fn numbers_have_64_bits() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            assert_eq!(varint(&mut &bytes[..]), Ok(value));
        }
        let mut large: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
        assert_eq!(varint(&mut large), Err(Malformed));
        let mut long: &[u8] = b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01";
        assert_eq!(varint(&mut long), Err(Malformed));
    }
}
