//! The error type of the project. Its kind says what the caller should do (fix,
//! retry, wait), its message names the field at fault, its source is for the
//! log only.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

/// What a caller can do about an error, with the names of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong whatever the state of the server: fix it.
    InvalidArgument,
    /// No such model, version, label or method.
    NotFound,
    /// The state of the server forbids it: change the state first.
    FailedPrecondition,
    /// A limit is reached: wait and retry, or send less.
    ResourceExhausted,
    /// The deadline passed or cannot be met.
    DeadlineExceeded,
    /// The caller cancelled.
    Cancelled,
    /// Not ready yet, or stopping: retry.
    Unavailable,
    /// Not supported by this server.
    Unimplemented,
    /// The caller lacks permission.
    PermissionDenied,
    /// The message is over its size limit: send less.
    TooLarge,
    /// The body is in an encoding that this server does not read.
    UnsupportedEncoding,
    /// A defect of this program.
    Internal,
}

impl Kind {
    /// Every kind, in the order of the metrics catalogue.
    pub const ALL: [Self; 12] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::FailedPrecondition,
        Self::ResourceExhausted,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Unavailable,
        Self::Unimplemented,
        Self::PermissionDenied,
        Self::TooLarge,
        Self::UnsupportedEncoding,
        Self::Internal,
    ];

    /// Returns the label used in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::FailedPrecondition => "failed_precondition",
            Self::ResourceExhausted => "resource_exhausted",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Unimplemented => "unimplemented",
            Self::PermissionDenied => "permission_denied",
            Self::TooLarge => "too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Internal => "internal",
        }
    }
}

type BoxedCause = Box<dyn std::error::Error + Send + Sync>;

/// A failure with a kind, a message fit for a client, and its cause.
#[derive(Debug)]
pub struct Error {
    /// What the caller can do.
    pub kind: Kind,
    /// At most [`MESSAGE_BYTES_MAX`] bytes, one line, without control characters.
    pub message: String,
    /// Set if the request was refused before it ran, so that sending it again is safe.
    pub unexecuted: Option<Unexecuted>,
    source: Option<BoxedCause>,
}

/// What is known of a request that was refused before it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unexecuted {
    /// When it is worth sending it again, if that can be told.
    pub retry_after: Option<Duration>,
}

/// The result type of the project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The longest message sent to a client; a longer one is cut.
pub const MESSAGE_BYTES_MAX: usize = 1024;

impl Error {
    /// Builds an error of `kind`; control characters in the message are
    /// replaced, so that they can control neither a log nor a terminal.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: clean(message.into()),
            unexecuted: None,
            source: None,
        }
    }

    /// Adds the cause, which the log prints and clients never see.
    pub fn with_source(mut self, source: impl Into<BoxedCause>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that the request was refused before it ran.
    pub fn unexecuted(mut self, retry_after: Option<Duration>) -> Self {
        self.unexecuted = Some(Unexecuted { retry_after });
        self
    }

    /// Puts `what: ` in front of the message.
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = clean(format!("{what}: {}", self.message));
        self
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, message)
    }
    /// What the request names does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }
    /// The state of the server forbids it.
    pub fn precondition(message: impl Into<String>) -> Self {
        Self::new(Kind::FailedPrecondition, message)
    }
    /// A limit is reached.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new(Kind::ResourceExhausted, message)
    }
    /// The deadline passed or cannot be met.
    pub fn late(message: impl Into<String>) -> Self {
        Self::new(Kind::DeadlineExceeded, message)
    }
    /// Not ready, or stopping.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
    /// Not supported by this server.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Kind::Unimplemented, message)
    }
    /// The caller lacks permission.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Kind::PermissionDenied, message)
    }
    /// The message is over its size limit.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(Kind::TooLarge, message)
    }
    /// The body is in an encoding that this server does not read.
    pub fn unsupported_encoding(message: impl Into<String>) -> Self {
        Self::new(Kind::UnsupportedEncoding, message)
    }
    /// A defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Builds a second error of the same kind and message, for the members of
    /// a batch that fail together. The cause stays with the first.
    pub fn duplicate(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            unexecuted: self.unexecuted,
            source: None,
        }
    }
}

fn clean(mut message: String) -> String {
    if message.chars().any(char::is_control) {
        message = message
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
    }

    if message.len() > MESSAGE_BYTES_MAX {
        let end = message.floor_char_boundary(MESSAGE_BYTES_MAX - '…'.len_utf8());
        message.truncate(end);
        message.push('…');
    }

    message
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}

/// Cuts a name that a client sent to a length that suits an error message.
pub fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(64)]
}
