//! Rate limits: who is asking ([`address`]), how often they may ([`rings`]), the bounded memory behind it (`table`), and
//! what all instances on one PostgreSQL go by (`shared`). It knows nothing of HTTP but the text of two headers.

pub mod address;
mod ring;
pub mod rings;
mod shared;
mod table;
