//! How this server speaks the Open Inference Protocol.

use super::shared_memory::Regions;
use crate::choice;

choice! {
    /// The server whose habits are followed where the protocol leaves them open.
    Compat {
        /// None.
        None = "none",
        /// NVIDIA Triton.
        Triton = "triton",
    }
}

/// How messages are read and answered.
pub(crate) struct OipOptions {
    /// The shared memory that clients registered.
    pub regions: Regions,
    pub compat: Compat,
}

impl OipOptions {
    /// Without shared memory, and without the habits of another server.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn plain() -> Self {
        Self {
            regions: Regions::off(),
            compat: Compat::None,
        }
    }

    /// Whether typed contents are answered with raw ones.
    pub(super) fn is_raw_only(&self) -> bool {
        self.compat == Compat::Triton
    }

    /// What the server is called.
    pub(super) fn server_name(&self) -> &'static str {
        match self.compat {
            Compat::None => "ortus",
            Compat::Triton => "triton",
        }
    }
}
