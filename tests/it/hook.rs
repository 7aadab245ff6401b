//! The libvirt hook as libvirt runs it: what it says, and that whatever goes wrong the domain goes on, in time.

mod answer;
mod refusal;
mod run;
