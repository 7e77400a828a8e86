//! Prediction ids: UUIDs of version 7 with a code that only servers of the fleet
//! can make. A label for an invented id is refused without a search.
//! Owns no store; the key is passed in.

#[cfg(test)]
mod tests;

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Bits of the code: one invented id in 67 million passes, and then matches no prediction.
const CODE_BITS: u32 = 26;
/// Bits that distinguish ids of one millisecond: 12 before the variant, 36 after.
const OWN_BITS: u32 = 48;
/// Odd, so that multiplying by it is reversible: consecutive numbers look unrelated.
const SPREAD: u64 = 0x9e37_79b9_7f4b;

/// The key that signs the ids of a fleet.
pub(crate) type FleetKey = [u8; 16];

/// Creates prediction ids and recognises them.
pub(crate) struct Mint {
    key: ArcSwap<FleetKey>,
    /// Whether the key is the fleet's.
    is_fleets: AtomicBool,
    /// The first key of this server: ids that were created before the fleet's key
    /// was known stay valid.
    first: FleetKey,
    next: AtomicU64,
}

impl Mint {
    /// Starts with a random key, which no other server knows.
    pub(crate) fn new() -> Self {
        let key = Uuid::new_v4().into_bytes();
        let is_fleets = AtomicBool::new(false);
        Self {
            key: ArcSwap::new(Arc::new(key)),
            is_fleets,
            first: key,
            next: AtomicU64::new(Uuid::new_v4().as_u64_pair().0),
        }
    }

    /// Signs with the key of the fleet from now on.
    pub(crate) fn adopt(&self, key: FleetKey) {
        self.key.store(Arc::new(key));
        self.is_fleets.store(true, Ordering::Release);
    }

    /// The fleet's key, once it is known.
    pub(crate) fn fleet_key(&self) -> Option<FleetKey> {
        self.is_fleets
            .load(Ordering::Acquire)
            .then(|| **self.key.load())
    }

    /// Mints the id of a prediction made now.
    pub(crate) fn mint(&self) -> Uuid {
        let ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as u64);
        let own = self
            .next
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(SPREAD)
            & ((1 << OWN_BITS) - 1);
        build(&self.key.load(), ms, own)
    }

    /// Tells whether a server of this fleet minted an id.
    pub(crate) fn is_of_fleet(&self, id: Uuid) -> bool {
        let (high, low) = id.as_u64_pair();
        let own =
            (high & 0xfff) << (OWN_BITS - 12) | (low >> CODE_BITS) & ((1 << (OWN_BITS - 12)) - 1);
        build(&self.key.load(), high >> 16, own) == id || build(&self.first, high >> 16, own) == id
    }
}

/// The time when an id was minted; `None` for an id that is not a UUIDv7.
pub(crate) fn minted_at(id: Uuid) -> Option<SystemTime> {
    (id.get_version_num() == 7)
        .then(|| UNIX_EPOCH + Duration::from_millis(id.as_u64_pair().0 >> 16))
}

/// 48 bits of time, the version, 12 bits, the variant, 36 bits, the code.
fn build(key: &FleetKey, ms: u64, own: u64) -> Uuid {
    let high = ms << 16 | 7 << 12 | own >> (OWN_BITS - 12);
    let low = 0b10 << 62 | (own & ((1 << (OWN_BITS - 12)) - 1)) << CODE_BITS;
    let mut code = SipHasher24::new_with_key(key);
    code.write_u64(high);
    code.write_u64(low);
    Uuid::from_u64_pair(high, low | code.finish() >> (64 - CODE_BITS))
}
