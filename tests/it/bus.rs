//! The bus as an administrator and a broker see it: `busctl` against the checked-in interface, requests and their answers, errors by
//! name, holds.

mod hold;
mod interface;
mod refusal;
mod request;
