//! What is kept of people who never asked to be known. How it is kept is for `keys.rs` and the storage to say.

use serde::{Deserialize, Serialize};

/// What is kept of a visitor's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressPrivacy {
    /// Nothing.
    None,
    /// The /24 or /48.
    Network,
    /// All of it.
    Full,
}
