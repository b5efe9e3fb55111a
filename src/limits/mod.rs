//! Rate limits: who is asking ([`address`]), how often they may ([`rings`]), and the bounded memory behind it ([`table`]).
//! It knows nothing of HTTP but the text of two headers.

pub mod address;
pub mod rings;
mod table;
