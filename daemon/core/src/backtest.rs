//! Walk-forward replay of a login trace: what each policy would have held for whom, and what that was worth.

pub mod result;
