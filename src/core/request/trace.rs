//! The trace that a request belongs to, in the format of W3C Trace Context.

#[cfg(test)]
mod tests;

/// The trace and span of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Never 0.
    pub trace: u128,
    /// The caller's span; 0 for none.
    pub parent: u64,
    /// Whether the caller samples the trace.
    pub sampled: bool,
}

impl Context {
    /// Reads a `traceparent` header; `None` if it is malformed, for then a receiver
    /// starts a new trace.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, digits: usize| {
            let legal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            text.len() == digits && text.bytes().all(legal)
        };

        let sound = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
        // Version 0 ends here; later versions may have more fields.
        if !sound || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|n| *n != 0)?;
        let parent = u64::from_str_radix(parent, 16).ok().filter(|n| *n != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self {
            trace,
            parent,
            sampled,
        })
    }

    /// Writes the header for a span of this trace.
    pub(crate) fn header(&self, span: u64) -> String {
        format!(
            "00-{:032x}-{span:016x}-{:02x}",
            self.trace,
            u8::from(self.sampled)
        )
    }
}
