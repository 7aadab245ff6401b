//! The rules of the reference's tables, each proved through the mount with ordinary file calls.

mod first;
